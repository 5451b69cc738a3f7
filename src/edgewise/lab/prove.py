"""What ships is executed once more, in fresh processes: here, and on emulated processors that the fleet has."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.bundle.processing import postprocessor
from edgewise.errors import ToolchainError
from edgewise.lab.config import Config
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.matrix import Exam, Quality, Subject, cells
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.places import arm64
from edgewise.lab.places.place import HERE, Place
from edgewise.lab.plan import Plan
from edgewise.lab.profile import profile
from edgewise.lab.result import Cell
from edgewise.lab.trial import Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["places", "prove"]

SAMPLES = range(4, 33)  # at least, at most
MACS = 2 * 10**9  # for all of them: an emulator takes some seconds for 10⁹
EMULATED = frozenset({"android-arm64", "linux-arm64"})


def places(config: Config) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Return where artifacts can be executed for this fleet, and what is missing for the rest of it."""
    tiers = [tier.name for tier in config.tiers if _on_arm64(tier)]
    if not tiers:
        return (HERE,), ()
    try:
        return (HERE, *(arm64.emulated(cpu) for cpu in arm64.CPUS)), ()
    except ToolchainError as error:
        return (HERE,), (f"nothing was executed on ARM64, which {', '.join(tiers)} would need: {error}",)


def _on_arm64(tier: Tier) -> bool:
    return tier.platform in EMULATED and not set(arm64.TARGETS).isdisjoint(tier.runtimes)


def prove(
    plan: Plan,
    shop: Workshop,
    baseline: Trial,
    shipped: Sequence[Trial],
    where: Sequence[Place],
    watcher: Watcher,
) -> tuple[Cell, ...]:
    """Run what ships in every place that takes it, on a few test samples, and judge what it answers."""
    watcher.stage("Executing what ships, place by place", len(shipped) * len(where))
    subjects = [
        Subject(trial.id, trial.candidate.target, trial.artifact.main, trial.tolerance) for trial in shipped
    ]
    return cells(
        subjects,
        where,
        _exam(plan, baseline),
        stop=shop.stop,
        done=lambda cell: watcher.step(f"{cell.subject} on {cell.place}: {cell.reason or cell.verdict}"),
    )


def _count(plan: Plan) -> int:
    if not isinstance(plan.model, OnnxModel):
        return SAMPLES.start  # what one takes is not known
    macs = profile(plan.model, feeds=dict(plan.splits.test[0].inputs)).macs
    return min(max(MACS // max(macs, 1), SAMPLES.start), SAMPLES.stop - 1)


def _exam(plan: Plan, baseline: Trial) -> Exam:
    """Ask test samples, with the original's answers to them and, where they are labelled, the first tier's floor."""
    samples = plan.splits.test[: _count(plan)]
    inputs = [sample.inputs for sample in samples]
    expected = HERE.run(plan.model.runtime, baseline.artifact.main, plan.model.outputs, inputs).answers
    quality = None
    if plan.metric.needs_labels:
        config = plan.config
        quality = Quality(
            metric=plan.metric,
            labels=[sample.label for sample in samples],
            floor=config.goals[config.tiers[0].name].floor,
            post=postprocessor(config.post, config.find),
            split="test",
        )
    return Exam(plan.model.outputs, inputs, expected, quality)
