"""What several rounds of one measurement say together: their median, and its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.bundle.evidence import Evidence, Figure

__all__ = ["median_figure", "order_interval"]


def median_figure(values: Sequence[float], unit: str, on: str, *, split: str = "search") -> Figure:
    """Return the median over rounds, and its interval where there are rounds enough for one."""
    low, high = order_interval(values) if len(values) >= ENOUGH else (None, None)
    median = float(np.median(values))
    return Figure(evidence=Evidence.MEASURED, unit=unit, value=median, low=low, high=high, on=on, split=split)


ENOUGH = 6  # rounds whose extremes hold the median with 95 %


def order_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the narrowest symmetric pair of order statistics that covers the median with `level`.

    Distribution-free (Hahn & Meeker, Statistical Intervals, 5.2); with fewer than six values the extremes, which
    then cover it with 1 − 2^(1−n): 94 % at five.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    binomial = np.array([1.0])
    for _ in range(count):
        binomial = np.convolve(binomial, [0.5, 0.5])
    tail = np.cumsum(binomial)
    cut = max((k for k in range(count // 2) if 1 - 2 * tail[k] >= level), default=0)
    return float(ordered[cut]), float(ordered[count - 1 - cut])
