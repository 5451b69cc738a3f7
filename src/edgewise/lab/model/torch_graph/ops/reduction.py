"""Reductions along axes, ArgMax, TopK, CumSum."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgewise.lab.model.torch_graph.host import as_tensor
from edgewise.lab.model.torch_graph.registry import operator

__all__: list[str] = []

Axes = tuple[int, ...] | None


def _reduced(function: Callable[..., Tensor], x: Any, axes: Axes, keepdims: int, noop: int) -> Tensor:
    x = as_tensor(x)
    if not axes:
        if noop:
            return x
        axes = tuple(range(x.dim()))
    return function(x, tuple(axes), bool(keepdims))


@operator("ReduceMean", host=("axes",))
def mean(x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Mean along the axes."""
    return _reduced(torch.mean, x, axes, keepdims, noop_with_empty_axes)


@operator("ReduceSum", host=("axes",), mixed=True)
def total(x: Any, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """Sum along the axes."""
    if isinstance(x, tuple):
        return (sum(x),) if keepdims else sum(x)
    made = _reduced(torch.sum, x, axes, keepdims, noop_with_empty_axes)
    return made.to(x.dtype) if isinstance(x, Tensor) else made


@operator("ReduceProd", host=("axes",), mixed=True)
def product(x: Any, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """Product along the axes."""
    if isinstance(x, tuple):
        return (math.prod(x),) if keepdims else math.prod(x)
    made = _reduced(_products, x, axes, keepdims, noop_with_empty_axes)
    return made.to(x.dtype) if isinstance(x, Tensor) else made


def _products(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x


@operator("ReduceMax", host=("axes",), mixed=True)
def largest(x: Any, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """Largest along the axes."""
    if isinstance(x, tuple):
        return (max(x),) if keepdims else max(x)
    return _reduced(torch.amax, x, axes, keepdims, noop_with_empty_axes)


@operator("ReduceMin", host=("axes",), mixed=True)
def smallest(x: Any, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """Smallest along the axes."""
    if isinstance(x, tuple):
        return (min(x),) if keepdims else min(x)
    return _reduced(torch.amin, x, axes, keepdims, noop_with_empty_axes)


@operator("ReduceL1", host=("axes",))
def norm_1(x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Sum of magnitudes along the axes."""
    return _reduced(torch.sum, torch.abs(x), axes, keepdims, noop_with_empty_axes)


@operator("ReduceL2", host=("axes",))
def norm_2(x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Root of the sum of squares along the axes."""
    return torch.sqrt(_reduced(torch.sum, x * x, axes, keepdims, noop_with_empty_axes))


@operator("ReduceSumSquare", host=("axes",))
def sum_of_squares(
    x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """Sum of squares along the axes."""
    return _reduced(torch.sum, x * x, axes, keepdims, noop_with_empty_axes)


@operator("ReduceLogSum", host=("axes",))
def log_of_sum(x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Logarithm of the sum along the axes."""
    return torch.log(_reduced(torch.sum, x, axes, keepdims, noop_with_empty_axes))


@operator("ReduceLogSumExp", host=("axes",))
def log_sum_exp(x: Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Logarithm of the sum of exponentials along the axes."""
    return _reduced(torch.logsumexp, x, axes, keepdims, noop_with_empty_axes)


@operator("ArgMax")
def argmax(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Position of the first (or last) largest along the axis."""
    if select_last_index:
        return x.shape[axis] - 1 - torch.argmax(x.flip(axis), axis, bool(keepdims))
    return torch.argmax(x, axis, bool(keepdims))


@operator("ArgMin")
def argmin(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Position of the first (or last) smallest along the axis."""
    if select_last_index:
        return x.shape[axis] - 1 - torch.argmin(x.flip(axis), axis, bool(keepdims))
    return torch.argmin(x, axis, bool(keepdims))


@operator("TopK", host=("k",), many=True)
def top_k(x: Tensor, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:  # noqa: A002 - ONNX's word
    """Return the k largest (or smallest) along the axis, and their positions."""
    count = k[0] if isinstance(k, tuple) else k
    values, places = torch.topk(x, count, axis, bool(largest), bool(sorted))
    return values, places


@operator("CumSum", host=("axis",))
def cumulative(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Running sums along the axis."""
    along = axis[0] if isinstance(axis, tuple) else axis
    turned = x.flip(along) if reverse else x
    sums = torch.cumsum(turned, along).to(x.dtype)
    sums = sums - turned if exclusive else sums
    return sums.flip(along) if reverse else sums
