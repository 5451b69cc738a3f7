"""Tiny ONNX models, built by hand with seeded weights: opset 17, IR version 10, answers in `logits`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]
Weights = dict[str, NDArray[Any]]

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Weights | None = None,
    *,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return a model of these nodes, `weights` as its initializers."""
    stored = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), stored)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, producer_name="edgewise tests")


def tensor(name: str, shape: Shape, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """Describe an input or output; a string or None is a dynamic dimension."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    """Return seeded weights of about unit variance per output."""
    array = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(max(shape[0], 1))
    return np.asarray(array, np.float32)


def save(proto: onnx.ModelProto, path: Path) -> Path:
    """Write `proto` to `path` and return the path."""
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


def tiny_mlp() -> onnx.ModelProto:
    """x (batch, 8) → 16 → logits (batch, 3). 128 + 48 MACs per row, 195 parameters."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"], "first"),
        helper.make_node("Relu", ["hidden"], ["active"], "relu"),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"], "second"),
    ]
    weights = {"w1": normal(1, 8, 16), "b1": normal(2, 16), "w2": normal(3, 16, 3), "b2": normal(4, 3)}
    return model(nodes, [tensor("x", ["batch", 8])], [tensor("logits", ["batch", 3])], weights)


def tiny_cnn() -> onnx.ModelProto:
    """image (batch, 3, 8, 8) → 3×3, depthwise, 1×1 convolutions → logits (batch, 4). 396 parameters."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "w3"], ["d"], "pointwise"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["logits"], "head"),
    ]
    weights = {
        "w1": normal(1, 8, 3, 3, 3),
        "b1": normal(2, 8),
        "w2": normal(3, 8, 1, 3, 3),
        "w3": normal(4, 8, 8, 1, 1),
        "w4": normal(5, 8, 4),
        "b4": normal(6, 4),
    }
    return model(nodes, [tensor("image", ["batch", 3, 8, 8])], [tensor("logits", ["batch", 4])], weights)


def tiny_transformer() -> onnx.ModelProto:
    """ids (batch, length) int64 below 32 → embedding 16, one attention head → logits (batch, 2)."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"], "embed"),
        *(helper.make_node("MatMul", ["x", f"w{n}"], [n], f"project_{n}") for n in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"], "scores"),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"], "scale"),
        helper.make_node("Softmax", ["scaled"], ["shares"], "softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"], "mix"),
        helper.make_node("Add", ["x", "mixed"], ["sum"], "residual"),
        helper.make_node("LayerNormalization", ["sum", "gain", "bias"], ["normed"], "norm"),
        helper.make_node("ReduceMean", ["normed"], ["pooled"], "pool", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["pooled", "head", "head_bias"], ["logits"], "classify"),
    ]
    weights: Weights = {
        "table": normal(1, 32, 16) * np.float32(4),
        "wq": normal(2, 16, 16),
        "wk": normal(3, 16, 16),
        "wv": normal(4, 16, 16),
        "scale": np.array(0.25, np.float32),
        "gain": np.ones(16, np.float32),
        "bias": np.zeros(16, np.float32),
        "head": normal(5, 16, 2),
        "head_bias": normal(6, 2),
    }
    ids = tensor("ids", ["batch", "length"], INT64)
    return model(nodes, [ids], [tensor("logits", ["batch", 2])], weights)


def tiny_two_in_two_out() -> onnx.ModelProto:
    """left (batch, 4) and right (batch, 4) → sum (batch, 4) and logits (batch, 2)."""
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"], "add"),
        helper.make_node("MatMul", ["sum", "w"], ["logits"], "head"),
    ]
    inputs = [tensor("left", ["batch", 4]), tensor("right", ["batch", 4])]
    outputs = [tensor("sum", ["batch", 4]), tensor("logits", ["batch", 2])]
    return model(nodes, inputs, outputs, {"w": normal(1, 4, 2)})
