"""Constants, types, and operators that do nothing when a trained model answers."""

from __future__ import annotations

import numpy as np
import onnx

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, cast, constant, like, mb

__all__ = ["held_as"]

_T = onnx.TensorProto
_FLOATS = frozenset({_T.FLOAT, _T.FLOAT16, _T.DOUBLE, _T.BFLOAT16})
_INTS = frozenset({_T.INT8, _T.INT16, _T.INT32, _T.INT64, _T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64})


def held_as(element: int) -> str:
    """Return the MIL type that holds an ONNX element type."""
    if element in _FLOATS:
        return "fp32"
    if element in _INTS:
        return "int32"
    if element == _T.BOOL:
        return "bool"
    name = _T.DataType.Name(element) if element in _T.DataType.values() else str(element)
    raise UnsupportedError(f"uses the type {name}, which Core ML has not")


@operator("Constant")
def literal(node: Node) -> Var:
    """Return what the node holds."""
    for name, dtype in (("value", None), ("value_float", np.float32), ("value_floats", np.float32)):
        if name in node.attributes:
            return constant(np.asarray(node.attributes[name], dtype))
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            return constant(np.asarray(node.attributes[name], np.int64))
    raise UnsupportedError(f"holds {', '.join(node.attributes) or 'nothing'}; MIL has numbers only")


@operator("Cast")
def convert(node: Node) -> Var:
    """Change the type, as far as MIL tells types apart."""
    return cast(node[0], held_as(int(node.get("to", _T.FLOAT))))


@operator("CastLike")
def convert_like(node: Node) -> Var:
    """Change to the type of another tensor."""
    return like(node[0], node[1])


@operator("Identity", "Dropout")
def same(node: Node) -> Var | tuple[Var, ...]:
    """Pass the input on."""
    if node.input(2) is not None and node.fixed(2, "a mode").any():
        raise UnsupportedError("is in training mode: export the model for inference")
    if node.wants(1):
        return node[0], mb.fill_like(ref_tensor=node[0], value=True)
    return node[0]
