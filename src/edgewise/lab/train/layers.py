"""Drop layers that a network repeats: the first ones stay, and what comes after the layers takes what they make.

The layers are found in the imported module's graph: the operators that repeat with the same shapes of weights, cut
where a single value goes from one repetition to the next. Of the ways to choose, dropping the last ones costs a
fine-tuned transformer least.
Sajjad et al.: On the Effect of Dropping Layers of Pre-trained Transformer Models, https://arxiv.org/abs/2004.03844
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor, fx, nn

from edgewise.errors import ToolchainError
from edgewise.lab.train.repeats import repeated

__all__ = ["found", "keep_layers"]

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def keep_layers(module: fx.GraphModule, count: int) -> fx.GraphModule:
    """Return `module`, changed in place, with its first `count` layers. Raises ToolchainError where it has no more.

    Tables of tokens stay as they are: what they know of words that do not occur here would be lost.
    """
    layers = found(module)
    if len(layers) <= count:
        raise ToolchainError(
            f"layers cannot be dropped: {len(layers) or 'none'} that repeat were found, and {count} are to stay"
        )
    layers[-1].replace_all_uses_with(layers[count - 1])
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    for inner in module.modules():
        if isinstance(inner, nn.Embedding):
            inner.requires_grad_(requires_grad=False)
    return module


def found(module: fx.GraphModule) -> list[fx.Node]:
    """Return what each layer that the module repeats makes, in order.

    None where nothing repeats, or several values go from one to the next.
    """
    nodes = [node for node in module.graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    weighted = [isinstance(_submodule(module, node), _WEIGHTED) for node in nodes]
    run = repeated([_signature(module, node) for node in nodes], weighted)
    if run is None:
        return []
    cuts = (
        _cut(nodes, run.start + offset, run.period, run.start + run.length) for offset in range(run.period)
    )
    return max(cuts, key=len, default=[])


def _cut(nodes: Sequence[fx.Node], start: int, period: int, end: int) -> list[fx.Node]:
    """Return what the layers make that begin at `start`, if one value goes from each to the next, else none."""
    pieces = [nodes[place : place + period] for place in range(start, end - period + 1, period)]
    places = [_handed(piece) for piece in pieces]
    if len(pieces) < 2 or len(set(places)) != 1 or places[0] is None:
        return []
    return [piece[places[0]] for piece in pieces]


def _handed(piece: Sequence[fx.Node]) -> int | None:
    """Return the place of the one node of a piece that others use, None if it is not one."""
    own = set(piece)
    places = [place for place, node in enumerate(piece) if any(user not in own for user in node.users)]
    return places[0] if len(places) == 1 else None


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
