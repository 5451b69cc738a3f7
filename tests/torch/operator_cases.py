"""One ONNX operator each: what `test_operators` builds, imports and compares. Letters in a shape are open sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from models import model, normal, tensor

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Case:
    """`inputs` are the graph's, `weights` its stored tensors, in the operator's order after them."""

    op: str
    inputs: Sequence[Shape] = (("n", 4),)
    weights: Sequence[NDArray[Any] | None] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opsets: tuple[int, ...] = (13, 21)
    outputs: int = 1
    note: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.op, self.note)))

    def proto(self, opset: int) -> onnx.ModelProto:
        """Return the model: inputs a, b, …; outputs y0, y1, …."""
        fed = [tensor(name, shape) for name, shape in zip("abc", self.inputs, strict=False)]
        stored = {f"w{index}": array for index, array in enumerate(self.weights) if array is not None}
        names = [value.name for value in fed]
        names += [f"w{index}" if array is not None else "" for index, array in enumerate(self.weights)]
        made = [f"y{index}" for index in range(self.outputs)]
        node = helper.make_node(self.op, names, made, "node", **self.attributes)
        proto = model([node], fed, [], stored, opset=opset)
        inferred = onnx.shape_inference.infer_shapes(_open_ended(proto, made))
        proto.graph.output.extend(inferred.graph.output)
        return proto


def _open_ended(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def scalar(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


def positive(*shape: int) -> NDArray[np.float32]:
    return np.abs(normal(9, *shape)) + np.float32(0.5)


ROWS: Shape = ("n", 4)
IMAGE: Shape = ("n", 3, "h", "w")
PAIR = (ROWS, ROWS)

UNARY = (
    *(
        "Abs",
        "Atan",
        "Ceil",
        "Cos",
        "Erf",
        "Exp",
        "Floor",
        "Identity",
        "Neg",
        "Reciprocal",
        "Round",
        "Sign",
        "Sin",
    ),
    *("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh", "HardSigmoid", "Elu", "Selu", "Celu", "LeakyRelu"),
    *(
        "ThresholdedRelu",
        "IsNaN",
        "Softmax",
        "LogSoftmax",
        "LpNormalization",
        "Flatten",
        "Transpose",
        "Shape",
        "Size",
    ),
    *("Shrink", "NonZero"),
)

CASES = (
    *(Case(op) for op in UNARY),
    *(Case(op, PAIR) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Less", "Greater", "Equal")),
    *(Case(op, PAIR) for op in ("LessOrEqual", "GreaterOrEqual", "MatMul") if op != "MatMul"),
    Case("HardSwish", opsets=(14, 21)),
    Case("Mish", opsets=(18, 21)),
    Case("Gelu", opsets=(20, 21)),
    Case("Gelu", attributes={"approximate": "tanh"}, opsets=(20, 21), note="tanh"),
    Case("Pow", weights=(scalar(2),)),
    Case("Mod", PAIR, attributes={"fmod": 1}),
    Case("Add", weights=(normal(1, 4),), note="vector"),
    Case("Mul", weights=(scalar(0.5),), note="number"),
    Case("Mul", weights=(floats(0.5),), note="vector of one"),
    Case("PRelu", weights=(normal(1, 4),)),
    Case("Clip", weights=(scalar(-0.5), scalar(0.5))),
    Case("Clip", weights=(None, scalar(0.5)), note="above"),
    Case("Cast", attributes={"to": onnx.TensorProto.INT32}),
    Case("Cast", attributes={"to": onnx.TensorProto.BOOL}, note="to bool"),
    # shapes
    Case("Reshape", (("n", 2, 6),), (ints(0, 3, -1),)),
    Case("Squeeze", (("n", 1, 4),), (ints(1),)),
    Case("Unsqueeze", weights=(ints(0, -1),)),
    Case("Transpose", (("n", 2, 3),), attributes={"perm": [2, 0, 1]}, note="perm"),
    Case("Flatten", (("n", 2, 3),), attributes={"axis": 2}, note="axis 2"),
    Case("Expand", (("n", 1, 4),), (ints(1, 3, 4),)),
    Case("Tile", weights=(ints(1, 3),)),
    Case("Concat", PAIR, attributes={"axis": 1}),
    Case("Slice", (("n", 8),), (ints(1), ints(-1), ints(1))),
    Case("Slice", (("n", 8),), (ints(-1), ints(-(2**40)), ints(1), ints(-2)), note="backwards"),
    Case("Split", (("n", 6),), (ints(2, 4),), {"axis": 1}, outputs=2),
    Case("Split", (("n", 6),), attributes={"axis": 1, "num_outputs": 3}, opsets=(18, 21), outputs=3, note="even"),
    Case("Pad", weights=(ints(0, 1, 0, 2), scalar(7))),
    Case("Pad", (("n", 3, 5),), (ints(0, 0, 2, 0, 0, 1),), {"mode": "reflect"}, note="reflect"),
    Case("Pad", (("n", 5),), (ints(0, 2, 0, 1),), {"mode": "edge"}, note="edge"),
    Case("DepthToSpace", (("n", 8, "h", "w"),), attributes={"blocksize": 2}),
    Case("DepthToSpace", (("n", 8, "h", "w"),), attributes={"blocksize": 2, "mode": "CRD"}, note="CRD"),
    Case("SpaceToDepth", (("n", 3, 4, 6),), attributes={"blocksize": 2}),
    # positions
    Case("Gather", (("n", 5),), (ints(4, 0, -1),), {"axis": 1}),
    Case("Gather", (("n", 5),), (np.array(-2, np.int64),), {"axis": 1}, note="one"),
    Case("GatherElements", weights=(np.array([[0, 3], [-1, 2]], np.int64),), attributes={"axis": 1}),
    Case("GatherND", weights=(np.array([[0, 3], [1, 2]], np.int64),)),
    Case("ScatterElements", (("n", 4),), (np.array([[1, 0]], np.int64), normal(1, 1, 2)), {"axis": 1}),
    Case("ScatterND", weights=(np.array([[0, 3], [1, 2]], np.int64), normal(1, 2))),
    Case("Trilu", (("n", 4, 4),), (np.array(1, np.int64),), opsets=(14, 21)),
    Case("Trilu", (("n", 4, 4),), attributes={"upper": 0}, opsets=(14, 21), note="lower"),
    Case("TopK", (("n", 7),), (ints(3),), outputs=2),
    Case("CumSum", weights=(np.array(1, np.int64),)),
    Case("CumSum", weights=(np.array(1, np.int64),), attributes={"exclusive": 1, "reverse": 1}, note="from the end"),
    Case("ArgMax", attributes={"axis": 1, "keepdims": 0}),
    Case("ArgMin", attributes={"axis": 1, "select_last_index": 1}),
    # reductions: axes are an attribute before opset 18, an input after it
    *(
        Case(op, (("n", 4, 5),), attributes={"axes": [1], "keepdims": 0}, opsets=(13,))
        for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSumExp")
    ),
    *(
        Case(op, (("n", 4, 5),), (ints(-1, 1),), opsets=(18, 21))
        for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
    ),
    Case("ReduceSum", (("n", 4, 5),), (ints(1),), {"keepdims": 0}),
    Case("ReduceMean", note="everything"),
    # products
    Case("MatMul", (("n", "m", 4),), (normal(1, 4, 3),)),
    Case("MatMul", (("n", 2, 4), ("n", 4, 3)), note="of two inputs"),
    Case("Gemm", weights=(normal(1, 4, 3), normal(2, 3))),
    Case("Gemm", weights=(normal(1, 3, 4), normal(2, 3)), attributes={"transB": 1, "alpha": 0.5}, note="scaled"),
    Case("Einsum", (("n", 2, 4), ("n", 4, 3)), attributes={"equation": "bij,bjk->bik"}),
    # pictures
    Case("Conv", (IMAGE,), (normal(1, 8, 3, 3, 3), normal(2, 8)), {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    Case("Conv", (IMAGE,), (normal(1, 6, 1, 3, 3),), {"group": 3, "dilations": [2, 1]}, note="depthwise"),
    Case("Conv", (IMAGE,), (normal(1, 8, 3, 2, 3),), {"pads": [0, 1, 1, 0]}, note="uneven padding"),
    Case("Conv", (IMAGE,), (normal(1, 8, 3, 3, 3),), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, note="same upper"),
    Case("Conv", (IMAGE,), (normal(1, 8, 3, 4, 4),), {"auto_pad": "SAME_LOWER"}, note="same lower"),
    Case("Conv", (("n", 3, "l"),), (normal(1, 8, 3, 3),), {"strides": [2]}, note="1-d"),
    Case("ConvTranspose", (IMAGE,), (normal(1, 3, 8, 2, 2), normal(2, 8)), {"strides": [2, 2]}),
    Case("ConvTranspose", (IMAGE,), (normal(1, 3, 4, 3, 3),), {"strides": [2, 2], "pads": [1, 1, 0, 0]}, note="pads"),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, note="same"),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [3, 3], "pads": [0, 1, 1, 0]}, note="uneven"),
    Case("GlobalAveragePool", (IMAGE,)),
    Case("GlobalMaxPool", (IMAGE,)),
    *(
        Case("Resize", (IMAGE,), (None, floats(1, 1, 2, 2)), how, note=" ".join(how.values()))
        for how in (
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            {"mode": "nearest"},
            {"mode": "linear"},
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            {"mode": "cubic"},
        )
    ),
    Case("Resize", ((2, 3, "h", "w"),), (None, None, ints(2, 3, 9, 12)), {"mode": "linear"}, note="to sizes"),
    # normalisation
    Case("BatchNormalization", (IMAGE,), (positive(3), normal(1, 3), normal(2, 3), positive(3))),
    Case("LayerNormalization", (("n", 5, 4),), (positive(4), normal(1, 4)), opsets=(17, 21)),
    Case("LayerNormalization", (("n", 5, 4),), (positive(5, 4),), {"axis": 1}, opsets=(17, 21), note="two axes"),
    Case("InstanceNormalization", (IMAGE,), (positive(3), normal(1, 3))),
    Case("GroupNormalization", (("n", 4, 5),), (positive(4), normal(1, 4)), {"num_groups": 2}, opsets=(21,)),
    Case("RMSNormalization", (("n", 5, 4),), (positive(4),), opsets=(23,)),
    Case("Attention", (("n", 2, "l", 4), ("n", 2, "m", 4), ("n", 2, "m", 4)), opsets=(23,)),
    Case(
        "Attention",
        (("n", "l", 8), ("n", "l", 4), ("n", "l", 4)),
        attributes={"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1},
        opsets=(23,),
        note="grouped",
    ),
    Case("LRN", (IMAGE,), attributes={"size": 3}),
    # recurrence over steps, batch, features
    *(
        Case(op, ((5, "n", 4),), (normal(1, 1, g * 5, 4), normal(2, 1, g * 5, 5), normal(3, 1, 2 * g * 5)), how, outputs=2)
        for op, g, how in (
            ("LSTM", 4, {"hidden_size": 5}),
            ("GRU", 3, {"hidden_size": 5, "linear_before_reset": 1}),
            ("RNN", 1, {"hidden_size": 5}),
        )
    ),
    Case(
        "LSTM",
        ((5, "n", 4),),
        (normal(1, 2, 20, 4), normal(2, 2, 20, 5), normal(3, 2, 40)),
        {"hidden_size": 5, "direction": "bidirectional"},
        outputs=3,
        note="both ways",
    ),
    Case(
        "LSTM",
        ((5, "n", 4),),
        (normal(1, 1, 20, 4), normal(2, 1, 20, 5)),
        {"hidden_size": 5, "direction": "reverse"},
        outputs=3,
        note="backwards",
    ),
)  # fmt: skip
