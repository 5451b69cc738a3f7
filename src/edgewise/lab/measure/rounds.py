"""Interleaved rounds: each contestant is timed once per round in a fresh process, so drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.lab.measure.worker import Measured

__all__ = ["interleave", "median_figure", "order_interval"]


Results = Mapping[str, Sequence[Measured]]


def interleave(
    names: Sequence[str],
    rounds: int,
    measure: Callable[[str], Measured | None],
    *,
    begin: Callable[[int, int], None] = lambda number, count: None,
    beaten: Callable[[Results], Collection[str]] = lambda results: (),
) -> dict[str, list[Measured]]:
    """Measure every contestant once per round, in a rotating order.

    `begin` hears the round (from 1) and how many take part. A contestant that fails (None) is left out of the
    results; those that `beaten` names after a round keep theirs and run no more.
    """
    results: dict[str, list[Measured]] = {name: [] for name in names}
    active = list(names)
    for number in range(rounds):
        if active:
            begin(number + 1, len(active))
        shift = number % max(1, len(active))
        for name in [*active[shift:], *active[:shift]]:
            measured = measure(name)
            if measured is None:
                results.pop(name)
            else:
                results[name].append(measured)
        gone = beaten(results)
        active = [name for name in active if name in results and name not in gone]
    return results


def median_figure(values: Sequence[float], unit: str, on: str) -> Figure:
    """Return the median over rounds, and its interval where there are rounds enough for one."""
    low, high = order_interval(values) if len(values) >= ENOUGH else (None, None)
    median = float(np.median(values))
    return Figure(
        evidence=Evidence.MEASURED, unit=unit, value=median, low=low, high=high, on=on, split="search"
    )


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
