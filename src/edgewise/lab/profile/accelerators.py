"""What stays on an accelerator, falls back or can't run, for each target, before anything is built.

model → prepared as runtimes see it (constants folded) → each target's `support.py` places the operators → shares

A model with dynamic dimensions is looked at twice: as it is, and with the sizes that its profile uses. Rules that
ask for fixed sizes answer differently, and then both answers are given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx

from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.runtime import fold
from edgewise.lab.profile.flatten import inlined
from edgewise.lab.profile.inspection import profile
from edgewise.lab.result import Gap, Support
from edgewise.targets.graph import PROTOBUF_LIMIT, nodes, spec
from edgewise.targets.placement import Partitioning, Placement, SupportModule, Where

__all__ = ["support"]


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A graph whose nodes have names of their own, the MACs of each, and the sizes fixed in it."""

    proto: onnx.ModelProto = field(repr=False)
    macs: Mapping[str, int]
    sizes: dict[str, int]


def support(
    model: OnnxModel, names: Iterable[str], dims: Mapping[str, int] | None = None
) -> tuple[Support, ...]:
    """Return what each accelerator of the targets in `names` takes of `model`, targets in the order given.

    `dims` gives dynamic dimensions their size. A target that declares nothing, or whose toolchain is missing, is
    one entry that says so. Raises InputError for a target nobody registered and for models of 2 GB and more.
    """
    declared = {name: targets.support(name) for name in names}
    if not declared:
        return ()
    if model.size >= PROTOBUF_LIMIT:
        raise InputError(f"{model.path} has 2 GB or more: operator support is not looked up for such models")
    graphs = tuple(_graphs(model, dict(dims or {})))
    found: list[Support] = []
    for name, module in declared.items():
        try:
            found += _answers(name, module, graphs) if module else [_nothing(name, "not declared")]
        except ToolchainError as error:
            found.append(_nothing(name, str(error)))
    return tuple(found)


def _answers(target: str, module: SupportModule, graphs: Iterable[_Prepared]) -> Iterator[Support]:
    every = [
        [_support(target, found, graph) for found in module.partitionings(graph.proto)] for graph in graphs
    ]
    for answers in zip(*every, strict=True):
        yield from _differing(answers)


def _nothing(target: str, why: str) -> Support:
    return Support(target=target, accelerator="", evidence=Evidence.NONE, notes=(why,))


def _differing(answers: Iterable[Support]) -> Iterator[Support]:
    """Yield the answer for the model as it is, and the one for fixed sizes if another share is taken."""
    first, *others = answers
    yield first
    for other in others:
        if (first.on * other.operators, first.partitions) != (other.on * first.operators, other.partitions):
            yield other


def _support(target: str, found: Partitioning, graph: _Prepared) -> Support:
    places = Counter(placement.where for placement in found.placements)
    macs = Counter[Where]()
    for placement in found.placements:
        macs[placement.where] += graph.macs.get(placement.name, 0)
    return Support(
        target=target,
        accelerator=found.accelerator,
        evidence=found.evidence,
        source=found.source,
        sizes=graph.sizes,
        operators=len(found.placements),
        on=places["accelerator"],
        cpu=places["cpu"],
        unsupported=places["unsupported"],
        macs=macs.total(),
        macs_on=macs["accelerator"],
        partitions=found.partitions,
        gaps=tuple(_gaps(found, graph)),
        notes=found.notes,
    )


def _gaps(found: Partitioning, graph: _Prepared) -> Iterator[Gap]:
    """Yield the reasons, the one that concerns most operators first."""
    reasons: dict[tuple[Where, str], list[Placement]] = {}
    for placement in found.placements:
        if placement.why:
            reasons.setdefault((placement.where, placement.why), []).append(placement)
    for (where, why), held in sorted(reasons.items(), key=lambda item: -len(item[1])):
        ops = Counter(placement.op for placement in held)
        macs = sum(graph.macs.get(placement.name, 0) for placement in held)
        yield Gap(where=where, why=why, ops=dict(ops.most_common()), macs=macs)


def _graphs(model: OnnxModel, given: dict[str, int]) -> Iterator[_Prepared]:
    """Yield the model as it is (`given` sizes apart), then with all sizes fixed, where that changes anything."""
    yield _prepared(model, _folded(_fixed(model, given)), {})
    every = profile(model, given).dims
    if every != given:
        try:
            proto = fold(_fixed(model, every))
        except Exception:  # noqa: BLE001 - its own bodies contradict these sizes: there is only the model as it is
            return
        yield _prepared(model, proto, {name: size for name, size in every.items() if name not in given})


def _prepared(model: OnnxModel, proto: onnx.ModelProto, sizes: dict[str, int]) -> _Prepared:
    """Number the nodes of `proto`, so that each has a name of its own, count its MACs and infer its shapes."""
    for place, node in enumerate(nodes(proto.graph)):
        node.name = f"{node.op_type}:{place}"
    fed = {item.name for item in model.inputs}
    inputs = tuple(spec(value) for value in proto.graph.input if value.name in fed)
    macs = Counter[str]()
    for layer in profile(replace(model, proto=proto, inputs=inputs)).layers:
        macs[layer.name] += layer.macs
    return _Prepared(_inferred(proto), macs, sizes)


def _fixed(model: OnnxModel, dims: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy without local functions, its inputs' dynamic dimensions of the sizes in `dims`."""
    proto = onnx.ModelProto()
    proto.CopyFrom(inlined(model.proto))
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        for axis, dim in enumerate(spec(value).shape):
            name = f"{value.name}[{axis}]" if dim is None else dim
            if name in dims:
                value.type.tensor_type.shape.dim[axis].dim_value = dims[str(name)]
    return proto


def _folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return fold(proto)
    except Exception:  # noqa: BLE001 - it has operators that ONNX Runtime does not know: targets say which
        return proto


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # noqa: BLE001 - what is unknown stays unknown: rules over it are undecided
        return proto
