"""MIL lists, which loops fill, and the classifier's last step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator

__all__: list[str] = []

Array = NDArray[Any]
_DTYPES = {"bool": np.bool_, "fp16": np.float32, "fp32": np.float32, "int32": np.int32}


@operator("make_list", moves=True)
def _make_list(
    elem_shape: Sequence[Any], init_length: Any = 1, dynamic_length: Any = True, dtype: str = "fp32"
) -> list[Any]:
    """Elements are zeros; those whose shape is named, not given, become so with the first that is written."""
    known = all(not isinstance(size, str) for size in elem_shape)
    blank: Any = np.zeros([int(size) for size in elem_shape], _DTYPES[dtype]) if known else None
    return [blank] * int(init_length)


@operator("list_length", moves=True)
def _list_length(ls: list[Any]) -> Any:
    return len(ls)


@operator("list_read", moves=True)
def _list_read(ls: list[Any], index: Any) -> Any:
    return ls[int(index)]


@operator("list_write", moves=True)
def _list_write(ls: list[Any], index: Any, value: Any) -> list[Any]:
    return _written(ls, [int(index)], [value])


@operator("list_gather", moves=True)
def _list_gather(ls: list[Any], indices: Any) -> Any:
    return np.stack([ls[int(index)] for index in np.ravel(indices)])


@operator("list_scatter", moves=True)
def _list_scatter(ls: list[Any], indices: Any, value: Array) -> list[Any]:
    return _written(ls, [int(index) for index in np.ravel(indices)], value)


def _written(ls: list[Any], places: Sequence[int], values: Any) -> list[Any]:
    """Return the list with `values` at `places`; it grows as far as they reach, by zeros."""
    grown = [*ls, *[None] * (max(places, default=0) + 1 - len(ls))]
    for place, value in zip(places, values, strict=True):
        grown[place] = value
    blank = np.zeros_like(values[0])
    return [blank if each is None else each for each in grown]


@operator("classify", moves=True)
def _classify(probabilities: Array, classes: Any) -> Any:
    """Return the best class and all probabilities; Core ML hands these over by class, here they keep its order."""
    values = np.ravel(probabilities)
    return classes[int(values.argmax())], values


@operator("read_state", moves=True)
def _read_state(input: Any) -> Any:  # noqa: A002
    return input
