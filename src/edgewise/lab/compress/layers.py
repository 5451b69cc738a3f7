"""Which layers of a quantized ONNX file cost most: each is given its float inputs back, alone, and asked again.

    source (float) ─┐
                    ├→ layers in both → error of the whole file → error with one layer in float, for each
    quantized file ─┘

A layer is an operator with weights, and what follows it alone (a bias, a normalisation, an activation): tools fuse
these, and know the layer by the name of any of their results. The quantized file must have kept the source's names
and operators, as NNCF does: ONNX Runtime leaves out a ReLU where its rounding cuts off the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import onnx
from numpy.typing import NDArray

from edgewise.bundle.golden import compare
from edgewise.lab import jobs
from edgewise.lab.compress.prepare import prepared, read
from edgewise.lab.measure.store import Store
from edgewise.lab.model.runtime import open_session, profiled, run
from edgewise.lab.quiet import no_telemetry

__all__ = ["Cost", "Job", "Layer", "Ranking"]

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_FOLLOWING = frozenset(
    {"Add", "BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid"}
)
_ROUNDING = frozenset({"DequantizeLinear", "QuantizeLinear"})
_FLOAT_BYTES, _INT8_BYTES = 4, 1

Cost = Literal["bytes", "microseconds"]
Answers = Sequence[dict[str, NDArray[Any]]]


class Layer(msgspec.Struct, frozen=True):
    """A layer: its results by name, how much of the squared error goes with it, and what it costs in float.

    `bytes` are those that its weights take more than in int8; `microseconds` are what it takes one request in float.
    """

    names: tuple[str, ...]
    removed: float
    bytes: int
    microseconds: float = 1.0

    def worth(self, cost: Cost) -> float:
        """Return the error that is removed for each byte, or for each microsecond."""
        return self.removed / max(1e-3, self.bytes if cost == "bytes" else self.microseconds)


class Ranking(msgspec.Struct, frozen=True):
    """The error (relative rms, squared) of the quantized file, and its layers in the order of the graph."""

    error: float
    layers: tuple[Layer, ...]

    def by(self, cost: Cost) -> tuple[Layer, ...]:
        """Return the layers, those that remove most error a byte (or a microsecond) first."""
        return tuple(sorted(self.layers, key=lambda one: (-one.worth(cost), one.names)))


class Job(msgspec.Struct, frozen=True):
    """The float source, its quantized form (both ONNX), samples, and how many of them to ask."""

    source: str
    quantized: str
    store: str
    count: int


def rank(job: Job) -> Ranking:
    """Do the job. Raises ValueError when the two files share no layer."""
    no_telemetry()
    pair = _Pair(prepared(read(Path(job.source))), read(Path(job.quantized)))
    if not pair.layers:
        raise ValueError("none of the source's layers is in the quantized file")
    with Store(Path(job.store)) as store:
        feeds = [store.inputs(index) for index in range(min(job.count, len(store)))]
    expected = _answers(pair.source, feeds)

    def error(chosen: Collection[int]) -> float:
        return compare(expected, _answers(pair.mixed(chosen), feeds)).rms ** 2

    whole = error(())
    spent = _microseconds(pair.source, feeds)
    return Ranking(
        whole,
        tuple(
            Layer(names, max(0.0, whole - error((index,))), pair.cost(index), spent[node.output[0]])
            for index, (node, names) in enumerate(pair.layers)
        ),
    )


def _microseconds(model: onnx.ModelProto, feeds: Answers) -> dict[str, float]:
    """Return what each operator takes a request, by its first result, as ONNX Runtime's profiler saw it."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for node in named.graph.node:
        node.name = node.output[0]
    with tempfile.TemporaryDirectory() as folder:
        events = profiled(named, feeds, Path(folder))
    spent = {node.output[0]: 0.0 for node in named.graph.node}
    for name, microseconds in events:
        if name in spent:
            spent[name] += microseconds / len(feeds)
    return spent


def _answers(model: onnx.ModelProto, feeds: Answers) -> Answers:
    session = open_session(model)
    names = [value.name for value in model.graph.output]
    return [run(session, feed, names) for feed in feeds]


@dataclass(slots=True)
class _Pair:
    """The float graph, its quantized form, and the layers of the first that are in the second, too."""

    source: onnx.ModelProto
    quantized: onnx.ModelProto

    @property
    def layers(self) -> list[tuple[onnx.NodeProto, tuple[str, ...]]]:
        """Each layer's node in the source, with its names."""
        makers = _makers(self.quantized.graph)
        return [
            (node, names)
            for node, names in _layers(self.source.graph)
            if node.output[0] in makers and makers[node.output[0]].op_type == node.op_type
        ]

    def mixed(self, chosen: Collection[int]) -> onnx.ModelProto:
        """Return the quantized graph with these layers reading what they read in the source."""
        made = onnx.ModelProto()
        made.CopyFrom(self.quantized)
        makers = _makers(made.graph)
        stored = {tensor.name: tensor for tensor in self.source.graph.initializer}
        layers = self.layers
        for index in chosen:
            node, _ = layers[index]
            for position, name in enumerate(node.input):
                wanted = name
                if name in stored:
                    wanted = f"{name} of {node.output[0]}"
                    made.graph.initializer.add().CopyFrom(stored[name])
                    made.graph.initializer[-1].name = wanted
                makers[node.output[0]].input[position] = wanted
        return made

    def cost(self, index: int) -> int:
        """Return how many bytes a layer's weights take more in float32 than in int8."""
        inputs = set(self.layers[index][0].input)
        elements = sum(
            _elements(one)
            for one in self.source.graph.initializer
            if one.name in inputs and len(one.dims) > 1  # biases have 32 bits in every file
        )
        return max(1, elements * (_FLOAT_BYTES - _INT8_BYTES))


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return which node makes each tensor, rounding left out: a result may come out of a DequantizeLinear."""
    direct = {name: node for node in graph.node for name in node.output}

    def maker(name: str) -> onnx.NodeProto:
        node = direct[name]
        while node.op_type in _ROUNDING and node.input[0] in direct:
            node = direct[node.input[0]]
        return node

    return {name: maker(name) for name in direct}


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _layers(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, tuple[str, ...]]]:
    stored = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type in _WEIGHTED and not stored.isdisjoint(node.input):
            yield node, tuple(_chain(node, readers))


def _chain(node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str]:
    """Yield the results of a node and of those that follow it alone."""
    yield node.output[0]
    after = readers.get(node.output[0], [])
    while len(after) == 1 and after[0].op_type in _FOLLOWING:
        yield after[0].output[0]
        after = readers.get(after[0].output[0], [])


if __name__ == "__main__":
    jobs.serve(Job, rank)
