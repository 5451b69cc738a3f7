"""How much of a file is quantized: operators with weights in 8 bits or fewer, of all that have weights.

Tools say "saved" over files they did not change; a count of 0 of M shows it. It reads the finished file,
whatever wrote it: QDQ, weight-only, and the integer operators of ONNX Runtime; constants of 8 bits or fewer
in OpenVINO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx

from edgewise.errors import missing_extra
from edgewise.lab.model.graph import nodes
from edgewise.lab.result import Operators
from edgewise.targets.openvino.build import graphs

__all__ = ["constants", "operators"]

# Operator → positions where its weights can be.
_ONNX: dict[str, tuple[int, ...]] = {
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
_OPENVINO: dict[str, tuple[int, ...]] = {
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
_UNPACK = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
_OPENVINO_UNPACK = frozenset(
    {"Convert", "Multiply", "Reshape", "Squeeze", "Subtract", "Transpose", "Unsqueeze"}
)
_T = onnx.TensorProto
_FLOAT = frozenset({_T.FLOAT, _T.FLOAT16, _T.BFLOAT16, _T.DOUBLE})
_SMALL = frozenset(
    {_T.INT8, _T.UINT8, _T.INT4, _T.UINT4, _T.FLOAT8E4M3FN, _T.FLOAT8E5M2, _T.FLOAT4E2M1, _T.INT2, _T.UINT2}
)
_OPENVINO_SMALL = frozenset({"i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2", "f4e2m1", "i2", "u2"})

Weight = bool | None
"""True: stored in 8 bits or fewer. False: a float constant. None: not a weight."""


def operators(main: Path, kind: str) -> Operators:
    """Count the operators of an artifact by its main file; `kind` is its format, "onnx" or "openvino-ir".

    Raises ValueError for other formats.
    """
    counters: dict[str, Callable[[Path], Iterator[Weight]]] = {"onnx": _onnx, "openvino-ir": _openvino}
    if kind not in counters:
        raise ValueError(f"operators of {kind} files cannot be counted: {main}")
    found = [weight for weight in counters[kind](main) if weight is not None]
    return Operators(quantized=sum(found), total=len(found))


def constants(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all tensors that do not depend on the inputs."""
    found = {tensor.name for tensor in _initializers(graph)}
    for node in nodes(graph):
        if all(name in found for name in node.input) and node.op_type not in ("If", "Loop", "Scan"):
            found.update(node.output)
    return found


def _onnx(main: Path) -> Iterator[Weight]:
    graph = onnx.load(str(main), load_external_data=False).graph
    every = list(nodes(graph))
    makers = {name: node for node in every for name in node.output if name}
    stored = {tensor.name: tensor for tensor in _initializers(graph)}
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


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in nodes(graph):
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from body.initializer


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    return (node.input[at] for at in _ONNX.get(node.op_type, ()) if at < len(node.input))


def _stored(tensor: onnx.TensorProto) -> Weight:
    """Tell how a constant is stored; what has fewer than two axes, or integers, is no weight."""
    if len(tensor.dims) < 2:
        return None
    return True if tensor.data_type in _SMALL else (False if tensor.data_type in _FLOAT else None)


def _first(found: Iterator[Weight]) -> Weight:
    return next((weight for weight in found if weight is not None), None)


def _openvino(main: Path) -> Iterator[Weight]:
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino", "openvino") from error
    for graph in graphs(openvino.Core().read_model(str(main))):
        for node in graph.get_ordered_ops():
            positions = _OPENVINO.get(node.get_type_name(), ())
            yield _first(_openvino_weight(node.input_value(at).get_node()) for at in positions)


def _openvino_weight(node: Any) -> Weight:
    kind = node.get_type_name()
    if kind == "Constant":
        element = node.get_element_type()
        if len(node.get_output_partial_shape(0)) < 2:
            return None
        return True if element.get_type_name() in _OPENVINO_SMALL else (False if element.is_real() else None)
    if kind == "FakeQuantize":
        return None if _openvino_weight(node.input_value(0).get_node()) is None else True
    if kind in _OPENVINO_UNPACK:
        return _openvino_weight(node.input_value(0).get_node())
    return None
