"""What to try: for every target, each method it has, with the default of every tool among them.

So the choice cannot be worse, on the search split, than what a single tool gives when it is simply called.
Which defaults these are, each target's `methods` says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

import msgspec
import onnx

from edgewise import targets as door
from edgewise.lab.compress.recipe import Candidate, Repair
from edgewise.targets.building import BuildModule, Method, Quantizer, Traits
from edgewise.targets.graph import constants

__all__ = ["first_rungs", "is_transformer", "variations"]

_FUSED = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"})
_WHOLE = ("fp32", "fp16")
_NEARBY = 8
"""Operators between a Softmax and its MatMuls at most: scale, mask, cast, reshape."""


class Screened(Protocol):
    """What a look at the graph found."""

    @property
    def transformer(self) -> bool:
        """Whether it has attention."""

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The repairs that are worth trying."""

    @property
    def smooths(self) -> bool:
        """Whether there are outliers among activations."""

    @property
    def fragile(self) -> tuple[str, ...]:
        """Results that eight bits break."""


def first_rungs(
    targets: Collection[str], screened: Screened, *, smaller: Collection[str] = ()
) -> Iterator[Candidate]:
    """Yield what to try first on `targets`, in a fixed order, the original first for each.

    Whatever stores fewer than 16 bits is tried again after all repairs together. `smaller`: the targets on
    which the size of a file decides for somebody, so that what stores fewer than 8 bits is tried there, too.
    """
    traits = Traits(transformer=screened.transformer)
    for target in sorted(targets):
        module = door.builder(target)
        found = [
            *module.methods(traits),
            *(_optional(module, "smaller", traits) if target in smaller else ()),
        ]
        yield from (Candidate(method, target) for method in found)
        if screened.repairs:
            yield from (
                Candidate(method, target, screened.repairs)
                for method in found
                if method.precision not in _WHOLE
            )


def variations(candidate: Candidate, screened: Screened) -> Iterator[Candidate]:
    """Yield what to try around a candidate that is fast or small, and falls short: other settings of its tool.

    Settings against outliers are left out where there are none; operators that eight bits break stay in float.
    """
    traits = Traits(transformer=screened.transformer)
    found = list(_optional(door.builder(candidate.target), "variations", candidate.method, traits))
    if isinstance(candidate.method, Quantizer) and screened.fragile:
        found.insert(0, msgspec.structs.replace(candidate.method, protected=screened.fragile))
    for method in found:
        if screened.smooths or getattr(method, "smooth", None) is None:
            yield Candidate(method, candidate.target, screened.repairs, candidate.student)


def _optional(module: BuildModule, name: str, *given: object) -> Iterable[Method]:
    """Call what a target's build.py may offer beyond the door's minimum."""
    function = getattr(module, name, None)
    found: Iterable[Method] = function(*given) if function else ()
    return found


def is_transformer(model: onnx.ModelProto) -> bool:
    """Tell whether the model has attention: a Softmax between products of activations, or one fused."""
    return any(node.op_type in _FUSED for node in model.graph.node) or _has_attention(model.graph)


def _has_attention(graph: onnx.GraphProto) -> bool:
    makers = {name: node for node in graph.node for name in node.output if name}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    products = _products(graph)

    def before(node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
        return (makers[name] for name in node.input if name in makers)

    def after(node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
        return (user for name in node.output for user in users.get(name, ()))

    return any(
        _reaches(node, before, products) and _reaches(node, after, products)
        for node in graph.node
        if node.op_type == "Softmax"
    )


def _products(graph: onnx.GraphProto) -> set[str]:
    """Return the outputs of all MatMuls (and Einsums) whose operands are both computed from the inputs."""
    fixed = constants(graph)
    return {
        node.output[0]
        for node in graph.node
        if node.op_type in ("MatMul", "Einsum") and fixed.isdisjoint(node.input)
    }


def _reaches(
    start: onnx.NodeProto, step: Callable[[onnx.NodeProto], Iterable[onnx.NodeProto]], products: set[str]
) -> bool:
    """Tell whether a product lies within reach of `start`, no other product or layer being between."""
    seen: set[str] = set()
    front = [start]
    for _ in range(_NEARBY):
        front = [node for found in front for node in step(found) if node.output[0] not in seen]
        seen.update(node.output[0] for node in front)
        if not products.isdisjoint(seen):
            return True
        front = [node for node in front if node.op_type not in ("MatMul", "Gemm", "Conv", "Softmax")]
    return False
