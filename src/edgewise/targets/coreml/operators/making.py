"""Operators that make tensors: fills, ranges, padding, orders, and what depends on the values themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

Array = NDArray[Any]


@operator("shape", moves=True)
def _shape(x: Array) -> Any:
    return np.array(np.shape(x), np.int32)


@operator("fill", moves=True)
def _fill(shape: Any, value: Any = 0.0) -> Any:
    return np.full(ints(shape), value)


@operator("fill_like", moves=True)
def _fill_like(ref_tensor: Array, value: Any = 0.0) -> Any:
    return np.full(np.shape(ref_tensor), value)


@operator("range_1d")
def _range_1d(start: Any, end: Any, step: Any) -> Any:
    return np.arange(start, end, step)


@operator("one_hot", moves=True)
def _one_hot(
    indices: Array, one_hot_vector_size: Any, axis: Any = -1, on_value: Any = 1, off_value: Any = 0
) -> Any:
    hit = np.asarray(indices)[..., np.newaxis] == np.arange(int(one_hot_vector_size))
    return np.moveaxis(np.where(hit, on_value, off_value), -1, int(axis))


@operator("pad")
def _pad(x: Array, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> Any:
    """`pad` holds before and after for each of the last axes."""
    numbers = ints(pad)
    widths = [(0, 0)] * (x.ndim - len(numbers) // 2) + list(zip(numbers[::2], numbers[1::2], strict=True))
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_val)
    return np.pad(x, widths, mode="edge" if mode == "replicate" else "reflect")


@operator("band_part", moves=True)
def _band_part(x: Array, lower: Any = -1, upper: Any = -1) -> Any:
    """Keep `lower` diagonals below the main one and `upper` above it; a negative number keeps all."""
    above = np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, np.newaxis]
    kept = ((lower < 0) | (-above <= lower)) & ((upper < 0) | (above <= upper))
    return np.where(kept, x, np.zeros((), x.dtype))


@operator("cumsum")
def _cumsum(x: Array, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Any:
    along = int(axis)
    x = np.flip(x, along) if reverse else x
    total = np.cumsum(x, axis=along)
    total = total - x if exclusive else total
    return np.flip(total, along) if reverse else total


@operator("non_zero", moves=True)
def _non_zero(x: Array) -> Any:
    return np.argwhere(x)


@operator("argsort", moves=True)
def _argsort(x: Array, axis: Any = -1, ascending: Any = False) -> Any:
    return _order(x, int(axis), ascending=bool(ascending))


def _order(x: Array, axis: int, *, ascending: bool) -> Array:
    """Return the indices that sort `x`; among equals the first comes first either way."""
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(backwards, axis))


@operator("topk", moves=True)
def _topk(
    x: Array,
    k: Any = 1,
    axis: Any = -1,
    ascending: Any = False,
    sort: Any = True,
    return_indices: Any = True,
    output_indices_dtype: str = "int32",
) -> Any:
    """Return the first `k` of the order and their indices; −1 takes all. Unsorted results come sorted."""
    along = int(axis)
    count = x.shape[along] if int(k) == -1 else int(k)
    picked = np.take(_order(x, along, ascending=bool(ascending)), np.arange(count), axis=along)
    values = np.take_along_axis(x, picked, axis=along)
    return (values, picked) if return_indices else (values,)
