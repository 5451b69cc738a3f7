"""The paired bootstrap and the four verdicts.

Variant and original answered the same samples, so both are resampled together: the interval is that of their
difference, much narrower than either alone. Percentile bootstrap, Efron & Tibshirani (1993), chapter 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.manifest import Verdict
from edgewise.lab.data.metrics import Metric

__all__ = ["Floor", "Interval", "interval_of", "margin_to_floor", "verdict"]

RESAMPLES = 2000
LEVEL = 0.95
DEVIATIONS = 1.96  # standard ones from the estimate to the end of a 95 % interval
ASSURED = 1.28  # standard deviations below the mean, above which nine of ten draws lie

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def expected_low(self, factor: float) -> float:
        """Return what the lower end will reach, with nine chances in ten, in a new sample `factor` times as large.

        The new estimate differs from this one by the errors of both; the new interval is as wide as its size makes it.
        """
        error = (self.value - self.low) / DEVIATIONS  # of this estimate; the new one's is error / √factor
        return self.value - error * (ASSURED * math.sqrt(1 + 1 / factor) + DEVIATIONS / math.sqrt(factor))

    def rescaled(self, factor: float) -> Interval:
        """Return the interval as it would be for a sample `factor` times as large."""
        shrink = factor**-0.5
        return Interval(
            self.value,
            self.value - (self.value - self.low) * shrink,
            self.value + (self.high - self.value) * shrink,
        )


@dataclass(frozen=True, slots=True)
class Floor:
    """A quality floor: a share of the original's metric, or an absolute value.

    The share allows a loss of (1 − share) × original, or of `margin` if that is wider; where lower is better, the
    floor is a ceiling above the original.
    """

    share: float | None = 0.99
    absolute: float | None = None
    margin: float = 0.0

    def at(self, original: Rows | float, *, higher_is_better: bool) -> NDArray[np.float64]:
        """Return the floor for the original's metric value(s)."""
        value = np.asarray(original, np.float64)
        if self.absolute is not None:
            return np.full_like(value, self.absolute)
        assert self.share is not None
        allowed = np.maximum(np.abs(value) * (1 - self.share), self.margin)
        return np.asarray(value - allowed if higher_is_better else value + allowed)

    def __str__(self) -> str:
        if self.absolute is not None:
            return f"{self.absolute:g}"
        text = f"{100 * (self.share or 0):g} % of original"
        return f"{text} (or within {self.margin:g})" if self.margin else text


def interval_of(metric: Metric, rows: Rows, seed: int = 0) -> Interval:
    """Return the metric over all samples, with its bootstrap interval. `rows`: [samples, statistics]."""
    sums = _resample(rows, seed)
    low, high = _quantiles(metric.value(sums))
    return Interval(float(metric.value(rows.sum(axis=0))), low, high)


def margin_to_floor(metric: Metric, variant: Rows, original: Rows, floor: Floor, seed: int = 0) -> Interval:
    """Return how far the variant is above the floor (negative: below), signed so that larger is better.

    The floor is recomputed from the original in every resample, with the same samples as the variant. The lower
    end counts one loss that was not seen (ADR 0007), unless `variant` is the original itself.
    """
    both = np.concatenate([variant, original], axis=1)
    value = _gaps(metric, both.sum(axis=0, keepdims=True), floor)[0]
    low, high = _quantiles(_gaps(metric, _resample(both, seed), floor))
    lost = metric.lost(float(original[:, -1].mean()))
    if lost is not None and not (variant is original and floor.absolute is None):
        unseen = np.concatenate(lost)[np.newaxis, :]
        gaps = _gaps(metric, _resample(np.concatenate([both, unseen]), seed), floor)
        low = min(low, _quantiles(gaps)[0])
    return Interval(float(value), low, high)


def verdict(margin: Interval) -> Verdict:
    """Met only when the whole interval is at or above the floor; a point estimate alone is never met."""
    if margin.low >= 0:
        return "met"
    return "missed" if margin.high < 0 else "not shown"


def _gaps(metric: Metric, sums: Rows, floor: Floor) -> NDArray[np.float64]:
    """Return variant − floor for sums of both: [resamples, statistics of the variant and of the original]."""
    variant, original = np.split(sums, 2, axis=1)
    gap = metric.value(variant) - floor.at(metric.value(original), higher_is_better=metric.higher_is_better)
    return gap if metric.higher_is_better else -gap


def _resample(rows: Rows, seed: int) -> Rows:
    """Return the statistics' sums over RESAMPLES draws with replacement: [resamples, statistics]."""
    random = np.random.default_rng(seed)
    count = len(rows)
    sums = np.empty((RESAMPLES, rows.shape[1]))
    for i in range(RESAMPLES):
        sums[i] = rows[random.integers(0, count, count)].sum(axis=0)
    return sums


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
