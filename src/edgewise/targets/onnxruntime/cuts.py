"""Where to cut the range of a tensor: between rounding error, which grows with the range, and clipping error.

On a histogram of its values cuts are tried, first of both sides alike, then of one side after the other, and those
with the smallest mean squared error of 8-bit asymmetric quantization are taken. Source: Nagel et al. 2021, A White Paper on Neural Network
Quantization, section 3.1; https://arxiv.org/abs/2106.08295.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "best"]

BINS = 2048
"""Bins of the histogram: eight for each of the 256 steps."""

_SHARES = 1 - np.linspace(0, 0.9, 37)
"""What is kept of a side, from all of it down to a tenth."""

_LEVELS = 255

Array = NDArray[Any]


def best(counts: Array, edges: Array, low: float, high: float) -> tuple[float, float]:
    """Return the cuts (lower at or below 0, upper at or above it) for values that reach from `low` to `high`."""
    low, high = min(low, 0.0), max(high, 0.0)
    filled = np.flatnonzero(counts)
    values, weights = ((edges[:-1] + edges[1:]) / 2)[filled].astype(np.float64), counts[filled]

    def better(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
        return min(pairs, key=lambda pair: _error(values, weights, *pair))

    lower, upper = better((low * share, high * share) for share in _SHARES)
    for _ in range(2):
        lower = better((low * share, upper) for share in _SHARES)[0]
        upper = better((lower, high * share) for share in _SHARES)[1]
    return float(lower), float(upper)


def _error(values: Array, weights: Array, low: float, high: float) -> float:
    step = (high - low) / _LEVELS
    if step == 0:
        return float("inf")
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(values / step) + zero, 0, _LEVELS) - zero) * step
    return float(weights @ np.square(values - rounded))
