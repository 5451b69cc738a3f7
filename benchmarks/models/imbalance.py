"""The same function with very unequal channels, as batch normalisation folded into depthwise convolutions leaves them.

A convolution's channel is multiplied by s and what reads it through a ReLU divided by s: ReLU(s·x) = s·ReLU(x) for
s > 0, so every answer stays, while one quantization range per tensor no longer serves all of its channels.
Source: Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, section 4.1, read backwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["spread"]

DECADES = 1.5

Pair = tuple[onnx.NodeProto, onnx.NodeProto]


def spread(model: onnx.ModelProto, seed: int) -> int:
    """Multiply each channel between two convolutions by 10^U(−1.5, 1.5), in place; return the number of pairs.

    Only pairs whose first convolution feeds nothing but a ReLU, and that nothing but the second, are spread.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    random = np.random.default_rng(seed)
    pairs = list(_pairs(model.graph, weights))
    for first, second in pairs:
        channels = weights[first.input[1]].dims[0]
        factors = 10 ** random.uniform(-DECADES, DECADES, channels).astype(np.float32)
        for name in first.input[1:]:
            _scale(weights[name], factors, axis=0)
        reader = weights[second.input[1]]
        _scale(reader, 1 / factors, axis=1 if reader.dims[1] == channels else 0)
    return len(pairs)


def _pairs(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> Iterator[Pair]:
    """Yield convolutions joined by a ReLU alone; the second reads all channels at once, or each on its own."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept = {output.name for output in graph.output}
    for node in graph.node:
        active = _only(readers, kept, node, "Relu") if node.op_type == "Conv" else None
        second = _only(readers, kept, active, "Conv") if active else None
        if second:
            channels, (out, read, *_) = weights[node.input[1]].dims[0], weights[second.input[1]].dims
            if read == channels or (read == 1 and out == channels):
                yield node, second


def _only(
    readers: Mapping[str, list[onnx.NodeProto]], kept: Set[str], node: onnx.NodeProto, kind: str
) -> onnx.NodeProto | None:
    """Return the one node that reads what `node` gives, if it is of this kind."""
    found = readers.get(node.output[0], [])
    alone = len(found) == 1 and node.output[0] not in kept
    return found[0] if alone and found[0].op_type == kind else None


def _scale(tensor: onnx.TensorProto, factors: NDArray[np.float32], *, axis: int) -> None:
    array = numpy_helper.to_array(tensor)
    shape = [-1 if index == axis else 1 for index in range(array.ndim)]
    tensor.CopyFrom(numpy_helper.from_array(array * factors.reshape(shape), tensor.name))
