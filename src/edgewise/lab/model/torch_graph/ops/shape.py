"""Shapes: read, built, and given to tensors. On sizes these functions stay in Python numbers (`host`)."""

from __future__ import annotations

import math
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from edgewise.lab.model.torch_graph.host import Number, as_tensor
from edgewise.lab.model.torch_graph.ops.arithmetic import DTYPES
from edgewise.lab.model.torch_graph.registry import operator

__all__: list[str] = []

_MOST = 64
"""Elements up to which a constant of integers is kept as Python numbers."""


@operator("Shape", mixed=True)
def shape(x: Any, *, start: int = 0, end: int | None = None) -> tuple[Number, ...]:
    """Return the sizes of x from axis `start` to `end`."""
    found = tuple(x.shape) if isinstance(x, Tensor) else (len(x),) if isinstance(x, tuple) else ()
    return found[start:end]


@operator("Size", mixed=True)
def size(x: Any) -> Number:
    """Return the number of elements of x."""
    return math.prod(shape(x))


@operator("Reshape", mixed=True, host=("to",))
def reshape(x: Any, to: tuple[Number, ...], *, allowzero: int = 0) -> Any:
    """Return x in another shape; −1 is worked out, 0 is copied from x."""
    if not isinstance(x, Tensor):
        items = x if isinstance(x, tuple) else (x,)
        if len(to) == 1:
            return items
        if len(to) == 0:
            return items[0]
        x = as_tensor(x)
    copied = [
        x.shape[axis] if isinstance(to[axis], int) and to[axis] == 0 and not allowzero else to[axis]
        for axis in range(len(to))
    ]
    return x.reshape(copied)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Return x as a matrix: the axes before `axis`, and the rest."""
    start = axis + x.dim() if axis < 0 else axis
    if start == 1 and x.dim() > 1:
        return torch.flatten(x, 1)
    return x.reshape(math.prod(x.shape[:start]), math.prod(x.shape[start:]))


@operator("Squeeze", mixed=True, host=("axes",))
def squeeze(x: Any, axes: tuple[int, ...] | None = None) -> Any:
    """Return x without the axes of length 1, or without `axes`."""
    if not isinstance(x, Tensor):
        return x[0] if isinstance(x, tuple) and len(x) == 1 else x
    return torch.squeeze(x) if axes is None else torch.squeeze(x, axes)


@operator("Unsqueeze", mixed=True, host=("axes",))
def unsqueeze(x: Any, axes: tuple[int, ...]) -> Any:
    """Return x with axes of length 1 at `axes` of the result."""
    if not isinstance(x, Tensor):
        if not isinstance(x, tuple) and len(axes) == 1:
            return (x,)
        x = as_tensor(x)
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = torch.unsqueeze(x, axis)
    return x


@operator("Transpose")
def transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    """Return x with its axes in another order, by default reversed."""
    return torch.permute(x, tuple(reversed(range(x.dim()))) if perm is None else tuple(perm))


@operator("Expand", mixed=True, host=("to",))
def expand(x: Any, to: tuple[Number, ...]) -> Any:
    """Return x repeated along axes of length 1, so that its shape and `to` agree."""
    if not isinstance(x, Tensor):
        if len(to) == 1 and isinstance(to[0], int) and to[0] <= _MOST and isinstance(x, tuple | int | float):
            return x * to[0] if isinstance(x, tuple) and len(x) == 1 else (x,) * to[0]
        x = as_tensor(x)
    added = max(len(to) - x.dim(), 0)
    kept = (
        [-1 if statically_known_true(length == 1) else length for length in to[added - len(to) :]]
        if to
        else []
    )
    kept = [-1] * (x.dim() - len(kept)) + kept
    return x.expand(*to[:added], *kept)


@operator("Tile", host=("repeats",))
def tile(x: Tensor, repeats: tuple[Number, ...]) -> Tensor:
    """Return x repeated along each axis."""
    return x.repeat(repeats)


@operator("Concat", mixed=True)
def concat(*values: Any, axis: int) -> Any:
    """Return the values one after the other along the axis."""
    if all(isinstance(value, tuple) for value in values):
        return sum(values, ())
    like = next(value for value in values if isinstance(value, Tensor))
    return torch.cat([as_tensor(value, like) for value in values], axis)


@operator("ConstantOfShape", host=("lengths",), mixed=True)
def constant_of_shape(
    lengths: tuple[Number, ...],
    *,
    value: Number = 0.0,
    value_dtype: int = onnx.TensorProto.FLOAT,
    anchor: Tensor | None = None,
) -> Any:
    """Return a tensor full of one value."""
    dtype = DTYPES[value_dtype]
    if dtype in (torch.int64, torch.bool) and len(lengths) <= 1:
        length = lengths[0] if lengths else 0
        if isinstance(length, int) and length <= _MOST:
            return (value,) * length if lengths else value
    return torch.full(lengths, value, dtype=dtype, device=None if anchor is None else anchor.device)


@operator("Range", host=("start", "limit", "delta"))
def arange(start: Number, limit: Number, delta: Number, *, anchor: Tensor | None = None) -> Tensor:
    """Return the numbers from `start` up to, not including, `limit`."""
    return torch.arange(start, limit, delta, device=None if anchor is None else anchor.device)


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Move channels into blocks of rows and columns."""
    if mode == "CRD":
        return torch.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    blocks = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """Move blocks of rows and columns into channels."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * blocksize**2, h // blocksize, w // blocksize)
