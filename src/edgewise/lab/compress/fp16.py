"""Half precision: weights and arithmetic in float16, inputs and outputs as they were.

ONNX Runtime's converter does the work. It clamps weights to ±65504 and lifts tiny ones to 6e-8; operators
whose CPU kernels have no float16 form stay in float32 between casts. Activations beyond 65504 become
infinite when the model runs: that is seen when the candidate is compared with the original, not here.
"""

from __future__ import annotations

from itertools import chain

import onnx

from edgewise.errors import missing_extra
from edgewise.lab.compress.prepare import is_large
from edgewise.targets.graph import bodies, nodes

__all__ = ["to_fp16"]


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` in half precision; its inputs and outputs keep their types. `model` is used up."""
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise missing_extra("onnxruntime's converter", "lab") from error
    # Shape inference in memory can't cross protobuf's 2 GB; without it only fewer casts are saved.
    half = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=is_large(model))
    assert isinstance(half, onnx.ModelProto)
    _sort(half.graph)
    return half


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node after the makers of its inputs, else in file order: the converter appends its casts."""
    listed = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    makers = {name: index for index, node in enumerate(listed) for name in node.output if name}
    order: dict[int, None] = {}

    def place(index: int) -> None:
        # Casts excepted the order is right, so this goes no deeper than a few levels.
        for name in _needs(listed[index]):
            maker = makers.get(name, index)
            if maker not in order and maker != index:
                place(maker)
        order[index] = None

    for index in range(len(listed)):
        if index not in order:
            place(index)
    del graph.node[:]
    graph.node.extend(listed[index] for index in order)


def _needs(node: onnx.NodeProto) -> chain[str]:
    """Return the names a node reads, those read inside its bodies included."""
    return chain(node.input, *(inner.input for body in bodies(node) for inner in nodes(body)))
