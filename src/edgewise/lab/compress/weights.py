"""Weights in int8 or int4, arithmetic in float: a file a quarter of the size, or an eighth.

Each large weight W becomes an integer tensor and one scale per channel, W ≈ Cast(int8) · scale. Two plain
operators rather than DequantizeLinear, on purpose: ONNX Runtime never folds DequantizeLinear and runs it at
every call (38 times slower on a matrix of 1024 × 1024), but folds these two while loading, so that speed
and memory stay those of the original. OpenVINO recognises them as compressed weights and keeps them in
int8. With int8 every ONNX runtime reads the file; int4 needs opset 21.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.targets.graph import bodies, nodes

__all__ = ["to_int4_weights", "to_int8_weights"]

_SMALLEST = 1024
"""Bytes of float32 below which a weight stays: its scales and two more nodes would eat the gain."""
_FEWEST = 16
"""Weights of a channel below which four bits gain little over eight, and each has much to say (depthwise kernels)."""
_OPSET, _IR_VERSION = 21, 10  # from where ONNX has int4
_CLIPS = np.linspace(0.6, 1.0, 17)
"""Shares of a channel's largest weight to clip at: with 15 steps, rounding the many costs more than clipping a few."""

Weights = NDArray[np.float32]


def to_int8_weights(model: onnx.ModelProto, protected: Collection[str] = ()) -> onnx.ModelProto:
    """Return `model`, whose weights are in initializers, with the large ones in int8. `model` is used up.

    Weights of Conv, ConvTranspose, Gemm, MatMul, Gather, LSTM, GRU and RNN, nested bodies included;
    symmetric, 127 steps to each side, one scale per output channel (Gather: per row); those that
    make a tensor in `protected` stay. Raises ValueError when no weight is large enough.
    """
    if not _compress(model.graph, protected, ()):
        raise ValueError(f"no weight of {_SMALLEST} bytes or more to compress")
    return model


def to_int4_weights(model: onnx.ModelProto, protected: Collection[str] = ()) -> onnx.ModelProto:
    """Return `model`, whose weights are in initializers, with the large ones in int4. `model` is used up.

    As above, but 7 steps to each side, clipped where that errs least (squared); weights that make a tensor in
    `protected`, and those with fewer than 16 to a channel, have 8 bits. Raises ValueError when no weight is left for
    4, or the model cannot be raised to opset 21.
    """
    made = _raised(model)
    before = sum(tensor.data_type == TensorProto.INT4 for tensor in made.graph.initializer)
    _compress(made.graph, (), protected, low=True)
    if sum(tensor.data_type == TensorProto.INT4 for tensor in made.graph.initializer) == before:
        raise ValueError(
            f"no weight of {_SMALLEST} bytes or more has {_FEWEST} values to a channel, or all are protected"
        )
    return made


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    made = model if max(versions) >= _OPSET else _converted(model)
    made.ir_version = max(made.ir_version, _IR_VERSION)
    return made


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import version_converter

    try:
        made = version_converter.convert_version(model, _OPSET)
    except Exception as error:  # raises RuntimeError, ValueError and its own
        raise ValueError(f"the model cannot be raised to opset {_OPSET}, which has int4: {error}") from error
    assert isinstance(made, onnx.ModelProto)
    return made


def _compress(
    graph: onnx.GraphProto, protected: Collection[str], wide: Collection[str], *, low: bool = False
) -> int:
    """Compress one graph and its bodies; return how many weights. `wide` have 8 bits where others are `low`: 4."""
    count = sum(_compress(body, protected, wide, low=low) for node in graph.node for body in bodies(node))
    stored = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, int] = {}
    spared, eight = set[str](), set[str]()
    for node in nodes(graph):  # a body may use the weights of the graph around it
        for name, axis in _weights(node, stored):
            axes.setdefault(name, axis)
            if not set(node.output).isdisjoint(protected):
                spared.add(name)
            if not low or not set(node.output).isdisjoint(wide) or not _fits(stored[name], axis):
                eight.add(name)
    made = [
        _replace(graph, stored[name], axis, low=name not in eight)
        for name, axis in axes.items()
        if name not in spared
    ]
    listed = [*chain.from_iterable(made), *graph.node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in listed]
    del graph.node[:]
    graph.node.extend(copies)
    return count + len(made)


def _fits(tensor: TensorProto, axis: int) -> bool:
    return bool(int(np.prod(tensor.dims)) // max(1, tensor.dims[axis]) >= _FEWEST)


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


def _replace(graph: onnx.GraphProto, tensor: TensorProto, axis: int, *, low: bool) -> list[onnx.NodeProto]:
    """Replace `tensor` by its int8 (or int4) form; return the nodes that make it again under its name."""
    name, kind = tensor.name, "int4" if low else "int8"
    quantized, scale = (_four_bits if low else _eight_bits)(numpy_helper.to_array(tensor), axis)
    graph.initializer.remove(tensor)
    for declared in [value for value in graph.input if value.name == name]:  # before IR version 4
        graph.input.remove(declared)
    graph.initializer.extend(
        [
            numpy_helper.from_array(quantized, f"{name}_{kind}"),
            numpy_helper.from_array(scale, f"{name}_scale"),
        ]
    )
    return [
        helper.make_node(
            "Cast", [f"{name}_{kind}"], [f"{name}_float"], name=f"{name}_cast", to=TensorProto.FLOAT
        ),
        helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name], name=f"{name}_mul"),
    ]


def _eight_bits(weight: Weights, axis: int) -> tuple[NDArray[Any], Weights]:
    """Return int8 values, and float32 scales that broadcast against them."""
    scale = _scale(_largest(weight, axis), 127)
    return _rounded(weight, scale, 127).astype(np.int8), scale


def _four_bits(weight: Weights, axis: int) -> tuple[NDArray[Any], Weights]:
    """Return int4 values, and of some float32 scales for each channel the one with the smallest squared error."""
    others, largest = _others(weight, axis), _largest(weight, axis)
    best, least = _scale(largest, 7), np.full_like(largest, np.inf)
    for clip in _CLIPS:
        scale = _scale((largest * clip).astype(np.float32), 7)
        error = ((_rounded(weight, scale, 7) * scale - weight) ** 2).sum(axis=others, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return _rounded(weight, best, 7).astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT4)), best


def _others(weight: Weights, axis: int) -> tuple[int, ...]:
    return tuple(index for index in range(weight.ndim) if index != axis)


def _largest(weight: Weights, axis: int) -> Weights:
    found: Weights = np.abs(weight).max(axis=_others(weight, axis), keepdims=True)
    return found


def _scale(largest: Weights, steps: int) -> Weights:
    return np.where(largest > 0, largest / steps, 1).astype(np.float32)


def _rounded(weight: Weights, scale: Weights, steps: int) -> Weights:
    found: Weights = np.clip(np.rint(weight / scale), -steps, steps)
    return found
