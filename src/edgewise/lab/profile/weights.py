"""What a model stores: every constant tensor, which of them are parameters, and what is computed from them.

Weights hide in three places: initializers, Constant nodes (Paddle exports keep all of theirs there) and the
number lists of ai.onnx.ml operators. A weight that reaches its layer through DequantizeLinear, Transpose or
Cast is still a weight: whatever is computed from constants alone is constant.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from edgewise.targets.graph import attribute_tensors, bodies, bytes_of, dtype_name, nodes

__all__ = ["Roots", "Stored", "Uses", "constants", "parameters", "stored", "uses"]

Uses = Mapping[str, list[tuple[onnx.NodeProto, int]]]
Roots = Mapping[str, frozenset[str]]

_RANDOM = ("Random", "Multinomial", "Bernoulli")
# Types that learned numbers are stored in; wider integers are shapes, axes and indices.
_LEARNED = re.compile(r"b?float\d|u?int[248]$")
# Inputs that steer an operator instead of being learned: scales, zero points, sizes, limits.
_SETTINGS = {
    "QuantizeLinear": {1, 2},
    "DequantizeLinear": {1, 2},
    "QLinearConv": {1, 2, 4, 5, 6, 7},
    "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "QGemm": {1, 2, 4, 5, 7, 8},
    "ConvInteger": {2, 3},
    "MatMulInteger": {2, 3},
    "MatMulIntegerToFloat": {2, 3, 4, 5},
    "DynamicQuantizeMatMul": {2, 3},
    "MatMulNBits": {2, 3},
    "Resize": {1, 2},
    "Clip": {1, 2},
    "Pad": {2},
    "Pow": {1},
}
# An int32 constant in these places is a quantized weight or bias, not a shape.
_INT32 = {"DequantizeLinear": 0, "QLinearConv": 8, "QGemm": 6}
_PACKED = ("MatMulNBits", "MatMulBnb4")


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored tensor: name in the graph (its operator's output, for an attribute), dtype and size."""

    name: str
    dtype: str
    rank: int
    elements: int
    bytes: int


def stored(graph: onnx.GraphProto) -> Iterator[Stored]:
    """Yield every tensor kept in `graph` and in its bodies."""
    for tensor in graph.initializer:
        yield _of(tensor.name, tensor)
    for sparse in graph.sparse_initializer:
        yield _of(sparse.values.name, sparse.values)
        yield _of(f"{sparse.values.name} indices", sparse.indices)
    for node in graph.node:
        name = node.output[0]
        for attribute in node.attribute:
            for tensor in attribute_tensors(attribute):
                yield _of(name, tensor)
            if node.op_type == "Constant" or node.domain == "ai.onnx.ml":
                yield from _numbers(name, attribute)
        for body in bodies(node):
            yield from stored(body)


def uses(graph: onnx.GraphProto) -> Uses:
    """Return where each tensor is consumed, nested bodies included: (node, input position)."""
    found: defaultdict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in nodes(graph):
        for position, name in enumerate(node.input):
            found[name].append((node, position))
    return found


def parameters(item: Stored, where: Uses) -> int:
    """Return how many learned numbers a stored tensor holds; 4-bit weights packed in bytes count singly."""
    users = where.get(item.name, [])
    for node, position in users:
        if node.op_type in _PACKED and position == 1:
            sizes = {attribute.name: attribute.i for attribute in node.attribute}
            return int(sizes["N"] * sizes["K"])
    if users and all(position in _SETTINGS.get(node.op_type, ()) for node, position in users):
        return 0
    quantized = any(_INT32.get(node.op_type) == position for node, position in users)
    return item.elements if item.rank > 0 and (quantized or _LEARNED.match(item.dtype)) else 0


def constants(graph: onnx.GraphProto, outer: Roots | None = None) -> Roots:
    """Return each tensor that depends on no input → the stored tensors it comes from; `outer` for a body."""
    known = dict(outer or {})
    known |= {tensor.name: frozenset([tensor.name]) for tensor in graph.initializer}
    known |= {s.values.name: frozenset([s.values.name]) for s in graph.sparse_initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = frozenset([node.output[0]])
            continue
        given = [name for name in node.input if name]
        if given and all(name in known for name in given) and not _fresh(node):
            roots = frozenset[str]().union(*(known[name] for name in given))
            known |= dict.fromkeys(filter(None, node.output), roots)
    return known


def _fresh(node: onnx.NodeProto) -> bool:
    """Whether a node may answer differently each time, or takes tensors unseen through its body."""
    return node.op_type.startswith(_RANDOM) or any(True for _ in bodies(node))


def _of(name: str, tensor: onnx.TensorProto) -> Stored:
    dtype, elements = dtype_name(tensor.data_type), math.prod(tensor.dims)
    return Stored(name, dtype, len(tensor.dims), elements, bytes_of(dtype, elements))


def _numbers(name: str, attribute: onnx.AttributeProto) -> Iterator[Stored]:
    """Yield the number lists of an attribute, which the file keeps as float32 and int64."""
    for dtype, values in (("float32", attribute.floats), ("int64", attribute.ints)):
        if values:
            yield Stored(name, dtype, 1, len(values), bytes_of(dtype, len(values)))
