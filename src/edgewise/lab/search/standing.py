"""Where a trial stands for a tier by what is known before it is judged: goals surely missed, then the objective.

One reading of a speed is no interval, so a rival counts as beaten only when it is slower by more than readings differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgewise.lab.choose.goals import Goals
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.search.look import hopeless
from edgewise.lab.trial import Trial

__all__ = ["NOISE", "Place", "Standing"]

NOISE = 1.2  # two readings of one file may differ by as much
UNDISTURBED = 0.25  # the quantile of a reading that ranks: whatever else a machine does only slows down


class Place(NamedTuple):
    """Smaller is better: limits missed beyond doubt, then ms (or bytes), then bytes."""

    missed: int
    objective: float
    size: float

    def times(self, factor: float) -> Place:
        """Return the place of one whose objective is `factor` times as large."""
        return Place(self.missed, self.objective * factor, self.size)


@dataclass(frozen=True, slots=True)
class Standing:
    """One tier: its goals, and whether it is chosen for by the speed measured here."""

    tier: Tier
    goals: Goals

    @property
    def by_speed(self) -> bool:
        """Whether latency decides; else the size of the file does."""
        return self.tier.here and self.goals.prefer == "latency"

    @property
    def slack(self) -> float:
        """By how much one may be worse in a first reading, and still turn out to be the choice: bytes are exact."""
        return NOISE if self.by_speed else 1.0

    def place(self, trial: Trial) -> Place:
        """Return where a file that was built and looked at stands."""
        size = float(trial.artifact.artifact.size)
        if not (self.by_speed and trial.glance and trial.glance.times):
            return Place(self._missed(trial), float("inf") if self.by_speed else size, size)
        return Place(self._missed(trial), trial.glance.quantile(UNDISTURBED), size)

    def usable(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return those that answered in a runtime of the tier, the best placed first."""
        able = [
            trial
            for trial in trials
            if trial.built and trial.glance and trial.candidate.target in self.tier.runtimes
        ]
        return sorted(able, key=lambda trial: (self.place(trial), trial.id))

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the best placed of those that hold the tier's floor."""
        return next((trial for trial in self.usable(trials) if trial.holds.get(self.tier.name)), None)

    def promising(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return those not judged yet that may still become the choice, the best placed first."""
        limit = self._limit(trials, self.slack)
        return [
            trial
            for trial in self.usable(trials)
            if not trial.judged and not trial.reason and not hopeless(trial) and self.place(trial) < limit
        ]

    def would_pay(self, trial: Trial, trials: Sequence[Trial], gain: float) -> bool:
        """Tell whether the tier's choice would improve by the share `gain` if this file held the floor."""
        return trial.candidate.target in self.tier.runtimes and self.place(trial) < self._limit(
            trials, 1 - gain
        )

    def _limit(self, trials: Iterable[Trial], factor: float) -> Place:
        best = self.best(trials)
        return (
            self.place(best).times(factor) if best else Place(len(self.goals.limits) + 1, float("inf"), 0.0)
        )

    def _missed(self, trial: Trial) -> int:
        """Count the limits that are out of reach: of a time or memory, one reading is beyond it by more than noise."""
        known = {"size": float(trial.artifact.artifact.size)}
        if self.tier.here and trial.glance and trial.glance.times:
            known |= {"p95": trial.glance.quantile(0.5) / NOISE, "memory": trial.glance.memory / NOISE}
        return sum(
            known[limit.figure] > limit.limit for limit in self.goals.limits.values() if limit.figure in known
        )
