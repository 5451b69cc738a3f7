"""Weights in int8, arithmetic in float: a file a quarter of the size, read by every ONNX runtime.

Each large weight W becomes an int8 tensor and one scale per channel, W ≈ Cast(int8) · scale. Two plain
operators rather than DequantizeLinear, on purpose: ONNX Runtime never folds DequantizeLinear and runs it at
every call (38 times slower on a matrix of 1024 × 1024), but folds these two while loading, so that speed
and memory stay those of the original. OpenVINO recognises them as compressed weights and keeps them in
int8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.targets.graph import bodies, nodes

__all__ = ["to_int8_weights"]

_SMALLEST = 1024
"""Bytes of float32 below which a weight stays: its scales and two more nodes would eat the gain."""


def to_int8_weights(model: onnx.ModelProto, protected: Collection[str] = ()) -> onnx.ModelProto:
    """Return `model`, whose weights are in initializers, with the large ones in int8. `model` is used up.

    Weights of Conv, ConvTranspose, Gemm, MatMul, Gather, LSTM, GRU and RNN, nested bodies included;
    symmetric, 127 steps to each side, one scale per output channel (Gather: per row); those that
    make a tensor in `protected` stay. Raises ValueError when no weight is large enough.
    """
    if not _compress(model.graph, protected):
        raise ValueError(f"no weight of {_SMALLEST} bytes or more to compress")
    return model


def _compress(graph: onnx.GraphProto, protected: Collection[str]) -> int:
    """Compress one graph and its bodies; return how many weights."""
    count = sum(_compress(body, protected) for node in graph.node for body in bodies(node))
    stored = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, int] = {}
    spared = set[str]()
    for node in nodes(graph):  # a body may use the weights of the graph around it
        for name, axis in _weights(node, stored):
            axes.setdefault(name, axis)
            if not set(node.output).isdisjoint(protected):
                spared.add(name)
    made = [_replace(graph, stored[name], axis) for name, axis in axes.items() if name not in spared]
    listed = [*chain.from_iterable(made), *graph.node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in listed]
    del graph.node[:]
    graph.node.extend(copies)
    return count + len(made)


def _weights(node: onnx.NodeProto, stored: dict[str, TensorProto]) -> Iterator[tuple[str, int]]:
    """Yield the weights of `node` worth compressing, with the axis of their channels."""
    for position, name in enumerate(node.input):
        tensor = stored.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        axis = _channel_axis(node, position, len(tensor.dims))
        if axis is not None and 4 * int(np.prod(tensor.dims)) >= _SMALLEST:
            yield name, axis


def _channel_axis(node: onnx.NodeProto, position: int, rank: int) -> int | None:
    """Return the axis of the channels of the weight at an input, or None where it isn't a weight."""
    match node.op_type, position:
        case ("Conv", 1) | ("Gather", 0):
            return 0
        case ("ConvTranspose", 1) | ("LSTM" | "GRU" | "RNN", 1 | 2):
            return 1
        case "MatMul", 0 | 1:
            return rank - 2 + position
        case "Gemm", 1:
            return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return None


def _replace(graph: onnx.GraphProto, tensor: TensorProto, axis: int) -> list[onnx.NodeProto]:
    """Replace `tensor` by its int8 form; return the nodes that make it again under its name."""
    name = tensor.name
    quantized, scale = _quantized(numpy_helper.to_array(tensor), axis)
    graph.initializer.remove(tensor)
    for declared in [value for value in graph.input if value.name == name]:  # before IR version 4
        graph.input.remove(declared)
    graph.initializer.extend(
        [numpy_helper.from_array(quantized, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
    )
    return [
        helper.make_node(
            "Cast", [f"{name}_int8"], [f"{name}_float"], name=f"{name}_cast", to=TensorProto.FLOAT
        ),
        helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name], name=f"{name}_mul"),
    ]


def _quantized(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values, and float32 scales that broadcast against them."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale
