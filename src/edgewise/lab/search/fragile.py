"""Operators that eight bits break whatever their ranges are: those that an additive mask passes through.

A mask adds −10,000 or less where attention may not look. One scale then has to reach that far, and the scores beside
it share a single step. Left in float, they cost nothing: an addition has no weights.
"""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from edgewise.targets.graph import initializers

__all__ = ["fragile"]

MASK = -1e4
_THROUGH = frozenset(
    {"Cast", "Expand", "Identity", "Mul", "Reshape", "Slice", "Sub", "Transpose", "Unsqueeze", "Where"}
)


def fragile(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the results that carry a mask, up to the sums in which it meets scores; the weights are initializers."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    front = [tensor.name for tensor in initializers(model.graph) if _is_mask(tensor)]
    found: set[str] = set()
    while front:
        for node in readers.get(front.pop(), ()):
            if node.output[0] in found or node.op_type not in _THROUGH | {"Add"}:
                continue
            found.add(node.output[0])
            if node.op_type != "Add":
                front.append(node.output[0])
    return tuple(sorted(found))


def _is_mask(tensor: onnx.TensorProto) -> bool:
    """Tell whether a constant holds the number that attention adds where nobody may look."""
    if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        return False
    values = numpy_helper.to_array(tensor)
    return bool(values.size and values.min() <= MASK)
