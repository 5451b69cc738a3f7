"""Operators that move values about: shapes, slices, blocks and joins. Nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

Array = NDArray[Any]


@operator("identity", moves=True)
def _identity(x: Any) -> Any:
    return x


@operator("reshape", moves=True)
def _reshape(x: Array, shape: Any) -> Any:
    """A 0 takes the size that stands as far from the end in `x`, and is 1 where there is none."""
    sizes = ints(shape)
    ahead = np.ndim(x) - len(sizes)
    known = [
        (np.shape(x)[ahead + i] if ahead + i >= 0 else 1) if size == 0 else size
        for i, size in enumerate(sizes)
    ]
    return np.reshape(x, known)


@operator("reshape_like", moves=True)
def _reshape_like(
    x: Array,
    ref_tensors: Sequence[Array],
    begins: Sequence[Any],
    ends: Sequence[Any],
    end_masks: Sequence[Any],
) -> Any:
    shape: list[int] = []
    for reference, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape.extend(reference.shape[int(begin) : None if to_the_end else int(end)])
    return x.reshape(shape)


@operator("flatten2d", moves=True)
def _flatten2d(x: Array, axis: Any = 1) -> Any:
    along = int(axis) + (x.ndim if axis < 0 else 0)
    return x.reshape(math.prod(x.shape[:along]), -1)


@operator("expand_dims", moves=True)
def _expand_dims(x: Array, axes: Any) -> Any:
    return np.expand_dims(x, tuple(ints(axes)))


@operator("squeeze", moves=True)
def _squeeze(x: Array, axes: Any = None) -> Any:
    """Axes that are longer than 1 stay, as in PyTorch."""
    asked = range(x.ndim) if axes is None else [axis % x.ndim for axis in ints(axes)]
    return np.squeeze(x, tuple(axis for axis in asked if x.shape[axis] == 1))


@operator("transpose", moves=True)
def _transpose(x: Array, perm: Any) -> Any:
    return np.transpose(x, ints(perm))


@operator("concat", moves=True)
def _concat(values: Sequence[Array], axis: Any, interleave: Any = False) -> Any:
    if not interleave:
        return np.concatenate([np.atleast_1d(value) for value in values], axis=int(axis))
    along = int(axis) % values[0].ndim
    shape = list(values[0].shape)
    shape[along] = -1
    return np.stack(values, axis=along + 1).reshape(shape)


@operator("stack", moves=True)
def _stack(values: Sequence[Array], axis: Any) -> Any:
    return np.stack(values, axis=int(axis))


@operator("split", moves=True)
def _split(x: Array, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> Any:
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), axis=int(axis)))
    return tuple(np.split(x, np.cumsum(ints(split_sizes))[:-1], axis=int(axis)))


@operator("tile", moves=True)
def _tile(x: Array, reps: Any) -> Any:
    return np.tile(x, ints(reps))


@operator("reverse", moves=True)
def _reverse(x: Array, axes: Any = None) -> Any:
    return np.flip(x, None if axes is None else tuple(ints(axes)))


@operator("reverse_sequence", moves=True)
def _reverse_sequence(x: Array, lengths: Any, seq_axis: Any = 0, batch_axis: Any = 0) -> Any:
    """Reverse the first `lengths[i]` elements of each member i."""
    result = x.copy()
    into, out_of = (np.moveaxis(each, (int(batch_axis), int(seq_axis)), (0, 1)) for each in (result, x))
    for member, length in enumerate(ints(lengths)):
        into[member, :length] = out_of[member, :length][::-1]
    return result


@operator("slice_by_index", moves=True)
def _slice_by_index(
    x: Array,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Any:
    return x[_index(x.ndim, begin, end, stride, begin_mask, end_mask, squeeze_mask)]


@operator("slice_update", moves=True)
def _slice_update(
    x: Array,
    update: Array,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Any:
    result = x.copy()
    result[_index(x.ndim, begin, end, stride, begin_mask, end_mask, squeeze_mask)] = update
    return result


def _index(
    rank: int, begin: Any, end: Any, stride: Any, begin_mask: Any, end_mask: Any, squeeze_mask: Any
) -> tuple[Any, ...]:
    """Return Python's index: a masked begin or end is open, a squeezed axis takes its begin alone."""
    steps = [1] * rank if stride is None else ints(stride)
    opened, closed, single = (_flags(mask, rank) for mask in (begin_mask, end_mask, squeeze_mask))
    return tuple(
        first if only else slice(None if free else first, None if unbound else last, step)
        for first, last, step, free, unbound, only in zip(
            ints(begin), ints(end), steps, opened, closed, single, strict=True
        )
    )


def _flags(mask: Any, rank: int) -> list[int]:
    return [0] * rank if mask is None else ints(mask)


@operator("slice_by_size", moves=True)
def _slice_by_size(x: Array, begin: Any, size: Any) -> Any:
    """A size of −1 takes all that remains."""
    starts = [start + (axis if start < 0 else 0) for start, axis in zip(ints(begin), x.shape, strict=True)]
    ends = (None if span == -1 else start + span for start, span in zip(starts, ints(size), strict=True))
    return x[tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))]


@operator("sliding_windows", moves=True)
def _sliding_windows(x: Array, axis: Any, size: Any, stride: Any = 1) -> Any:
    """The windows stand on `axis`, their elements on the next."""
    along = int(axis) % x.ndim
    windows = np.moveaxis(sliding_window_view(x, int(size), axis=along), -1, along + 1)
    return windows[(slice(None),) * along + (slice(None, None, int(stride)),)]


@operator("depth_to_space", moves=True)
def _depth_to_space(x: Array, block_size: Any) -> Any:
    """The block's row and column are the slowest part of the channel."""
    n, c, h, w = x.shape
    b = int(block_size)
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operator("space_to_depth", moves=True)
def _space_to_depth(x: Array, block_size: Any) -> Any:
    n, c, h, w = x.shape
    b = int(block_size)
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operator("pixel_shuffle", moves=True)
def _pixel_shuffle(x: Array, upscale_factor: Any) -> Any:
    """The block's row and column are the fastest part of the channel."""
    n, c, h, w = x.shape
    f = int(upscale_factor)
    blocks = x.reshape(n, c // (f * f), f, f, h, w)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (f * f), h * f, w * f)


@operator("pixel_unshuffle", moves=True)
def _pixel_unshuffle(x: Array, downscale_factor: Any) -> Any:
    n, c, h, w = x.shape
    f = int(downscale_factor)
    blocks = x.reshape(n, c, h // f, f, w // f, f)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * f * f, h // f, w // f)


@operator("space_to_batch", moves=True)
def _space_to_batch(x: Array, block_shape: Any, paddings: Any) -> Any:
    tall, wide = ints(block_shape)
    top, bottom, left, right = ints(paddings)
    x = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // tall, tall, w // wide, wide)
    return blocks.transpose(3, 5, 0, 1, 2, 4).reshape(n * tall * wide, c, h // tall, w // wide)


@operator("batch_to_space", moves=True)
def _batch_to_space(x: Array, block_shape: Any, crops: Any) -> Any:
    tall, wide = ints(block_shape)
    top, bottom, left, right = ints(crops)
    n, c, h, w = x.shape
    blocks = x.reshape(tall, wide, n // (tall * wide), c, h, w)
    whole = blocks.transpose(2, 3, 4, 0, 5, 1).reshape(-1, c, h * tall, w * wide)
    return whole[:, :, top : h * tall - bottom, left : w * wide - right]
