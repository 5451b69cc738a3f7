"""How much of an IR file is quantized: operators whose weights are constants of 8 bits or fewer, of all with weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgewise.errors import missing_extra
from edgewise.targets.building import Operators, Weight
from edgewise.targets.openvino.convert import graphs

__all__ = ["operators"]

# Operator → positions where its weights can be.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Convolution": (1,),
    "ConvolutionBackpropData": (1,),
    "Gather": (0,),
    "GRUSequence": (3,),
    "GroupConvolution": (1,),
    "GroupConvolutionBackpropData": (1,),
    "LSTMSequence": (4,),
    "MatMul": (1, 0),
    "RNNSequence": (3,),
}
_UNPACK = frozenset({"Convert", "Multiply", "Reshape", "Squeeze", "Subtract", "Transpose", "Unsqueeze"})
_SMALL = frozenset({"i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2", "f4e2m1", "i2", "u2"})


def operators(main: Path) -> Operators:
    """Count the operators of an .xml that have weights, and those whose weights have 8 bits or fewer."""
    return Operators.count(_weights(main))


def _weights(main: Path) -> Iterator[Weight]:
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino", "openvino") from error
    for graph in graphs(openvino.Core().read_model(str(main))):
        for node in graph.get_ordered_ops():
            positions = _WEIGHTS.get(node.get_type_name(), ())
            found = (_stored(node.input_value(at).get_node()) for at in positions)
            yield next((weight for weight in found if weight is not None), None)


def _stored(node: Any) -> Weight:
    kind = node.get_type_name()
    if kind == "Constant":
        element = node.get_element_type()
        if len(node.get_output_partial_shape(0)) < 2:
            return None
        return True if element.get_type_name() in _SMALL else (False if element.is_real() else None)
    if kind == "FakeQuantize":
        return None if _stored(node.input_value(0).get_node()) is None else True
    if kind in _UNPACK:
        return _stored(node.input_value(0).get_node())
    return None
