"""Do the calibration samples stand for the others? Notes on too few of them, and on those of another distribution.

Calibration and search are compared sample by sample, since the values within one belong together. If both come from
one source, any order of the samples is as likely as any other; from that alone follow three tests:

- numbers: the mean and the spread of each sample by Kolmogorov and Smirnov's two-sample test (its asymptotic bound);
- ranges: how many search samples lie beyond all calibration samples, by Rosenbaum's exceedance test
  (Ann. Math. Statist. 25, 1954): P(k or more of m beyond all n) = Π (m − i) / (n + m − i) for i < k;
- whole numbers (ids): lengths by the first test, and how often an id occurs by Fisher's exact one.

A note is given where chance would do the same in fewer than one of 10,000 builds, over all that is compared, and
where the difference is large enough to matter to a quantizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.manifest import TensorSpec
from edgewise.lab.data.splits import Splits

__all__ = ["FEW", "notes"]

FEW = 32
CHANCE = 1e-4  # of a false alarm, for the whole build
SHIFT = 0.5  # standard deviations of the values
RATIO = 1.5  # of spreads
BEYOND = 0.02  # of the width of the calibration range
MOST = 1000  # samples of a split are looked at
COMMON = 50  # ids are looked at, those that occur in most samples

Values = NDArray[np.float64]


def notes(splits: Splits, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return what a reader should know of the calibration samples; nothing where they stand for the search samples."""
    found = [_few(len(splits.calibration))] if len(splits.calibration) < FEW else []
    chance = CHANCE / max(1, len(specs))
    for spec in specs:
        one, other = (
            [sample.inputs[spec.name] for sample in part[:MOST]]
            for part in (splits.calibration, splits.search)
        )
        kind = np.dtype(spec.dtype).kind if spec.dtype not in ("str", "bfloat16") else "U"
        if kind == "f" or spec.dtype in ("uint8", "int8"):
            found += _of_numbers(spec.name, one, other, chance)
        elif kind in "iu":
            found += _of_ids(spec.name, one, other, chance)
    return tuple(found)


def _few(count: int) -> str:
    return (
        f"{count} calibration samples: whatever the distribution, one request in {count + 1} goes beyond the largest "
        f"value that so few show, and is clipped by ranges that rest on them; {FEW} and more are better"
    )


def _of_numbers(
    name: str, one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]], chance: float
) -> Iterator[str]:
    """Yield notes on float inputs: four tests, each with a quarter of the chance."""
    mine, theirs = _summary(one), _summary(other)
    if not len(mine) or not len(theirs):
        return
    unit = float(np.sqrt(np.mean(theirs[:, 1] ** 2) + np.var(theirs[:, 0])))
    shift = float(np.mean(mine[:, 0]) - np.mean(theirs[:, 0])) / unit if unit else 0.0
    if abs(shift) >= SHIFT and _unlike(mine[:, 0], theirs[:, 0], chance / 4):
        yield (
            f"the calibration samples' {name!r} lies {abs(shift):.1f} standard deviations "
            f"{'above' if shift > 0 else 'below'} the search samples': ranges set by it will not fit"
        )
    spread, wanted = (float(np.median(part[:, 1])) for part in (mine, theirs))
    ratio = spread / wanted if wanted else 1.0
    if not 1 / RATIO < ratio < RATIO and _unlike(mine[:, 1], theirs[:, 1], chance / 4):
        yield (
            f"the calibration samples' {name!r} spreads {ratio:.2g} times as wide as the search samples': "
            "ranges set by it will not fit"
        )
    yield from _beyond(name, mine, theirs, chance / 4)


def _summary(arrays: Sequence[NDArray[Any]]) -> Values:
    """Return mean, standard deviation, least and largest value of each sample."""
    whole = [np.asarray(array, np.float64) for array in arrays if array.size]
    return np.array([(a.mean(), a.std(), a.min(), a.max()) for a in whole]).reshape(-1, 4)


def _beyond(name: str, mine: Values, theirs: Values, chance: float) -> Iterator[str]:
    low, high = mine[:, 2].min(), mine[:, 3].max()
    room = BEYOND * (high - low)
    for what, far, exceed in (
        (f"above {high:.3g}", theirs[:, 3] > high + room, theirs[:, 3] > high),
        (f"below {low:.3g}", theirs[:, 2] < low - room, theirs[:, 2] < low),
    ):
        if far.any() and _exceedance(len(mine), len(theirs), int(exceed.sum())) < chance:
            yield (
                f"{100 * far.mean():.0f} % of the search samples have values of {name!r} {what}, the most that "
                "calibration shows: ranges set by it clip them"
            )


def _exceedance(count: int, others: int, beyond: int) -> float:
    """Return how likely it is that `beyond` or more of `others` lie beyond all `count`, where all are alike."""
    return math.prod((others - i) / (count + others - i) for i in range(beyond))


def _unlike(one: Values, other: Values, chance: float) -> bool:
    """Tell whether two lists of numbers differ by more than chance (Kolmogorov–Smirnov, asymptotic)."""
    both = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(part), both, side="right") / len(part) for part in (one, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    weight = len(one) * len(other) / (len(one) + len(other))
    return 2 * math.exp(-2 * weight * distance**2) < chance


def _of_ids(
    name: str, one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]], chance: float
) -> Iterator[str]:
    """Yield notes on whole numbers: their count in a sample, and which occur."""
    lengths = [np.array([array.size for array in part], np.float64) for part in (one, other)]
    usual = [float(np.median(part)) for part in lengths]
    if (
        max(usual) > RATIO * min(usual)
        and not all(part.min() == part.max() for part in lengths)
        and _unlike(lengths[0], lengths[1], chance / 2)
    ):
        yield (
            f"the calibration samples' {name!r} holds {usual[0]:.0f} values, the search samples' {usual[1]:.0f} "
            "(medians): ranges of attention and sums will not fit"
        )
    mine, theirs = ([set(np.unique(array).tolist()) for array in part] for part in (one, other))
    yield from _vocabulary(name, mine, theirs, chance / 2)


def _vocabulary(
    name: str, one: Sequence[set[int]], other: Sequence[set[int]], chance: float
) -> Iterator[str]:
    """Yield a note on the id whose share of samples differs most, where that is no chance."""
    counts: dict[int, list[int]] = {}
    for side, part in enumerate((one, other)):
        for sample in part:
            for value in sample:
                counts.setdefault(value, [0, 0])[side] += 1
    common = sorted(counts, key=lambda value: (-sum(counts[value]), value))[:COMMON]
    found = [
        (abs(counts[value][0] / len(one) - counts[value][1] / len(other)), value)
        for value in common
        if _fisher(counts[value][0], len(one), counts[value][1], len(other)) < chance / COMMON
    ]
    if found and max(found)[0] >= SHIFT:
        value = max(found)[1]
        here, there = (100 * counts[value][side] / len(part) for side, part in enumerate((one, other)))
        yield (
            f"the calibration samples' {name!r} has other values than the search samples': {value} occurs in "
            f"{here:.0f} % of the first and {there:.0f} % of the second"
        )


def _fisher(mine: int, count: int, theirs: int, others: int) -> float:
    """Return twice the smaller tail of Fisher's exact test: `mine` of `count` against `theirs` of `others`."""
    both = mine + theirs
    least, most = max(0, both - others), min(both, count)
    whole = _log_choose(count + others, both)
    shares = [
        math.exp(_log_choose(count, k) + _log_choose(others, both - k) - whole)
        for k in range(least, most + 1)
    ]
    at = mine - least
    return min(1.0, 2 * min(sum(shares[: at + 1]), sum(shares[at:])))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
