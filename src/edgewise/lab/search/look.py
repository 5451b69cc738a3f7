"""A cheap look at a file before it is judged: its size is known, its speed is read once, and how near it answers.

How near a file is, a few calibration samples tell; whether it holds the floor, only the search split does. One reading
of its speed ranks it; only rounds against the others say how fast it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgewise.lab import jobs
from edgewise.lab.measure.worker import Measured
from edgewise.lab.trial import Judged, Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["Looks", "hopeless"]

SPLIT = "look"
MOST, LEAST = 32, 8  # samples
PATIENCE_MS = 3000.0  # what the original should take over all samples
READING_MS, LONGEST = 400.0, 200  # what one reading should take, and how many runs that is at most
UNLIKE_DECISIONS, UNLIKE_RMS = 0.5, 0.5


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks at files of one plan, against what the original answers on the same samples."""

    shop: Workshop
    reference: Judged
    passes: int

    @classmethod
    def at(cls, shop: Workshop, baseline: Trial, p50: float) -> Looks:
        """Take the samples to look at; `p50` is what one takes the original, in ms."""
        count = int(min(MOST, max(LEAST, PATIENCE_MS / p50)))
        shop.store(SPLIT, shop.plan.splits.calibration[:count])
        reference = shop.judge(baseline.artifact, baseline.candidate.target, SPLIT, reference=None)
        looks = cls(shop, reference, int(min(LONGEST, max(1, READING_MS / p50)) // count) + 1)
        baseline.glance = looks._read(baseline)
        return looks

    def over(self, trials: Iterable[Trial], watcher: Watcher) -> None:
        """Look at each, alone; one that does not answer has its reason."""
        for trial in trials:
            try:
                trial.glance = self._read(trial)
            except jobs.JobError as error:
                trial.reason, trial.built = str(error), None
                watcher.step(f"{trial.id}: {error}")
                continue
            speed = f"{trial.glance.quantile(0.5):.3g} ms, " if trial.glance.times else ""
            watcher.step(f"{trial.id}: {speed}{trial.distance:.1e} from the original")

    def _read(self, trial: Trial) -> Measured:
        return self.shop.look(
            trial.artifact, trial.candidate.target, SPLIT, reference=self.reference, passes=self.passes
        )


def hopeless(trial: Trial) -> bool:
    """Tell whether a file answers something else: most decisions differ, and so do the numbers."""
    seen = trial.glance.difference if trial.glance else None
    return seen is not None and seen.agreement < UNLIKE_DECISIONS and seen.rms > UNLIKE_RMS
