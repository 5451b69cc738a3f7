"""Parts of tensors: Slice, Split, Pad. On sizes Slice and Split stay in Python numbers (`host`)."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor

from edgewise.lab.model.torch_graph.host import Number
from edgewise.lab.model.torch_graph.registry import operator

__all__ = ["padded"]

_FAR = 2**31 - 1
"""ONNX writes “to the end” as a number at least this large."""


@operator("Slice", mixed=True, host=("starts", "ends", "axes", "steps"))
def sliced(
    x: Any,
    starts: tuple[Number, ...],
    ends: tuple[Number, ...],
    axes: tuple[int, ...] | None = None,
    steps: tuple[int, ...] | None = None,
) -> Any:
    """Return x[start:end:step] along each of the axes."""
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _cut(x, start, end, axis, step)
    return x


def _cut(x: Any, start: Number, end: Number, axis: int, step: int) -> Any:
    stop = None if isinstance(end, int) and abs(end) >= _FAR else end
    if isinstance(x, tuple):
        return x[slice(start, stop, step)]
    if step > 0:
        return x[(slice(None),) * (axis % x.dim()) + (slice(start, stop, step),)]
    length = x.shape[axis]
    order = torch.arange(length, device=x.device).flip(0)
    first = (
        0
        if isinstance(start, int) and start >= _FAR
        else length - 1 - (start + length if start < 0 else start)
    )
    last = None if stop is None else length - 1 - (stop + length if stop < 0 else stop)
    return torch.index_select(x, axis, order[slice(first, last, -step)])


@operator("Split", mixed=True, many=True, host=("split",))
def split(
    x: Any,
    split: tuple[Number, ...] | None = None,
    *,
    outputs: int,
    axis: int = 0,
    num_outputs: int | None = None,
) -> tuple[Any, ...]:
    """Return consecutive parts of x: of the lengths `split`, or as many as there are outputs."""
    if isinstance(x, tuple):
        lengths = split or (-(-len(x) // outputs),) * outputs
        edges = [0, *itertools.accumulate(lengths)]
        return tuple(x[a:b] for a, b in itertools.pairwise(edges))
    if split is not None:
        return tuple(torch.split(x, list(split), axis))
    return tuple(torch.split(x, (x.shape[axis] + outputs - 1) // outputs, axis))


@operator("Pad", host=("pads", "value", "axes"))
def pad(
    x: Tensor,
    pads: tuple[Number, ...],
    value: Number = None,
    axes: tuple[int, ...] | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """Return x with elements added at both ends of its axes: a value, mirrored, repeated or wrapped ones."""
    axes = tuple(range(x.dim())) if axes is None else tuple(axis % x.dim() for axis in axes)
    begin, end = [0] * x.dim(), [0] * x.dim()
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = pads[position], pads[position + len(axes)]
    return padded(x, begin, end, mode, value)


def padded(
    x: Tensor, begin: list[Number], end: list[Number], mode: str = "constant", value: Number = None
) -> Tensor:
    """Pad the last axes of x; torch counts from the last axis, ONNX from the first."""
    both = [amount for pair in zip(reversed(begin), reversed(end), strict=True) for amount in pair]
    while both and all(isinstance(amount, int) and amount == 0 for amount in both[-2:]):
        both = both[:-2]
    if not both:
        return x
    if mode == "constant":
        return F.pad(x, both, "constant", 0 if value is None else value)
    kind = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    leading = x.dim() - len(both) // 2
    if leading > 1 or x.dim() < 2:  # torch wants one or two leading axes
        flat = x.reshape(1, -1, *x.shape[leading:]) if leading else x[None, None]
        made = F.pad(flat, both, kind)
        return made.reshape(*x.shape[:leading], *made.shape[2:])
    return F.pad(x, both, kind)
