"""Find what a graph repeats: a network's layers, told by nothing but the order of its operators and weights' shapes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Run", "repeated"]

_LEAST_WEIGHTED = 2
"""Operators with weights in a layer at least: an activation after an activation is no layer."""


@dataclass(frozen=True, slots=True)
class Run:
    """Items start … start + length repeat every `period`; the last repetition may be cut off."""

    start: int
    period: int
    length: int

    @property
    def count(self) -> int:
        """How many whole repetitions there are."""
        return self.length // self.period


def repeated(items: Sequence[Hashable], weighted: Sequence[bool]) -> Run | None:
    """Return the run that covers most of `items`, of the shortest period; None where nothing fit repeats."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys(items))}
    codes = np.array([numbers[item] for item in items])
    best: Run | None = None
    for period in range(_LEAST_WEIGHTED, len(items) // 2 + 1):
        run = _longest(codes, period)
        covered = run.count * period
        within = weighted[run.start : run.start + period]
        if run.count >= 2 and sum(within) >= _LEAST_WEIGHTED:
            best = run if best is None or covered > best.count * best.period else best
    return best


def _longest(codes: np.ndarray[tuple[int], np.dtype[np.int64]], period: int) -> Run:
    """Return the longest stretch in which each item equals the one `period` later."""
    same = np.concatenate(([False], codes[:-period] == codes[period:], [False]))
    edges = np.flatnonzero(same[1:] != same[:-1])
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return Run(0, period, 0)
    longest = int(np.argmax(ends - starts))
    return Run(int(starts[longest]), period, int(ends[longest] - starts[longest]) + period)
