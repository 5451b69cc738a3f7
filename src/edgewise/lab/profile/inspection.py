"""The profile of a model: dimensions → straight graph → shapes → layers, weights and memory.

Dynamic dimensions get values (`dims.py`); Ifs give way to one branch (`flatten.py`); shapes are inferred or
read from one run (`values.py`); then everything is counted. What was assumed is in `Profile.assumptions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from edgewise.errors import InputError
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.runtime import Arrays, open_session, reason
from edgewise.lab.profile.dims import Guess, guesses
from edgewise.lab.profile.flatten import flatten
from edgewise.lab.profile.layers import count_layers
from edgewise.lab.profile.memory import peak_bytes, total_bytes
from edgewise.lab.profile.result import KINDS, Kind, Layer, Profile
from edgewise.lab.profile.values import InfeasibleError, Value, evaluate, infer, made_up, missing
from edgewise.lab.profile.weights import parameters, stored, uses
from edgewise.targets.graph import PROTOBUF_LIMIT, nodes

__all__ = ["profile"]

Feeds = Mapping[str, NDArray[Any]]

_TOO_LARGE = "models of 2 GB and more are not run here"


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """A straight graph and the shapes of its tensors, and how they came about."""

    graph: onnx.GraphProto = field(repr=False)
    values: dict[str, Value] = field(repr=False)
    dims: dict[str, int]
    notes: tuple[str, ...]


def profile(
    model: OnnxModel, dims: Mapping[str, int] | None = None, feeds: dict[str, NDArray[Any]] | None = None
) -> Profile:
    """Return what one run of `model` costs.

    `dims` sizes dynamic dimensions by name ("input[1]" for an unnamed one), `feeds` (one array per input) by
    example. Raises InputError when they don't fit the model, or when no sizes that were tried let it run.
    """
    solved = _solve(model, dims or {}, feeds)
    counted = count_layers(solved.graph, solved.values)
    where = uses(model.proto.graph)
    weight_bytes = Counter[str]()
    learned = 0
    for item in stored(model.proto.graph):
        weight_bytes[item.dtype] += item.bytes
        learned += parameters(item, where)
    operators = Counter(_operator(node) for node in nodes(model.proto.graph) if node.op_type != "Constant")
    return Profile(
        macs=sum(layer.macs for layer in counted.layers),
        macs_by_kind=_by_kind(counted.layers),
        parameters=learned,
        weight_bytes=dict(weight_bytes.most_common()),
        activation_bytes=total_bytes(solved.graph, solved.values),
        peak_activation_bytes=peak_bytes(solved.graph, solved.values),
        operators=dict(operators.most_common()),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.proto.opset_import},
        inputs=model.inputs,
        outputs=model.outputs,
        dims=solved.dims,
        layers=counted.layers,
        assumptions=(*solved.notes, *counted.notes),
    )


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)


def _by_kind(layers: tuple[Layer, ...]) -> dict[Kind, int]:
    sums = {kind: sum(layer.macs for layer in layers if layer.kind == kind) for kind in KINDS}
    return {kind: macs for kind, macs in sums.items() if macs}


def _solve(model: OnnxModel, dims: Mapping[str, int], feeds: Feeds | None) -> _Solved:
    """Return the straight graph with its shapes, for the first guess at the dimensions that works."""
    failures: list[tuple[Guess, InfeasibleError]] = []
    for guess in guesses(model.inputs, dims, feeds):
        try:
            return _shapes(model, guess, feeds)
        except InfeasibleError as error:
            failures.append((guess, error))
    guess, failure = failures[0]
    if feeds is not None:
        raise InputError(f"{model.path} does not run on the feeds: {failure}") from failure
    if (why := _unrunnable(model)) or not guess.dims:
        return _partly(model, guess, f"shapes are only inferred, not read from a run: {why or failure}")
    sizes = ", ".join(f"{name} = {value}" for name, value in guess.dims.items())
    raise InputError(
        f"{model.path} does not run with {sizes} ({failure}). Give its dynamic dimensions sizes that suit it."
    ) from failure


def _shapes(model: OnnxModel, guess: Guess, feeds: Feeds | None) -> _Solved:
    def decide(proto: onnx.ModelProto, names: list[str]) -> dict[str, bool]:
        found = _run(model, proto, guess, feeds, names)
        return {name: bool(found[name].all()) for name in names}

    flat = flatten(model.proto, decide)
    graph = flat.model.graph
    values = infer(flat.model, guess.shapes)
    unknown = missing(graph, values)
    # Inference finds a shape for sizes that can't be computed, too: only a run shows that they suit.
    wanted = unknown or ([output.name for output in graph.output] if guess.dims else [])
    read = _run(model, flat.model, guess, feeds, wanted)
    values |= {name: Value(_dtype(array), array.shape) for name, array in read.items()}
    notes = [*_assumed(guess), *flat.notes]
    if unknown and feeds is None:
        notes.append(f"{len(unknown)} shapes were read from one run on made-up inputs")
    return _Solved(graph, values, guess.dims, tuple(notes))


def _partly(model: OnnxModel, guess: Guess, why: str) -> _Solved:
    """Return what inference alone finds, each If by its heavier or first branch."""
    flat = flatten(model.proto, lambda _, names: dict.fromkeys(names, True))
    values = infer(flat.model, guess.shapes)
    return _Solved(flat.model.graph, values, guess.dims, (*_assumed(guess), *flat.notes, why))


def _run(
    model: OnnxModel, proto: onnx.ModelProto, guess: Guess, feeds: Feeds | None, names: list[str]
) -> Arrays:
    if model.size >= PROTOBUF_LIMIT and names:
        raise InfeasibleError(_TOO_LARGE)
    if feeds is not None:
        return evaluate(proto, guess.shapes, feeds, names)
    try:  # ones are valid as tokens, masks and lengths; zeros where an axis or index is meant
        return evaluate(proto, guess.shapes, made_up(proto.graph.input, guess.shapes, 1), names)
    except InfeasibleError:
        return evaluate(proto, guess.shapes, made_up(proto.graph.input, guess.shapes, 0), names)


def _unrunnable(model: OnnxModel) -> str | None:
    """Return why ONNX Runtime can't open the model with any sizes, or None when it can."""
    if model.size >= PROTOBUF_LIMIT:
        return _TOO_LARGE
    try:
        open_session(model.proto)
    except Exception as error:  # noqa: BLE001 - the binding raises plain subclasses of Exception
        return reason(error)
    return None


def _assumed(guess: Guess) -> Iterator[str]:
    if guess.assumed:
        sizes = ", ".join(f"{name} = {value}" for name, value in guess.assumed.items())
        yield f"dynamic dimensions were taken as {sizes}"


def _dtype(array: NDArray[Any]) -> str:
    return "str" if array.dtype == object else array.dtype.name
