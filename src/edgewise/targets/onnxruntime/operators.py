"""How much of an ONNX file is quantized: operators with weights in 8 bits or fewer, of all that have weights.

It reads the finished file, whatever wrote it: QDQ, weight-only, and the integer operators of ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from edgewise.targets.building import Operators, Weight
from edgewise.targets.graph import constants, initializers, nodes

__all__ = ["counted", "operators"]

# Operator → positions where its weights can be.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Attention": (1,),
    "Conv": (1,),
    "ConvInteger": (1,),
    "ConvTranspose": (1,),
    "DynamicQuantizeLSTM": (1,),
    "DynamicQuantizeMatMul": (1,),
    "FusedConv": (1,),
    "GRU": (1,),
    "Gather": (0,),
    "GatherBlockQuantized": (0,),
    "Gemm": (1, 0),
    "LSTM": (1,),
    "MatMul": (1, 0),
    "MatMulInteger": (1, 0),
    "MatMulIntegerToFloat": (1, 0),
    "MatMulNBits": (1,),
    "QAttention": (1,),
    "QGemm": (3,),
    "QLinearConv": (3,),
    "QLinearMatMul": (3, 0),
    "RNN": (1,),
}
_UNPACK = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
_T = onnx.TensorProto
_FLOAT = frozenset({_T.FLOAT, _T.FLOAT16, _T.BFLOAT16, _T.DOUBLE})
_SMALL = frozenset(
    {_T.INT8, _T.UINT8, _T.INT4, _T.UINT4, _T.FLOAT8E4M3FN, _T.FLOAT8E5M2, _T.FLOAT4E2M1, _T.INT2, _T.UINT2}
)


def operators(main: Path) -> Operators:
    """Count the operators of an ONNX file that have weights, and those whose weights have 8 bits or fewer."""
    return counted(onnx.load(str(main), load_external_data=False).graph)


def counted(graph: onnx.GraphProto) -> Operators:
    """Count the same in a graph; the data of its weights need not be loaded."""
    return Operators.count(_weights(graph))


def _weights(graph: onnx.GraphProto) -> Iterator[Weight]:
    every = list(nodes(graph))
    makers = {name: node for node in every for name in node.output if name}
    stored = {tensor.name: tensor for tensor in initializers(graph)}
    fixed = constants(graph)

    def trace(name: str) -> Weight:
        """Follow a tensor back to the constant it is made of, through whatever only unpacks it."""
        if name in stored:
            return _stored(stored[name])
        if name not in fixed or (node := makers.get(name)) is None:
            return None
        match node.op_type:
            case "Constant":
                return _stored(node.attribute[0].t)
            case "QuantizeLinear":
                return None if trace(node.input[0]) is None else True
            case unpacks if unpacks in _UNPACK:
                return trace(node.input[0])
        return None

    for node in every:
        yield _first(trace(name) for name in _inputs(node))


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    return (node.input[at] for at in _WEIGHTS.get(node.op_type, ()) if at < len(node.input))


def _stored(tensor: onnx.TensorProto) -> Weight:
    """Tell how a constant is stored; what has fewer than two axes, or integers, is no weight."""
    if len(tensor.dims) < 2:
        return None
    return True if tensor.data_type in _SMALL else (False if tensor.data_type in _FLOAT else None)


def _first(found: Iterator[Weight]) -> Weight:
    return next((weight for weight in found if weight is not None), None)
