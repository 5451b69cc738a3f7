"""How much of a .tflite is quantized: operators whose weights have 8 bits or fewer, of all that have weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgewise.targets.building import Operators, Weight
from edgewise.targets.litert import flatbuffer

__all__ = ["operators"]

# Operator → positions where its weights can be.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "BATCH_MATMUL": (1, 0),
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "EMBEDDING_LOOKUP": (1,),
    "FULLY_CONNECTED": (1,),
    "GATHER": (0,),
    "SVDF": (1,),
    "TRANSPOSE_CONV": (1,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (2,),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1,),
}
_SMALL = ("INT8", "UINT8", "INT4", "INT2")
_FLOAT = ("FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64")


def operators(main: Path) -> Operators:
    """Count the operators of a .tflite that have weights, and those whose weights have 8 bits or fewer."""
    return Operators.count(_weights(main))


def _weights(main: Path) -> Iterator[Weight]:
    model = flatbuffer.read(main)
    builtin = flatbuffer.schema().BuiltinOperator
    positions = {getattr(builtin, name): places for name, places in _WEIGHTS.items()}
    for graph in model.subgraphs:
        unpacked = {
            operator.outputs[0]: operator.inputs[0]
            for operator in graph.operators
            if flatbuffer.kind(model, operator) == builtin.DEQUANTIZE
        }
        for operator in graph.operators:
            places = positions.get(flatbuffer.kind(model, operator), ())
            found = (operator.inputs[at] for at in places if at < len(operator.inputs))
            weights = (_stored(model, graph.tensors[unpacked.get(index, index)]) for index in found)
            yield next((weight for weight in weights if weight is not None), None)


def _stored(model: Any, tensor: Any) -> Weight:
    """Tell how a constant is stored; what has fewer than two axes, or integers, is no weight."""
    if tensor.shape is None or len(tensor.shape) < 2 or flatbuffer.constant(model, tensor) is None:
        return None
    kinds = flatbuffer.schema().TensorType
    if tensor.type in {getattr(kinds, name) for name in _SMALL}:
        return True
    return False if tensor.type in {getattr(kinds, name, None) for name in _FLOAT} else None
