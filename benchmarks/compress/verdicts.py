"""Who is compressed, who meets the floor, who is the best peer, and how edgewise's choice stands to it.

A pure function of a comparison. An entrant is compressed at SMALL of the original's size or QUICK of the latency of
float32 in its best runtime; it qualifies when it is compressed and meets the floor on the test split. The reference is
the best single peer that qualifies, for the goal at hand, and float32 in its best runtime where none does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.compress.results import CHOICES, Comparison, Entrant, Prefer
from benchmarks.method import median, place, ratios
from edgewise.bundle.evidence import Figure
from edgewise.lab.attempt import BASELINE

__all__ = ["QUICK", "SMALL", "Judgement", "Standing", "geometric", "judge", "over"]

SMALL, QUICK = 0.35, 0.8


@dataclass(frozen=True, slots=True)
class Standing:
    """One entrant: `size` over the original's, `latency` over float32's in its best runtime; None where not known."""

    entrant: Entrant
    size: float | None
    latency: Figure | None

    @property
    def compressed(self) -> bool:
        """Whether it is a good deal smaller or quicker."""
        small = self.size is not None and self.size <= SMALL
        return small or bool(self.latency and (self.latency.value or np.inf) <= QUICK)

    @property
    def qualifies(self) -> bool:
        """Whether it is compressed and meets the floor."""
        return self.compressed and self.entrant.verdict == "met"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One model: everyone's standing, the references, and the ratios of edgewise's choices to them.

    `latency` is that of the choice for latency, with its interval over rounds, `size` that of the choice for size; None
    where the choice does not meet the floor, or could not be measured.
    """

    comparison: Comparison
    standings: tuple[Standing, ...]
    fp32: Entrant
    rivals: dict[Prefer, Entrant]
    latency: Figure | None
    size: float | None

    def standing(self, name: str) -> Standing:
        """Return an entrant's standing."""
        return next(one for one in self.standings if one.entrant.name == name)

    @property
    def holds(self) -> bool:
        """Whether edgewise has a compressed variant that meets the floor."""
        return any(self.standing(name).qualifies for name in CHOICES.values())

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers that have one."""
        return tuple(one.entrant.name for one in self.standings if one.entrant.by == "peer" and one.qualifies)

    @property
    def runs(self) -> float:
        """Seconds that the peers' single runs took: each makes one file, judged once on both splits."""
        return sum(one.made + one.judged for one in self.comparison.entrants if one.by == "peer")


def judge(comparison: Comparison) -> Judgement:
    """Judge a comparison."""
    entrants = comparison.entrants
    fp32 = min((one for one in entrants if one.by == "original" and one.ms), key=_p50)
    original = comparison.entrant(BASELINE)
    standings = tuple(
        Standing(one, _size(one, original), over(one, fp32, comparison.threads)) for one in entrants
    )
    able = [one.entrant for one in standings if one.entrant.by == "peer" and one.qualifies]
    rivals: dict[Prefer, Entrant] = {
        "latency": min([one for one in able if one.ms], key=_p50, default=fp32),
        "size": min(able, key=lambda one: one.size or np.inf, default=fp32),
    }
    choices = {goal: comparison.entrant(name) for goal, name in CHOICES.items()}
    met = {goal: choice.verdict == "met" for goal, choice in choices.items()}
    return Judgement(
        comparison,
        standings,
        fp32,
        rivals,
        over(choices["latency"], rivals["latency"], comparison.threads) if met["latency"] else None,
        _size(choices["size"], rivals["size"]) if met["size"] else None,
    )


def over(mine: Entrant, peer: Entrant, threads: int) -> Figure | None:
    """Return the median ratio of two p50, over the rounds that both ran; None where one of them ran none."""
    if not mine.ms or not peer.ms:
        return None
    return median(ratios(mine.ms, peer.ms), "ratio", place(threads))


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _p50(entrant: Entrant) -> float:
    return float(np.median(entrant.ms))


def _size(mine: Entrant, peer: Entrant) -> float | None:
    return mine.size / peer.size if mine.size and peer.size else None
