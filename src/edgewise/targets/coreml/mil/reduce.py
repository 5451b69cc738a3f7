"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable

from edgewise.targets.coreml.mil.registry import Node, operator
from edgewise.targets.coreml.mil.values import Var, axis_of, cast, is_bool, like, mb

__all__: list[str] = []

_REDUCTIONS: dict[str, Callable[..., Var]] = {
    "ReduceL1": mb.reduce_l1_norm,
    "ReduceL2": mb.reduce_l2_norm,
    "ReduceLogSum": mb.reduce_log_sum,
    "ReduceLogSumExp": mb.reduce_log_sum_exp,
    "ReduceMax": mb.reduce_max,
    "ReduceMean": mb.reduce_mean,
    "ReduceMin": mb.reduce_min,
    "ReduceProd": mb.reduce_prod,
    "ReduceSum": mb.reduce_sum,
    "ReduceSumSquare": mb.reduce_sum_square,
}


@operator(*_REDUCTIONS)
def reduction(node: Node) -> Var:
    """Reduce along the axes given, or along all of them."""
    x = node[0]
    axes = node.numbers("axes", 1)
    if not axes and node.get("noop_with_empty_axes", 0):
        return x
    axes = [axis_of(axis, x.rank) for axis in axes or range(x.rank)]
    if not axes:
        return x  # a scalar
    numbers = cast(x, "int32") if is_bool(x) else x
    answer = _REDUCTIONS[node.kind](x=numbers, axes=sorted(axes), keep_dims=bool(node.get("keepdims", 1)))
    return like(answer, x)
