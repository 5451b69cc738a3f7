"""Small ONNX models for Core ML's converter, by operator family: one node each, with inputs to answer.

Where MIL means something else than ONNX by a like name, the inputs show it: negative integers in a division, a
condition larger than what it chooses from, a slice beyond the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Arrays = dict[str, Any]

SIGNED = np.array([[-2.5, -1.0, -0.3, 0.0], [0.4, 0.5, 1.5, 3.0]], np.float32)
SHARES = np.array([0.1, 0.35, 0.6, 0.9], np.float32)
ABOVE_ONE = np.array([1.0, 1.5, 4.0], np.float32)
INTS = np.array([-7, -6, 5, 7], np.int64)
TRUTHS = np.array([[True, False], [False, True]])


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One node: `inputs` are fed, `fixed` are stored; a dimension in `dynamic` (input, axis) is not declared."""

    name: str
    kind: str
    inputs: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    order: str = ""
    outputs: int = 1
    opset: int = 20
    domain: str = ""
    dynamic: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> onnx.ModelProto:
        names = self.order.split(",") if self.order else [*self.inputs, *self.fixed]
        outputs = [f"out{place}" for place in range(self.outputs)]
        node = helper.make_node(self.kind, names, outputs, "tested", domain=self.domain, **self.attributes)
        values = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                [f"{name}_{axis}" for axis in range(array.ndim)] if self.dynamic else array.shape,
            )
            for name, array in self.inputs.items()
        ]
        stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.fixed.items()]
        declared = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([node], "one", values, declared, stored)
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(self.domain, 1)] if self.domain else []
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        return typed(model, self.inputs)


