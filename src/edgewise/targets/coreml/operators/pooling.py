"""Pools over one to three spatial axes of (batch, channels, …)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints, margins, padded, positions, taps

Array = NDArray[Any]


@operator("max_pool", moves=True)
def _max_pool(
    x: Array,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    ceil_mode: Any = False,
) -> Any:
    window = _window(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    return window.fold(padded(x, window.reach(), -np.inf), np.maximum)


@operator("avg_pool")
def _avg_pool(
    x: Array,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    ceil_mode: Any = False,
    exclude_padding_from_average: Any = False,
) -> Any:
    """The padding counts as zeros unless excluded; what `ceil_mode` reaches beyond it never counts."""
    window = _window(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    total = window.fold(padded(x, window.reach()), np.add)
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    if exclude_padding_from_average:
        counted = padded(counted, window.reach())
    else:
        counted = padded(padded(counted, window.pads, 1), [(0, beyond) for beyond in window.beyond])
    return total / window.fold(counted, np.add)


@operator("l2_pool")
def _l2_pool(
    x: Array,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    ceil_mode: Any = False,
) -> Any:
    window = _window(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    return np.sqrt(window.fold(padded(x * x, window.reach()), np.add))


@dataclass(frozen=True, slots=True)
class _Window:
    """Where a pool's kernel stands. Its last place may reach `beyond` the declared padding `pads`."""

    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[tuple[int, int]]
    places: Sequence[int]
    beyond: Sequence[int]

    def reach(self) -> list[tuple[int, int]]:
        """Return the padding up to the end of the last place."""
        return [(before, after + more) for (before, after), more in zip(self.pads, self.beyond, strict=True)]

    def fold(self, x: Array, function: Callable[[Array, Array], Array]) -> Array:
        """Return `function` over all that each place of the kernel covers."""
        views = (x[met] for _, met in taps(self.kernel, self.places, self.strides, [1] * len(self.kernel)))
        return functools.reduce(function, views)


def _window(x: Array, kernel_sizes: Any, pad_type: str, strides: Any, pad: Any, ceil_mode: Any) -> _Window:
    kernel = ints(kernel_sizes)
    steps = [1] * len(kernel) if strides is None else ints(strides)
    pads = margins(pad_type, pad, x.shape[2:], kernel, steps)
    sizes = [size + before + after for size, (before, after) in zip(x.shape[2:], pads, strict=True)]
    places = positions(sizes, kernel, steps)
    if ceil_mode:
        places = _rounded_up(sizes, kernel, steps, pads)
    beyond = [
        max(0, (place - 1) * step + span - size)
        for place, step, span, size in zip(places, steps, kernel, sizes, strict=True)
    ]
    return _Window(kernel, steps, pads, places, beyond)


def _rounded_up(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[tuple[int, int]]
) -> list[int]:
    """Return the places with `ceil_mode`: a last one that would start in the padding at the end is dropped."""
    result = []
    for size, span, stride, (before, after) in zip(sizes, kernel, strides, pads, strict=True):
        place = -(-(size - span) // stride) + 1
        late = (place - 1) * stride >= size - after and before + after > 0
        result.append(place - late)
    return result
