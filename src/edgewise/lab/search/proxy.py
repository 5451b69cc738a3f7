"""A cheap look first: of many settings of one tool, those nearest to the original are judged, the others passed over.

How near a file is, a few calibration samples tell; whether it holds the floor, only the search split does. A tool's
default, the first of its family, is always judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgewise.lab import jobs
from edgewise.lab.trial import Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["KEPT", "pass_over"]

KEPT = 2  # of a family, beside its first
SAMPLES = 32
SPLIT = "proxy"


def pass_over(shop: Workshop, baseline: Trial, trials: Sequence[Trial], watcher: Watcher) -> None:
    """Mark the trials of large families that are further from the original than others of theirs."""
    families = list(_large(trials))
    if not families:
        return
    watcher.stage("A first look, on calibration samples", sum(map(len, families)))
    shop.store(SPLIT, shop.plan.splits.calibration[:SAMPLES])
    reference = shop.judge(baseline.artifact, baseline.candidate.target, SPLIT, reference=None)
    for family in families:
        far = {}
        for trial in family:
            try:
                judged = shop.judge(trial.artifact, trial.candidate.target, SPLIT, reference=reference)
            except jobs.JobError as error:
                trial.reason, trial.built = str(error), None
                watcher.step(f"{trial.id}: {error}")
                continue
            assert judged.measured.difference is not None
            far[trial.id] = judged.measured.difference.rms
            watcher.step(f"{trial.id}: {far[trial.id]:.1e} from the original")
        nearest = sorted(far, key=lambda name: (far[name], name))[: KEPT + 1]
        for trial in family[1:]:
            if trial.id in far and trial.id not in nearest:
                trial.reason = _reason(far, trial.id, nearest)
                trial.passed_over = True


def _large(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Yield the families, each of one tool for one target, that are too large to judge whole."""
    families: dict[tuple[str, type], list[Trial]] = {}
    for trial in trials:
        if trial.built:
            key = trial.candidate.target, type(trial.candidate.method)
            families.setdefault(key, []).append(trial)
    yield from (family for family in families.values() if len(family) > KEPT + 1)


def _reason(far: dict[str, float], name: str, nearest: Sequence[str]) -> str:
    return (
        f"{far[name]:.1e} from the original, {len(nearest)} of its tool within {far[nearest[-1]]:.1e}, "
        f"on up to {SAMPLES} calibration samples"
    )