def typed(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> onnx.ModelProto:
    """Declare the outputs' types as ONNX Runtime finds them; their sizes only where the inputs' are declared."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = session.run(None, dict(inputs))
    fixed = all(
        dim.HasField("dim_value") for value in model.graph.input for dim in value.type.tensor_type.shape.dim
    )
    names = [value.name for value in model.graph.output]
    del model.graph.output[:]
    for name, answer in zip(names, answers, strict=True):
        element = helper.np_dtype_to_tensor_dtype(answer.dtype)
        shape = answer.shape if fixed else [None] * answer.ndim
        model.graph.output.append(helper.make_tensor_value_info(name, element, shape))
    return model


def case(name: str, kind: str, inputs: Arrays, fixed: Arrays | None = None, **more: Any) -> Case:
    known = {"order", "outputs", "opset", "domain", "dynamic"}
    settings = {key: more.pop(key) for key in known & set(more)}
    return Case(name, kind, inputs, fixed or {}, attributes=more, **settings)


def floats(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def integers(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def elementwise() -> Iterator[Case]:
    for kind in [
        "Abs",
        "Ceil",
        "Cos",
        "Cosh",
        "Erf",
        "Exp",
        "Floor",
        "Neg",
        "Round",
        "Sign",
        "Sin",
        "Sinh",
        "Tan",
        "Tanh",
    ]:
        yield case(kind, kind, {"x": SIGNED})
    for kind in ["Asin", "Acos", "Atan", "Atanh", "Asinh", "Log", "Sqrt", "Reciprocal"]:
        yield case(kind, kind, {"x": SHARES})
    yield case("Asinh of a large negative", "Asinh", {"x": np.array([-3000.0, -2.0], np.float32)})
    yield case("Acosh", "Acosh", {"x": ABOVE_ONE})
    yield case("Log of zero", "Log", {"x": np.array([0.0, 1.0], np.float32)})
    for kind in ("Add", "Sub", "Mul", "Div"):
        yield case(f"{kind} broadcasts", kind, {"x": normal(1, 2, 1, 3), "y": normal(2, 4, 1)})
    yield case("Div cuts integers towards zero", "Div", {"x": INTS}, {"y": integers(2, -4, -3, 7)})
    yield case("Mod has the divisor's sign", "Mod", {"x": INTS}, {"y": integers(4, -4, 3, -3)})
    yield case("Mod has the dividend's sign", "Mod", {"x": SIGNED}, {"y": floats(2.0)}, fmod=1)
    yield case("Pow of floats", "Pow", {"x": SHARES}, {"y": floats(2, 0.5, -1, 3)})
    yield case("Pow of integers", "Pow", {"x": INTS}, {"y": integers(2)})
    yield case("Pow of a float by an integer", "Pow", {"x": SIGNED}, {"y": integers(3)})
    for kind in ("Max", "Min", "Sum", "Mean"):
        yield case(f"{kind} of three", kind, {"x": SIGNED, "y": SIGNED[:1], "z": -SIGNED})
    yield case("Clip", "Clip", {"x": SIGNED}, {"low": np.float32(-1), "high": np.float32(1)})
    yield case("Clip from below", "Clip", {"x": SIGNED}, {"low": np.float32(-1)})
    yield case(
        "Clip with crossing bounds", "Clip", {"x": SIGNED}, {"low": np.float32(2), "high": np.float32(1)}
    )
    yield case("Clip by attributes", "Clip", {"x": SIGNED}, opset=10, min=-1.0, max=1.0)
    yield case("Clip of integers", "Clip", {"x": INTS}, {"low": np.int64(-6), "high": np.int64(6)})
    yield case("CumSum", "CumSum", {"x": SIGNED}, {"axis": np.int64(1)})
    yield case("CumSum from behind", "CumSum", {"x": SIGNED}, {"axis": np.int64(0)}, reverse=1, exclusive=1)


def logic() -> Iterator[Case]:
    pair = {"x": floats(1, 2, 3), "y": floats(3, 2, 1)}
    for kind in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        yield case(kind, kind, pair)
    yield case("Equal of truths", "Equal", {"x": TRUTHS, "y": TRUTHS[:1]})
    for kind in ("And", "Or", "Xor"):
        yield case(kind, kind, {"x": TRUTHS, "y": TRUTHS[1:]})
    yield case("Not", "Not", {"x": TRUTHS})
    odd = floats(np.nan, np.inf, -np.inf, 1)
    yield case("IsNaN", "IsNaN", {"x": odd})
    yield case("IsInf", "IsInf", {"x": odd})
    yield case("IsInf below", "IsInf", {"x": odd}, detect_positive=0)
    yield case("Where", "Where", {"c": TRUTHS, "x": SIGNED[:, :2], "y": -SIGNED[:, :2]})
    scalars = {"x": np.float32(0), "y": np.float32(-10)}
    yield case("Where with a condition larger than its choices", "Where", {"c": TRUTHS}, scalars)
    row = {"c": TRUTHS, "x": floats(1, 2), "y": floats(3, 4)}
    yield case("Where over rows", "Where", row)
    yield case("Where over rows of dynamic size", "Where", row, dynamic=True)


def activations() -> Iterator[Case]:
    for kind in [
        "Relu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Gelu",
    ]:
        yield case(kind, kind, {"x": SIGNED})
    yield case("Relu of integers", "Relu", {"x": INTS.astype(np.int32)})
    yield case("Gelu by tanh", "Gelu", {"x": SIGNED}, approximate="tanh")
    yield case("Celu with alpha", "Celu", {"x": SIGNED}, alpha=2.0)
    yield case("ThresholdedRelu at its threshold", "ThresholdedRelu", {"x": SIGNED}, alpha=0.5)
    yield case("Shrink", "Shrink", {"x": SIGNED}, lambd=0.45, bias=0.1)
    yield case(
        "PRelu with a slope per channel", "PRelu", {"x": normal(3, 1, 3, 2, 2)}, {"s": normal(4, 3, 1, 1)}
    )
    yield case("PRelu with any slope", "PRelu", {"x": SIGNED}, {"s": floats(0.1, 0.2, 0.3, 0.4)})
    for kind in ("Softmax", "LogSoftmax", "Hardmax"):
        yield case(f"{kind} along an axis", kind, {"x": normal(5, 2, 3, 4)}, axis=1)
        yield case(f"{kind} over a flattened rest", kind, {"x": normal(6, 2, 3, 4)}, opset=11, axis=1)
        yield case(f"{kind} of dynamic size", kind, {"x": normal(6, 2, 3, 4)}, opset=11, axis=1, dynamic=True)
    yield case("QuickGelu", "QuickGelu", {"x": SIGNED}, domain="com.microsoft")
    yield case("BiasGelu", "BiasGelu", {"x": SIGNED}, {"b": floats(1, 2, 3, 4)}, domain="com.microsoft")


def shapes() -> Iterator[Case]:
    x = {"x": normal(7, 2, 3, 4)}
    for dynamic in (False, True):
        word = "dynamic " * dynamic
        yield case(f"Shape, {word}", "Shape", x, dynamic=dynamic)
        yield case(f"Shape from 1, {word}", "Shape", x, start=1, dynamic=dynamic)
        yield case(f"Shape up to the last, {word}", "Shape", x, end=-1, dynamic=dynamic)
        yield case(f"Size, {word}", "Size", x, dynamic=dynamic)
        yield case(f"Reshape with the rest, {word}", "Reshape", x, {"s": integers(2, -1)}, dynamic=dynamic)
        yield case(
            f"Reshape keeping sizes, {word}", "Reshape", x, {"s": integers(0, 0, 2, 2)}, dynamic=dynamic
        )
        for axis in (0, 1, 2):
            yield case(f"Flatten at {axis}, {word}", "Flatten", x, axis=axis, dynamic=dynamic)
        yield case(
            f"Expand, {word}", "Expand", {"x": normal(8, 3, 1)}, {"s": integers(2, 1, 4)}, dynamic=dynamic
        )
        yield case(
            f"Expand of truths, {word}",
            "Expand",
            {"x": TRUTHS[:, :1]},
            {"s": integers(2, 3)},
            dynamic=dynamic,
        )
        yield case(f"Tile, {word}", "Tile", x, {"r": integers(1, 2, 3)}, dynamic=dynamic)
        yield case(
            f"Squeeze, {word}", "Squeeze", {"x": normal(9, 2, 1, 3)}, {"a": integers(1)}, dynamic=dynamic
        )
        yield case(f"Trilu, {word}", "Trilu", {"x": normal(10, 3, 4)}, {"k": np.int64(1)}, dynamic=dynamic)
        yield case(
            f"Trilu below, {word}",
            "Trilu",
            {"x": normal(10, 4, 3)},
            {"k": np.int64(-1)},
            upper=0,
            dynamic=dynamic,
        )
        yield case(f"EyeLike, {word}", "EyeLike", {"x": normal(11, 3, 4)}, k=1, dynamic=dynamic)
    yield case("Reshape to a shape that is an input", "Reshape", {"x": normal(7, 2, 6), "s": integers(3, 4)})
    yield case("Expand to a shape that is an input", "Expand", {"x": normal(8, 3, 1), "s": integers(2, 1, 4)})
    yield case("Squeeze by an attribute", "Squeeze", {"x": normal(9, 1, 2, 1)}, opset=11, axes=[0])
    yield case("Squeeze of all ones", "Squeeze", {"x": normal(9, 1, 2, 1)})
    yield case("Unsqueeze", "Unsqueeze", {"x": SIGNED}, {"a": integers(0, -1)})
    yield case("Transpose", "Transpose", x, perm=[2, 0, 1])
    yield case("Transpose reverses", "Transpose", x)
    yield case("Concat", "Concat", {"x": SIGNED, "y": SIGNED[:, :1]}, axis=-1)
    yield case(
        "ConstantOfShape",
        "ConstantOfShape",
        {"s": integers(2, 3)},
        value=numpy_helper.from_array(floats(7)),
    )
    yield case("Range", "Range", {"start": np.array(2), "limit": np.array(9), "delta": np.array(3)})
    yield case(
        "Range of floats", "Range", {}, {"s": np.float32(0), "l": np.float32(1), "d": np.float32(0.25)}
    )
    image = {"x": normal(12, 1, 8, 2, 3)}
    yield case("DepthToSpace", "DepthToSpace", image, blocksize=2)
    yield case("DepthToSpace, columns first", "DepthToSpace", image, blocksize=2, mode="CRD")
    yield case("SpaceToDepth", "SpaceToDepth", {"x": normal(12, 1, 2, 4, 6)}, blocksize=2)


def slices() -> Iterator[Case]:
    x = {"x": normal(13, 4, 6)}

    def cut(name: str, start: int, end: int, step: int = 1, axis: int = 1, **more: Any) -> Case:
        fixed = {"s": integers(start), "e": integers(end), "a": integers(axis), "t": integers(step)}
        return case(f"Slice {name}", "Slice", x, fixed, **more)

    far = 2**62
    for dynamic in (False, True):
        word = " of a dynamic size" * dynamic
        yield cut(f"to a far end{word}", 2, far, dynamic=dynamic)
        yield cut(f"beyond the end{word}", 1, 10, dynamic=dynamic)
        yield cut(f"counted from behind{word}", -3, -1, dynamic=dynamic)
        yield cut(f"the last{word}", -1, far, dynamic=dynamic)
        yield cut(f"the first{word}", 0, 1, dynamic=dynamic)
        yield cut(f"before the first{word}", -10, 2, dynamic=dynamic)
        yield cut(f"every second{word}", 0, far, 2, dynamic=dynamic)
        yield cut(f"backwards{word}", -1, -far, -1, dynamic=dynamic)
    yield cut("backwards from the middle", 4, 1, -2)
    yield cut("backwards to before the first", 4, -10, -3)
    yield case("Slice by attributes", "Slice", x, opset=9, starts=[1], ends=[3], axes=[0])
    yield case(
        "Slice at positions that are inputs",
        "Slice",
        x | {"s": integers(1), "e": integers(-1)},
        {"a": integers(1)},
    )
    yield case("Split", "Split", x, {"s": integers(1, 3, 2)}, outputs=3, axis=1)
    yield case("Split into equal parts", "Split", x, outputs=3, axis=1, num_outputs=3)
    yield case("Split with a smaller last", "Split", {"x": normal(13, 7)}, outputs=3, num_outputs=3)
    yield case("Split by an attribute", "Split", x, outputs=2, axis=1, opset=11, split=[2, 4])
    pads = integers(1, 2, 0, 3)
    yield case("Pad", "Pad", x, {"p": pads, "v": np.float32(5)})
    yield case("Pad of a dynamic size", "Pad", x, {"p": pads}, dynamic=True)
    yield case(
        "Pad of integers",
        "Pad",
        {"x": np.arange(6, dtype=np.int64).reshape(2, 3) + 2**24},
        {"p": pads, "v": np.int64(7)},
    )
    yield case("Pad some axes", "Pad", x, {"p": integers(1, 2), "v": np.float32(0), "a": integers(-1)})
    yield case("Pad by less than nothing", "Pad", x, {"p": integers(0, -1, 0, 2)})
    yield case(
        "Pad by reflection",
        "Pad",
        {"x": normal(14, 1, 2, 4, 5)},
        {"p": integers(0, 0, 2, 1, 0, 0, 1, 2)},
        mode="reflect",
    )
    yield case("Pad by reflection of a first axis", "Pad", x, {"p": integers(2, 0, 1, 0)}, mode="reflect")
    yield case("Pad by its edge", "Pad", x, {"p": integers(0, 2, 0, 3)}, mode="edge")
    yield case("Pad by an attribute", "Pad", x, opset=10, pads=[1, 0, 0, 1], value=2.0)
    yield case(
        "ReverseSequence", "ReverseSequence", x, {"l": integers(1, 4, 6, 2)}, time_axis=1, batch_axis=0
    )


def indices() -> Iterator[Case]:
    x = {"x": normal(15, 3, 4)}
    for dynamic in (False, True):
        word = " of a dynamic size" * dynamic
        yield case(f"Gather{word}", "Gather", x, {"i": np.array([[0, -1], [2, 1]])}, axis=0, dynamic=dynamic)
        yield case(f"Gather one{word}", "Gather", x, {"i": np.int64(-1)}, axis=1, dynamic=dynamic)
        yield case(f"GatherND{word}", "GatherND", x, {"i": np.array([[0, -1], [-2, 1]])}, dynamic=dynamic)
        elements = np.array([[0, -1], [1, 1], [-4, 3]])
        yield case(f"GatherElements{word}", "GatherElements", x, {"i": elements}, axis=1, dynamic=dynamic)
    yield case("Gather at positions that are inputs", "Gather", x | {"i": integers(-1, 0)}, axis=1)
    yield case("Gather of truths", "Gather", {"x": TRUTHS}, {"i": integers(1)}, axis=1)
    yield case("Gather from stored rows", "Gather", {"i": np.array([[1, 0, 2]])}, x, order="x,i")
    yield case("GatherElements at inputs", "GatherElements", x | {"i": np.array([[0, -1]])}, axis=1)
    yield case(
        "GatherND with a batch",
        "GatherND",
        {"x": normal(16, 2, 3, 4)},
        {"i": np.array([[1], [2]])},
        batch_dims=1,
    )
    places = {"i": np.array([[1, -1]]), "u": np.array([[8, 9]], np.float32)}
    yield case("ScatterElements", "ScatterElements", x, places, axis=1)
    yield case("ScatterElements adds", "ScatterElements", x, places, axis=1, reduction="add")
    rows = {"i": np.array([[2], [0]]), "u": normal(17, 2, 4)}
    yield case("ScatterND", "ScatterND", x, rows)
    yield case("ScatterND at inputs", "ScatterND", x | {"i": np.array([[-1], [0]])}, {"u": normal(17, 2, 4)})
    yield case("ScatterND keeps the largest", "ScatterND", x, rows, reduction="max")
    ends = {"d": np.int64(4), "v": floats(-1, 2)}
    yield case("OneHot", "OneHot", {"i": np.array([[0, 3], [-1, 1]])}, ends)
    yield case("OneHot along the first axis", "OneHot", {"i": integers(2, 0)}, ends, axis=0)
    yield case("NonZero", "NonZero", {"x": SIGNED})
    yield case("Compress", "Compress", x, {"c": np.array([True, False, True])}, axis=0)
    yield case("TopK", "TopK", x, {"k": integers(2)}, outputs=2)
    yield case("TopK smallest", "TopK", x, {"k": integers(2)}, outputs=2, axis=0, largest=0)
    tied = {"x": np.array([[1, 3, 3], [2, 0, 2]], np.float32)}
    for kind in ("ArgMax", "ArgMin"):
        yield case(kind, kind, tied, axis=1)
        yield case(f"{kind}, the last of equals", kind, tied, axis=1, select_last_index=1, keepdims=0)


def reductions() -> Iterator[Case]:
    x = {"x": np.abs(normal(18, 2, 3, 4)) + np.float32(0.1)}
    for kind in ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]:
        yield case(f"Reduce{kind}", f"Reduce{kind}", x, {"a": integers(0, -1)}, keepdims=0)
    yield case("ReduceSum of everything", "ReduceSum", x, keepdims=0)
    yield case("ReduceSum of nothing", "ReduceSum", x, noop_with_empty_axes=1)
    yield case("ReduceSum of integers", "ReduceSum", {"x": INTS}, {"a": integers(0)})
    yield case("ReduceMean by an attribute", "ReduceMean", x, opset=13, axes=[1])


def products() -> Iterator[Case]:
    yield case("MatMul by weights", "MatMul", {"x": normal(19, 2, 3, 4)}, {"w": normal(20, 4, 5)})
    yield case(
        "MatMul by weights of dynamic size", "MatMul", {"x": normal(19, 2, 3, 4)}, {"w": normal(20, 4, 5)}
    )
    yield case("MatMul of stacks", "MatMul", {"x": normal(21, 2, 1, 3, 4), "y": normal(22, 5, 4, 2)})
    yield case("MatMul by a vector", "MatMul", {"x": normal(23, 2, 4), "y": normal(24, 4)})
    yield case("MatMul of a vector", "MatMul", {"x": normal(24, 4), "y": normal(23, 4, 2)})
    matrices = {"a": normal(25, 4, 3)}
    weights = {"b": normal(26, 4, 5), "c": normal(27, 5)}
    yield case("Gemm", "Gemm", matrices, weights, transA=1, alpha=0.5, beta=2.0)
    yield case(
        "Gemm with rows of weights", "Gemm", {"a": normal(25, 3, 4)}, {"b": normal(26, 5, 4)}, transB=1
    )
    column = {"b": normal(26, 3, 4), "c": normal(27, 4, 1)}
    yield case("Gemm with a column added", "Gemm", matrices, column)
    yield case(
        "Gemm of inputs", "Gemm", {"a": normal(25, 3, 4), "b": normal(26, 5, 4), "c": normal(27, 5)}, transB=1
    )
    pair = {"x": normal(28, 2, 3, 4), "y": normal(29, 2, 5, 4)}
    for equation in ("bij,bkj->bik", "bij,bkj->kbi", "bij,bkl->bil", "bij,bkj", "...ij,...kj->...ik"):
        yield case(f"Einsum {equation}", "Einsum", pair, equation=equation)
    yield case("Einsum of one", "Einsum", {"x": normal(28, 2, 3, 4)}, equation="bij->jb")
    fused = {"x": normal(21, 2, 3, 4), "y": normal(22, 2, 5, 4)}
    yield case("FusedMatMul", "FusedMatMul", fused, domain="com.microsoft", transB=1, alpha=0.5)


def convolutions() -> Iterator[Case]:
    image, weights = {"x": normal(30, 1, 4, 7, 6)}, {"w": normal(31, 6, 2, 3, 3), "b": normal(32, 6)}
    yield case("Conv in groups", "Conv", image, weights, group=2, pads=[1, 0, 2, 1], strides=[2, 1])
    yield case("Conv of a dynamic size", "Conv", image, {"w": normal(31, 6, 4, 3, 3)}, dilations=[2, 1])
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield case(f"Conv {pad}", "Conv", image, {"w": normal(33, 2, 4, 2, 3)}, auto_pad=pad, strides=[2, 2])
    yield case("Conv depthwise", "Conv", image, {"w": normal(34, 4, 1, 3, 3)}, group=4)
    yield case(
        "Conv in one dimension", "Conv", {"x": normal(35, 1, 2, 9)}, {"w": normal(36, 3, 2, 4)}, pads=[3, 0]
    )
    yield case(
        "Conv in three dimensions", "Conv", {"x": normal(37, 1, 2, 4, 4, 4)}, {"w": normal(38, 3, 2, 2, 2, 2)}
    )
    yield case("Conv by weights that are inputs", "Conv", image | {"w": normal(33, 2, 4, 2, 3)})
    small, turned = {"x": normal(39, 1, 4, 3, 4)}, {"w": normal(40, 4, 2, 3, 3), "b": normal(41, 2)}
    yield case("ConvTranspose", "ConvTranspose", small, turned, strides=[2, 2], pads=[1, 1, 0, 1])
    yield case(
        "ConvTranspose with more at the end",
        "ConvTranspose",
        small,
        turned,
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    )
    yield case(
        "ConvTranspose beyond its answer",
        "ConvTranspose",
        small,
        turned,
        strides=[3, 3],
        output_padding=[2, 1],
    )
    yield case(
        "ConvTranspose to a shape", "ConvTranspose", small, turned, strides=[3, 2], output_shape=[10, 9]
    )
    yield case(
        "ConvTranspose in groups",
        "ConvTranspose",
        small,
        {"w": normal(40, 4, 2, 3, 3)},
        group=2,
        dilations=[2, 1],
    )


def pools() -> Iterator[Case]:
    image = {"x": normal(42, 1, 2, 7, 6)}
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2]}
    for kind in ("MaxPool", "AveragePool"):
        yield case(kind, kind, image, **window)
        yield case(f"{kind} with padding", kind, image, **window, pads=[1, 0, 1, 1])
        yield case(f"{kind} rounded up", kind, image, kernel_shape=[2, 2], strides=[3, 4], ceil_mode=1)
        yield case(f"{kind} SAME_UPPER", kind, image, **window, auto_pad="SAME_UPPER")
        yield case(f"{kind} in one dimension", kind, {"x": normal(43, 1, 2, 7)}, kernel_shape=[3])
    yield case(
        "AveragePool counting its padding",
        "AveragePool",
        image,
        **window,
        pads=[1, 0, 1, 1],
        count_include_pad=1,
    )
    yield case(
        "AveragePool rounded up, counting",
        "AveragePool",
        image,
        kernel_shape=[3, 3],
        strides=[3, 3],
        pads=[1, 1, 1, 1],
        ceil_mode=1,
        count_include_pad=1,
    )
    yield case("LpPool", "LpPool", image, **window, p=2)
    for kind in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        yield case(kind, kind, image)


def norms() -> Iterator[Case]:
    image = {"x": normal(44, 2, 4, 3, 5)}
    scale, bias = normal(45, 4), normal(46, 4)
    statistics = {"s": scale, "b": bias, "m": normal(47, 4), "v": np.abs(normal(48, 4))}
    yield case("BatchNormalization", "BatchNormalization", image, statistics)
    yield case("BatchNormalization of rows", "BatchNormalization", {"x": normal(44, 3, 4)}, statistics)
    yield case("InstanceNormalization", "InstanceNormalization", image, {"s": scale, "b": bias})
    yield case(
        "InstanceNormalization of dynamic size", "InstanceNormalization", image, {"s": scale, "b": bias}
    )
    yield case("LRN", "LRN", image, size=3, alpha=0.1)
    yield case(
        "LayerNormalization", "LayerNormalization", {"x": normal(49, 2, 3, 4)}, {"s": scale, "b": bias}
    )
    both = {"s": normal(50, 3, 4)}
    yield case(
        "LayerNormalization over two axes", "LayerNormalization", {"x": normal(49, 2, 3, 4)}, both, axis=1
    )
    yield case(
        "LayerNormalization with its mean",
        "LayerNormalization",
        {"x": normal(49, 2, 4)},
        {"s": scale},
        outputs=3,
        opset=17,
    )
    yield case("LpNormalization", "LpNormalization", {"x": normal(51, 3, 4)}, axis=1)
    yield case("LpNormalization by sums", "LpNormalization", {"x": normal(51, 3, 4)}, axis=0, p=1)
    yield case("MeanVarianceNormalization", "MeanVarianceNormalization", image)
    added = {"x": normal(49, 2, 3, 4), "y": normal(52, 2, 3, 4)}
    yield case(
        "SkipLayerNormalization",
        "SkipLayerNormalization",
        added,
        {"s": scale, "b": bias},
        domain="com.microsoft",
    )
    yield case(
        "SimplifiedLayerNormalization",
        "SimplifiedLayerNormalization",
        {"x": normal(49, 2, 4)},
        {"s": scale},
        epsilon=1e-5,
    )


def resizes() -> Iterator[Case]:
    image = {"x": normal(53, 1, 2, 4, 5)}
    doubled, odd = {"s": floats(1, 1, 2, 3)}, {"s": floats(1, 1, 1.5, 0.6)}
    order = "x,,s"
    for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for kind in ("nearest", "linear", "cubic"):
            settings: dict[str, Any] = {"mode": kind, "coordinate_transformation_mode": mode, "order": order}
            yield case(f"Resize {kind} {mode}", "Resize", image, doubled, **settings)
            if kind == "linear" and mode != "align_corners":  # ONNX and ONNX Runtime differ in the last
                yield case(f"Resize {kind} {mode} by fractions", "Resize", image, odd, **settings)
    for nearest in ("floor", "ceil", "round_prefer_ceil"):
        settings = {"mode": "nearest", "nearest_mode": nearest, "order": order}
        yield case(f"Resize nearest {nearest}", "Resize", image, odd, **settings)
    sized = {"z": integers(1, 2, 7, 3)}
    yield case("Resize to sizes", "Resize", image, sized, order="x,,,z", mode="linear")
    yield case(
        "Resize excluding the outside", "Resize", image, odd, order=order, mode="cubic", exclude_outside=1
    )
    yield case("Resize of dynamic size", "Resize", image, doubled, order=order, mode="linear", dynamic=True)
    yield case("Resize to sizes that are inputs", "Resize", image | sized, order="x,,,z", mode="nearest")
    yield case("Upsample", "Upsample", image, doubled, opset=9, mode="nearest")
    grid = np.random.default_rng(54).uniform(-1.2, 1.2, (1, 3, 2, 2)).astype(np.float32)
    for aligned in (0, 1):
        for padding in ("zeros", "border", "reflection"):
            yield case(
                f"GridSample {padding} {aligned}",
                "GridSample",
                image,
                {"g": grid},
                opset=16,
                padding_mode=padding,
                align_corners=aligned,
            )


def recurrences() -> Iterator[Case]:
    for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for steps in (3, 11):  # written out, and as a loop
            for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
                weights = {
                    "w": normal(55, count, gates * 5, 4),
                    "r": normal(56, count, gates * 5, 5),
                    "b": normal(57, count, gates * 10),
                }
                name = f"{kind} {direction}, {steps} steps"
                more: dict[str, Any] = {
                    "hidden_size": 5,
                    "direction": direction,
                    "outputs": 3 if kind == "LSTM" else 2,
                }
                yield case(name, kind, {"x": normal(58, steps, 2, 4)}, weights, **more)
    one = {"w": normal(55, 1, 20, 4), "r": normal(56, 1, 20, 5)}
    states = {"x": normal(58, 3, 2, 4), "h": normal(59, 1, 2, 5), "c": normal(60, 1, 2, 5)}
    yield case("LSTM with states", "LSTM", states, one, order="x,w,r,,,h,c", outputs=3, hidden_size=5)
    yield case(
        "LSTM of dynamic size",
        "LSTM",
        states,
        one,
        order="x,w,r,,,h,c",
        outputs=3,
        hidden_size=5,
        dynamic=True,
    )
    peep = one | {"p": normal(61, 1, 15)}
    yield case(
        "LSTM with peepholes",
        "LSTM",
        {"x": normal(58, 3, 2, 4)},
        peep,
        order="x,w,r,,,,,p",
        outputs=3,
        hidden_size=5,
    )
    three = {"w": normal(55, 1, 15, 4), "r": normal(56, 1, 15, 5), "b": normal(57, 1, 30)}
    yield case(
        "GRU resetting late",
        "GRU",
        {"x": normal(58, 3, 2, 4)},
        three,
        outputs=2,
        hidden_size=5,
        linear_before_reset=1,
    )
    yield case(
        "GRU of dynamic size",
        "GRU",
        {"x": normal(58, 3, 2, 4)},
        three,
        outputs=2,
        hidden_size=5,
        dynamic=True,
    )


def quantizations() -> Iterator[Case]:
    scales = {"s": floats(0.1, 0.2, 0.05, 0.3)}
    zeros = scales | {"z": np.array([0, 3, -2, 1], np.int8)}
    yield case("QuantizeLinear", "QuantizeLinear", {"x": SIGNED}, {"s": np.float32(0.1), "z": np.uint8(7)})
    yield case("QuantizeLinear by channel", "QuantizeLinear", {"x": SIGNED}, zeros, axis=1)
    yield case(
        "DequantizeLinear of integers",
        "DequantizeLinear",
        {"x": np.array([[1, -2, 300, 4]], np.int32)},
        scales,
        axis=1,
    )


FAMILIES = (
    elementwise,
    logic,
    activations,
    shapes,
    slices,
    indices,
    reductions,
    products,
    convolutions,
    pools,
    norms,
    resizes,
    recurrences,
    quantizations,
)


def every() -> list[Case]:
    return [found for family in FAMILIES for found in family()]
