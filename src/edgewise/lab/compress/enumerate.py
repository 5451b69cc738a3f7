"""What to try: for every target, each method it has, with the default of every tool among them.

So the choice cannot be worse, on the search split, than what a single tool gives when it is simply called.
Which defaults these are, each target's `methods` says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import onnx

from edgewise import targets as door
from edgewise.lab.compress.recipe import Candidate, Repair
from edgewise.targets.building import Traits
from edgewise.targets.graph import constants

__all__ = ["candidates", "is_transformer"]

_FUSED = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"})
_WHOLE = ("fp32", "fp16")
_NEARBY = 8
"""Operators between a Softmax and its MatMuls at most: scale, mask, cast, reshape."""


def candidates(
    *, targets: Collection[str], transformer: bool, repairs: Sequence[Repair] = ()
) -> tuple[Candidate, ...]:
    """Return everything to try on `targets`, in a fixed order, the original first for each.

    Whatever stores fewer than 16 bits is tried again after each repair.
    """
    traits = Traits(transformer=transformer)
    return tuple(
        Candidate(method, target)
        for target in sorted(targets)
        for method in door.builder(target).methods(traits)
    ) + tuple(
        Candidate(method, target, (repair,))
        for repair in repairs
        for target in sorted(targets)
        for method in door.builder(target).methods(traits)
        if method.precision not in _WHOLE
    )


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
