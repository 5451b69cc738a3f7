"""Structured pruning: channels cut out of the imported module together with all that depends on them.

torch-pruning follows the dependencies (residual sums, depthwise convolutions, concatenations) and tells by Taylor's
first order which group of channels the loss would miss least. What is searched for here is the share of each group
that leaves the wanted multiplications.
Fang et al.: DepGraph: Towards Any Structural Pruning, https://arxiv.org/abs/2301.12900
Molchanov et al.: Importance Estimation for Neural Network Pruning, https://arxiv.org/abs/1906.10771
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from edgewise.errors import ToolchainError, missing_extra
from edgewise.lab.model.runtime import reason
from edgewise.lab.train.fit import outputs

__all__ = ["pruned"]

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
_TRIES, _LEAST, _MOST = 7, 0.02, 0.95

Backward = Callable[[nn.Module], None]


def pruned(
    module: fx.GraphModule, example: tuple[Tensor, ...], *, share: float, align: int, backward: Backward
) -> nn.Module:
    """Return a copy of `module` with `share` of its multiplications gone, or a little more; `module` changes, too.

    `backward` leaves the loss's gradients in the module it is given. Raises ToolchainError where torch-pruning
    cannot follow the graph, or so much cannot go.
    """
    try:
        import torch_pruning as pruning
    except ImportError as error:
        raise missing_extra("torch-pruning", "train") from error
    _loosen(module, example)
    backward(module)
    kept = _last(module)
    whole = pruning.utils.count_ops_and_params(module, example)[0]
    best, low, high = None, _LEAST, _MOST
    for _ in range(_TRIES):
        ratio = (low + high) / 2
        smaller = _cut(pruning, module, example, ratio=ratio, align=align, kept=kept)
        if pruning.utils.count_ops_and_params(smaller, example)[0] <= (1 - share) * whole:
            best, high = smaller, ratio
        else:
            low = ratio
    if best is None:
        raise ToolchainError(
            f"{share:.0%} of the multiplications cannot be pruned away in steps of {align} channels: ask for less"
        )
    return best


def _loosen(module: fx.GraphModule, example: tuple[Tensor, ...]) -> None:
    """Replace each reshape that flattens axes to a number by one that flattens them to whatever they are."""
    ShapeProp(module).propagate(*example)
    for node in module.graph.nodes:
        source = node.args[0] if node.op == "call_function" and node.args else None
        if getattr(node.target, "__name__", "") != "reshape" or not isinstance(source, fx.Node):
            continue
        before, after = (one.meta["tensor_meta"].shape for one in (source, node))
        axis = len(after) - 1
        if axis >= 1 and before[:axis] == after[:axis] and math.prod(before[axis:]) == after[axis]:
            node.target, node.args, node.kwargs = torch.flatten, (source, axis), {}
            node.meta.pop("is_wrapped", None)  # said of our own function that stood here
    module.graph.eliminate_dead_code()
    module.recompile()


def _cut(
    pruning: Any,
    module: fx.GraphModule,
    example: tuple[Tensor, ...],
    *,
    ratio: float,
    align: int,
    kept: Sequence[str],
) -> nn.Module:
    """Return a copy without `ratio` of the channels of each group; its answers have the shapes they had."""
    copied = copy.deepcopy(module)
    for mine, theirs in zip(copied.parameters(), module.parameters(), strict=True):
        mine.grad = None if theirs.grad is None else theirs.grad.clone()
    try:
        pruning.MetaPruner(
            copied,
            example,
            importance=pruning.importance.GroupTaylorImportance(),
            pruning_ratio=ratio,
            round_to=align,
            ignored_layers=[copied.get_submodule(name) for name in kept],
        ).step()
        shapes = [item.shape for item in outputs(copied, example)]
    except Exception as error:
        raise ToolchainError(f"torch-pruning cannot prune this network: {reason(error)}") from error
    wanted = [item.shape for item in outputs(module, example)]
    if shapes != wanted:
        raise ToolchainError(f"pruning changed the output from {wanted} to {shapes}")
    copied.zero_grad(set_to_none=True)
    return copied


def _last(module: fx.GraphModule) -> list[str]:
    """Return the layers whose channels are the output's: no other layer is between, or depthwise ones only."""
    front = [node for node in module.graph.nodes if node.op == "output"]
    seen, names = set(front), []
    while front:
        node = front.pop()
        inner = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(inner, _WEIGHTED):
            names.append(str(node.target))
            if getattr(inner, "groups", 1) == 1:
                continue
        fresh = [one for one in node.all_input_nodes if one not in seen]
        seen.update(fresh)
        front += fresh
    return names
