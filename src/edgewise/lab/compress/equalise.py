"""Cross-layer equalisation: channels of unlike range are made alike, and the function stays what it was.

A convolution's output channel may be divided by any s > 0 when whoever reads it multiplies it by s again, as long
as only operators lie between that let a factor through: ReLU, pooling, a gate. One scale for a tensor (or a range of
activations) then loses no channel. Source: Nagel et al. 2019, Data-Free Quantization through Weight Equalization and
Bias Correction, section 4.1; https://arxiv.org/abs/1906.04721.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["equalised", "spread"]

Array = NDArray[np.float32]

_ROUNDS = 30
_SETTLED = 1e-3
# What lets a positive factor of a channel through.
_ELEMENTWISE = frozenset({"Dropout", "Identity", "LeakyRelu", "Relu"})
_POOLING = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})


@dataclass(frozen=True, slots=True)
class _Layer:
    """A node with constant weights: which axis of them its output channels are, and which its input's.

    `repeat`: a depthwise convolution has no input axis, but this many output channels for each of its input.
    """

    node: onnx.NodeProto
    weight: str
    bias: str | None
    out_axis: int
    in_axis: int | None
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer, and all that read its output channels."""

    first: _Layer
    readers: tuple[_Layer, ...]


def equalised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model`, whose weights are in initializers, with its layers' channel ranges evened out.

    Raises ValueError when no two layers can be.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    weights = _float_weights(made.graph)
    pairs = list(_pairs(made.graph, weights))
    if not pairs:
        raise ValueError("no two layers with nothing but ReLU, pooling or a gate between them")
    for _ in range(_ROUNDS):
        if max([_even_out(pair, weights) for pair in pairs]) < _SETTLED:
            break
    for tensor in made.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return made


def spread(model: onnx.ModelProto) -> float:
    """Return how unlike the channels of the worst layer are that could be equalised: largest range over median.

    1 where there is nothing to equalise.
    """
    weights = _float_weights(model.graph)
    ranges = (_out_ranges(pair.first, weights) for pair in _pairs(model.graph, weights))
    return max((float(found.max() / max(np.median(found), 1e-12)) for found in ranges), default=1.0)


def _even_out(pair: _Pair, weights: dict[str, Array]) -> float:
    """Scale one pair's channels to the geometric mean of both sides' ranges; return the largest change as a log."""
    outward = _out_ranges(pair.first, weights)
    inward = np.max([_in_ranges(reader, weights) for reader in pair.readers], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(outward / inward)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1).astype(np.float32)
    first = pair.first
    weights[first.weight] = weights[first.weight] / _along(scale, first.out_axis, weights[first.weight].ndim)
    if first.bias:
        weights[first.bias] = (weights[first.bias] / scale).astype(np.float32)
    for reader in pair.readers:
        weights[reader.weight] = weights[reader.weight] * _factors(reader, scale, weights)
    return float(np.abs(np.log(scale)).max())


def _factors(reader: _Layer, scale: Array, weights: dict[str, Array]) -> Array:
    rank = weights[reader.weight].ndim
    if reader.in_axis is None:
        return _along(np.repeat(scale, reader.repeat), reader.out_axis, rank)
    return _along(scale, reader.in_axis, rank)


def _along(values: Array, axis: int, rank: int) -> Array:
    return values.reshape([-1 if index == axis else 1 for index in range(rank)])


def _out_ranges(layer: _Layer, weights: dict[str, Array]) -> Array:
    return _ranges(weights[layer.weight], layer.out_axis)


def _in_ranges(layer: _Layer, weights: dict[str, Array]) -> Array:
    if layer.in_axis is None:
        found: Array = _ranges(weights[layer.weight], layer.out_axis).reshape(-1, layer.repeat).max(axis=1)
        return found
    return _ranges(weights[layer.weight], layer.in_axis)


def _ranges(weight: Array, axis: int) -> Array:
    found: Array = np.abs(weight).max(axis=tuple(index for index in range(weight.ndim) if index != axis))
    return found


def _float_weights(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return the float32 initializers that exactly one input reads: others serve somebody else, too."""
    uses: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and uses.get(tensor.name) == 1
    }


def _pairs(graph: onnx.GraphProto, weights: dict[str, Array]) -> Iterator[_Pair]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    results = {value.name for value in graph.output}
    for node in graph.node:
        first = _layer(node, weights)
        if first is not None:
            found = _reached(node.output[0], readers, results, weights)
            if found:
                yield _Pair(first, tuple(found))


def _reached(
    start: str, readers: dict[str, list[onnx.NodeProto]], results: set[str], weights: dict[str, Array]
) -> Sequence[_Layer]:
    """Return the layers that a factor on the channels of `start` reaches; none where something stops it."""
    found: list[_Layer] = []
    front, scaled = [(start, False)], {start}
    while front:
        name, single = front.pop()
        if name in results or name not in readers:
            return ()
        for node in readers[name]:
            layer = _layer(node, weights)
            if layer is not None and node.input[0] == name:
                found.append(layer)
            elif _lets_through(node, name, scaled, single=single):
                front.append((node.output[0], single or node.op_type.startswith("Global")))
                scaled.add(node.output[0])
            else:
                return ()
    return found


def _lets_through(node: onnx.NodeProto, name: str, scaled: set[str], *, single: bool) -> bool:
    """Tell whether the factor of a channel is on the same channel behind the node. `single`: one value a channel."""
    if node.op_type in _ELEMENTWISE | _POOLING:
        return bool(node.input[0] == name)
    if node.op_type == "Flatten":
        return single and not any(one.name == "axis" and one.i != 1 for one in node.attribute)
    return node.op_type == "Mul" and sum(one in scaled for one in node.input) == 1


def _layer(node: onnx.NodeProto, weights: dict[str, Array]) -> _Layer | None:
    """Return a node as a layer, where its weights and bias are constants of its own."""
    if node.op_type not in ("Conv", "Gemm") or node.input[1] not in weights:
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if bias is not None and (bias not in weights or weights[bias].ndim != 1):
        return None
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return (_conv if node.op_type == "Conv" else _gemm)(node, weights[node.input[1]], bias, settings)


def _conv(
    node: onnx.NodeProto, weight: Array, bias: str | None, settings: dict[str, object]
) -> _Layer | None:
    groups = settings.get("group", 1)
    if groups == 1:
        return _Layer(node, node.input[1], bias, 0, 1)
    if weight.shape[1] != 1:
        return None
    return _Layer(node, node.input[1], bias, 0, None, weight.shape[0] // int(str(groups)))


def _gemm(
    node: onnx.NodeProto, weight: Array, bias: str | None, settings: dict[str, object]
) -> _Layer | None:
    plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
    out = 0 if settings.get("transB") else 1
    return _Layer(node, node.input[1], bias, out, 1 - out) if plain and weight.ndim == 2 else None
