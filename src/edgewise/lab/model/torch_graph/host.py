"""Sizes as Python numbers: what keeps shape arithmetic symbolic when torch.export traces an imported model.

ONNX computes shapes with integer tensors: Shape, Gather, Concat, Reshape. Followed literally in torch, each such
tensor hides its numbers from the tracer. So here a small 0-d tensor is a Python number (or torch.SymInt), a small
1-d one a tuple of them, and the functions in `ops` that are `mixed` compute on them directly. They become tensors
only where they meet one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Number", "as_tensor", "beside", "each", "pairwise", "plain", "sizes"]

Number = Any
"""int, float, bool, or torch's symbolic stand-in for one of them."""

_FLOATS = (float, torch.SymFloat)
_BOOLS = (bool, torch.SymBool)
_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


def as_tensor(value: Any, like: Tensor | None = None, *, anchor: Tensor | None = None) -> Tensor:
    """Return numbers as a tensor: int64, float32 or bool, or the type of `like` if that is of the same kind.

    It is made on the device of `like`, or of `anchor`.
    """
    if isinstance(value, Tensor):
        return value
    items = value if isinstance(value, tuple) else (value,)
    dtype = _dtype(items, like)
    near = anchor if like is None else like
    device = None if near is None else near.device
    if any(isinstance(item, _SYMBOLIC) for item in items):
        made = torch.stack([torch.scalar_tensor(item, dtype=dtype, device=device) for item in items])
    else:
        made = torch.tensor(items, dtype=dtype, device=device)
    return made if isinstance(value, tuple) else made[0]


def _dtype(items: tuple[Number, ...], like: Tensor | None) -> torch.dtype:
    if any(isinstance(item, _FLOATS) for item in items):
        return like.dtype if like is not None and like.dtype.is_floating_point else torch.float32
    if items and all(isinstance(item, _BOOLS) for item in items):
        return torch.bool
    return like.dtype if like is not None and like.dtype != torch.bool else torch.int64


def beside(value: Any, other: Any) -> Any:
    """Return `value` in a form that torch's operators take next to `other`: a tuple becomes a tensor."""
    if not (isinstance(value, tuple) and isinstance(other, Tensor)):
        return value
    return value[0] if len(value) == 1 and other.dim() else as_tensor(value, other)


def each(function: Callable[[Number], Number], value: Any) -> Any:
    """Apply `function` to a number, or to every number of a tuple."""
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def pairwise(function: Callable[[Number, Number], Number], first: Any, second: Any) -> Any:
    """Apply `function` to two numbers or tuples; a number or a tuple of one is repeated."""
    if not isinstance(first, tuple) and not isinstance(second, tuple):
        return function(first, second)
    left = first if isinstance(first, tuple) else (first,)
    right = second if isinstance(second, tuple) else (second,)
    length = max(len(left), len(right)) if left and right else 0
    left = left * length if len(left) == 1 else left
    right = right * length if len(right) == 1 else right
    return tuple(function(a, b) for a, b in zip(left, right, strict=True))


def sizes(value: Tensor) -> Any:
    """Return the numbers of a tensor that is computed from data. torch.export sees them as unknown sizes."""
    found = value.tolist()
    return tuple(found) if isinstance(found, list) else found


def plain(value: Any) -> bool:
    """Whether `value` is made of known Python numbers only."""
    if isinstance(value, tuple):
        return all(map(plain, value))
    return isinstance(value, bool | int | float)
