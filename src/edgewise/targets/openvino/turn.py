"""Constant operands of MatMul with the inputs of a channel side by side, as weights lie that PyTorch exports.

What of NNCF's weight compression asks samples works for these only, and ONNX has no MatMul whose operand is turned.
The function stays what it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["turned"]


def turned(model: Any) -> Any:
    """Return `model` with every MatMul of a constant matrix [inputs, channels] reading it as [channels, inputs]."""
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_b"]:
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant" or len(weight.get_output_shape(0)) != 2:
            continue
        constant = opset13.constant(np.ascontiguousarray(weight.get_data().T))
        constant.set_friendly_name(weight.get_friendly_name())
        made = opset13.matmul(node.input_value(0), constant, node.get_attributes()["transpose_a"], True)
        made.set_friendly_name(node.get_friendly_name())
        made.output(0).set_names(node.output(0).get_names())
        node.output(0).replace(made.output(0))
    return model
