"""Gathers and scatters.

Since iOS 17 an index outside the axis, and any negative one, is undefined behaviour on the device; the parameter
`validate_indices`, which came with that rule, says that it holds. Here such an index is an error, validated or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator

Array = NDArray[Any]


def _checked(values: Any, size: int, validate_indices: Any) -> Array:
    indices: Array = np.asarray(values)
    lowest = -size if validate_indices is None else 0
    if indices.size and not lowest <= indices.min() <= indices.max() < size:
        raise IndexError(f"an index lies outside {lowest}..{size - 1}: {indices.min()}..{indices.max()}")
    return indices


@operator("gather", moves=True)
def _gather(x: Array, indices: Any, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = None) -> Any:
    """Take whole slices: the result's shape is x[:axis] + indices[batch_dims:] + x[axis + 1:]."""
    x, along, batches = np.asarray(x), int(axis), int(batch_dims)
    along %= x.ndim
    indices = _checked(indices, x.shape[along], validate_indices)
    if not batches:
        return np.take(x, indices, axis=along)
    rows = x.reshape(-1, *x.shape[batches:])
    picks = indices.reshape(-1, *indices.shape[batches:])
    taken = [np.take(row, pick, axis=along - batches) for row, pick in zip(rows, picks, strict=True)]
    return np.stack(taken).reshape(*x.shape[:batches], *taken[0].shape)


@operator("gather_along_axis", moves=True)
def _gather_along_axis(x: Array, indices: Array, axis: Any = 0, validate_indices: Any = None) -> Any:
    along = int(axis) % x.ndim
    indices = _checked(indices, x.shape[along], validate_indices)
    within = tuple(slice(None) if i == along else slice(size) for i, size in enumerate(indices.shape))
    return np.take_along_axis(x[within], indices.astype(np.intp), axis=along)


@operator("gather_nd", moves=True)
def _gather_nd(x: Array, indices: Array, batch_dims: Any = 0, validate_indices: Any = None) -> Any:
    batches = int(batch_dims)
    places = _places(x.shape[batches:], indices, validate_indices)
    if not batches:
        return x[places]
    leading = np.indices(indices.shape[:batches])
    extra = (1,) * (indices.ndim - 1 - batches)
    return x[(*(axis.reshape(axis.shape + extra) for axis in leading), *places)]


def _places(shape: tuple[int, ...], indices: Array, validate_indices: Any) -> tuple[Array, ...]:
    """Return one index array for each of the leading axes that the last axis of `indices` addresses."""
    columns = np.moveaxis(indices, -1, 0)
    sizes = shape[: len(columns)]
    return tuple(_checked(each, size, validate_indices) for each, size in zip(columns, sizes, strict=True))


_MODES = {
    "add": np.add,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "sub": np.subtract,
}


def _scattered(data: Array, index: tuple[Any, ...], updates: Array, mode: str) -> Array:
    """Return `data` with `updates` at `index`; where one place is met several times, each counts in turn."""
    result = data.copy()
    if mode == "update":
        result[index] = updates
    else:
        _MODES[mode].at(result, index, updates)
    return result


@operator("scatter")
def _scatter(
    data: Array, indices: Any, updates: Array, axis: Any = 0, mode: str = "add", validate_indices: Any = None
) -> Any:
    along = int(axis) % data.ndim
    indices = _checked(indices, data.shape[along], validate_indices)
    return _scattered(data, (*(slice(None),) * along, indices), updates, mode)


@operator("scatter_along_axis")
def _scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Any = 0,
    mode: str = "add",
    validate_indices: Any = None,
) -> Any:
    along = int(axis) % data.ndim
    index: list[Any] = list(np.indices(indices.shape, sparse=True))
    index[along] = _checked(indices, data.shape[along], validate_indices)
    return _scattered(data, tuple(index), updates, mode)


@operator("scatter_nd")
def _scatter_nd(
    data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: Any = None
) -> Any:
    return _scattered(data, _places(data.shape, indices, validate_indices), updates, mode)
