"""Drop layers that a network repeats: the ones kept are joined to each other as if the others had never been.

The layers are found in the imported module's graph: the operators that repeat with the same shapes of weights, cut
where a single value goes from one repetition to the next.
Sun et al.: Patient Knowledge Distillation for BERT Model Compression, https://arxiv.org/abs/1908.09355
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from edgewise.errors import ToolchainError
from edgewise.lab.train.repeats import repeated, spread

__all__ = ["Layer", "found", "keep_layers"]

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One repetition: what it is given by the one before it, and what it hands to the next."""

    given: fx.Node
    made: fx.Node


def keep_layers(module: fx.GraphModule, count: int) -> fx.GraphModule:
    """Return `module`, changed in place, with `count` of its layers. Raises ToolchainError where it has no more."""
    layers = found(module)
    if len(layers) <= count:
        raise ToolchainError(
            f"layers cannot be dropped: {len(layers) or 'none'} that repeat were found, and {count} are to stay"
        )
    kept = spread(len(layers), count)
    for index, layer in enumerate(layers):
        if index not in kept:
            layer.made.replace_all_uses_with(layer.given)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def found(module: fx.GraphModule) -> list[Layer]:
    """Return the layers that the module repeats, in order; none where nothing repeats or several values go between."""
    nodes = [node for node in module.graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    weighted = [isinstance(_submodule(module, node), _WEIGHTED) for node in nodes]
    run = repeated([_signature(module, node) for node in nodes], weighted)
    if run is None:
        return []
    cuts = (
        _cut(nodes, run.start + offset, run.period, run.start + run.length) for offset in range(run.period)
    )
    return max(cuts, key=len, default=[])


def _cut(nodes: Sequence[fx.Node], start: int, period: int, end: int) -> list[Layer]:
    """Return the layers that begin at `start`, if one value goes from each to the next, else none."""
    pieces = [nodes[place : place + period] for place in range(start, end - period + 1, period)]
    places = [_handed(piece) for piece in pieces]
    if len(pieces) < 2 or len(set(places)) != 1 or places[0] is None:
        return []
    made = [piece[places[0]] for piece in pieces]
    given = _given(pieces[0], pieces[1], made[0])
    return [] if given is None else [Layer(a, b) for a, b in zip([given, *made], made, strict=False)]


def _handed(piece: Sequence[fx.Node]) -> int | None:
    """Return the place of the one node of a piece that others use, None if it is not one."""
    own = set(piece)
    places = [place for place, node in enumerate(piece) if any(user not in own for user in node.users)]
    return places[0] if len(places) == 1 else None


def _given(first: Sequence[fx.Node], second: Sequence[fx.Node], made: fx.Node) -> fx.Node | None:
    """Return what the first layer is given where the second one is given `made`."""
    pairs = zip(first, second, strict=True)
    values = {
        mine
        for one, two in pairs
        for mine, theirs in zip(one.all_input_nodes, two.all_input_nodes, strict=False)
        if theirs is made
    }
    return values.pop() if len(values) == 1 else None


def _submodule(module: fx.GraphModule, node: fx.Node) -> Any:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _signature(module: fx.GraphModule, node: fx.Node) -> Hashable:
    """Say what a node computes, without the values that it is given and those of its weights."""
    if (inner := _submodule(module, node)) is not None:
        return type(inner).__name__, tuple(tuple(weight.shape) for weight in inner.parameters())
    args = fx.map_arg((node.args, dict(node.kwargs)), lambda one: _stored(module, one))
    return node.op, getattr(node.target, "__name__", str(node.target)), str(args)


def _stored(module: fx.GraphModule, node: fx.Node) -> Any:
    """Return the shape of a stored tensor, and nothing of what is computed."""
    if node.op != "get_attr":
        return None
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return tuple(value.shape) if isinstance(value, Tensor) else None
