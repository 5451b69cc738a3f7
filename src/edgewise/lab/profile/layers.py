"""The layers of a straight graph: operators with MACs or parameters, in file order.

A Loop's body counts as often as it repeats when that is stored in the model, a Scan's as often as its
sequence is long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from edgewise.lab.profile.macs import Op, UnknownShapeError, work
from edgewise.lab.profile.result import Layer
from edgewise.lab.profile.values import Value
from edgewise.lab.profile.weights import Roots, constants, parameters, stored, uses
from edgewise.targets.graph import bodies

__all__ = ["Counted", "count_layers"]

# Exporters write the largest int64 for "until the condition says stop".
_ENDLESS = 1_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """The layers, and in sentences what could not be counted."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]


def count_layers(graph: onnx.GraphProto, values: Mapping[str, Value]) -> Counted:
    """Count every operator of `graph`, given the shapes of its tensors."""
    counter = _Counter(graph, values)
    layers = tuple(counter.walk(graph, {}, 1))
    notes = list(counter.notes)
    if counter.unknown:
        named = ", ".join(f"{op} ({count})" for op, count in counter.unknown.most_common())
        notes.append(f"not counted, for their shapes are unknown: {named}")
    return Counted(layers, tuple(notes))


class _Counter:
    """Walks a graph and its bodies, noting what it can't count."""

    def __init__(self, graph: onnx.GraphProto, values: Mapping[str, Value]) -> None:
        where = uses(graph)
        self.values, self.notes, self.unknown = values, list[str](), Counter[str]()
        self._learned = Counter[str]()
        for item in stored(graph):
            self._learned[item.name] += parameters(item, where)
        self._rounds = dict(_whole_numbers(graph))

    def walk(self, graph: onnx.GraphProto, outer: Roots, times: int) -> Iterator[Layer]:
        fixed = constants(graph, outer)
        for node in graph.node:
            if all(name in fixed for name in node.output if name):
                continue
            inner = list(bodies(node))
            if not inner:
                yield from self._layers(Op(node, self.values, fixed), fixed, times)
                continue
            repeat = self._repeat(node)
            walks = [list(self.walk(body, fixed, times * repeat)) for body in inner]
            # Of an If inside a repeating body one branch runs: the costlier is counted.
            yield from max(walks, key=lambda layers: sum(layer.macs for layer in layers))

    def _layers(self, op: Op, fixed: Roots, times: int) -> Iterator[Layer]:
        node = op.node
        try:
            parts = work(op)
        except UnknownShapeError:
            self.unknown[node.op_type] += 1
            parts = []
        roots = frozenset[str]().union(*(fixed.get(name, frozenset()) for name in node.input))
        # Numbers kept in attributes go by the operator's own output.
        learned = sum(self._learned[root] for root in {*roots, node.output[0]})
        output = next((self.values[name].shape for name in node.output if name in self.values), ())
        for kind, macs in parts or ([("other", 0)] if learned else []):
            yield Layer(node.name or node.output[0], node.op_type, kind, macs * times, learned, output)
            learned = 0

    def _repeat(self, node: onnx.NodeProto) -> int:
        if node.op_type == "If":
            return 1
        name = node.name or node.output[0]
        if node.op_type == "Scan":
            length = self._scan_length(node)
        else:
            length = self._rounds.get(node.input[0]) if node.op_type == "Loop" else None
        if length is None or length > _ENDLESS:
            self.notes.append(f"{node.op_type} {name!r} counts as one round: how many depends on the inputs")
            return 1
        return length

    def _scan_length(self, node: onnx.NodeProto) -> int | None:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        scanned = attributes["num_scan_inputs"].i
        first = node.input[len(node.input) - scanned]
        axes = attributes["scan_input_axes"].ints if "scan_input_axes" in attributes else [0]
        return self.values[first].shape[axes[0]] if first in self.values else None


def _whole_numbers(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    """Yield the stored int64 tensors of one element, by name."""
    found = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            found += [(node.output[0], a.t) for a in node.attribute if a.HasField("t")]
            yield from ((node.output[0], a.i) for a in node.attribute if a.name == "value_int")
    for name, tensor in found:
        if tensor.data_type == onnx.TensorProto.INT64 and list(tensor.dims) in ([], [1]):
            yield name, int(onnx.numpy_helper.to_array(tensor).item())
