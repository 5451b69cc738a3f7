"""Interleaved rounds: each contestant is timed once per round in a fresh process, so drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.lab.measure.worker import Measured

__all__ = ["interleave", "median_figure", "order_interval"]


def interleave(
    names: Sequence[str], rounds: int, measure: Callable[[str], Measured | None]
) -> dict[str, list[Measured]]:
    """Measure every contestant once per round, in a rotating order; a contestant that fails (None) drops out."""
    results: dict[str, list[Measured]] = {name: [] for name in names}
    active = list(names)
    for number in range(rounds):
        shift = number % max(1, len(active))
        for name in [*active[shift:], *active[:shift]]:
            measured = measure(name)
            if measured is None:
                active.remove(name)
                results.pop(name)
            else:
                results[name].append(measured)
    return results


def median_figure(values: Sequence[float], unit: str, on: str) -> Figure:
    """Return the median over rounds with its order-statistic interval; no interval from a single round."""
    if len(values) < 2:
        return Figure(evidence=Evidence.MEASURED, unit=unit, value=float(values[0]), on=on, split="search")
    low, high = order_interval(values)
    median = float(np.median(values))
    return Figure(
        evidence=Evidence.MEASURED, unit=unit, value=median, low=low, high=high, on=on, split="search"
    )


def order_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the narrowest symmetric pair of order statistics that covers the median with `level`.

    Distribution-free (Hahn & Meeker, Statistical Intervals, 5.2); with fewer than six rounds the extremes, which
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


def ratios(
    results: Mapping[str, Sequence[Measured]], name: str, base: str, quantile: float = 0.5
) -> list[float]:
    """Return, round by round, how a contestant's time stands to `base`'s."""
    return [
        mine.quantile(quantile) / other.quantile(quantile)
        for mine, other in zip(results[name], results[base], strict=False)
    ]
