"""Students on the ladder: nets trained to answer in the original's place, quantized by what suited the original.

    train each, in a process of its own → its files by the methods that stood best → the ladder goes on with them

Quantization-aware training comes last, and where nobody asks for it only if an int8 file would pay and falls short.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edgewise.lab import jobs
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.search.ladder import Ladder
from edgewise.lab.search.look import hopeless
from edgewise.lab.train import propose
from edgewise.lab.train.data import Training
from edgewise.lab.train.students import AnyStudent, Aware
from edgewise.lab.train.trained import Trained
from edgewise.lab.trial import Trial
from edgewise.targets.building import Original

__all__ = ["EVALUATIONS", "teach"]

EVALUATIONS = 15  # of the real metric, beyond those of the original's own ladder
METHODS = 4  # for each tier, of those that stood best on the original


def teach(ladder: Ladder) -> tuple[Trained, ...]:
    """Train the students that suit the plan's model, and let their files join the ladder; return those trained.

    Without samples to train with there are none. One that cannot be trained is a row with its reason.
    """
    plan = ladder.plan
    if plan.training is None or plan.config.train is None or not isinstance(plan.model, OnnxModel):
        return ()
    students = propose.students(plan.model.proto, plan.config.pre, plan.config.train.students)
    methods = list(_methods(ladder))
    ladder.budget += EVALUATIONS
    trained = []
    for student in sorted(students, key=lambda one: isinstance(one, Aware)):
        if isinstance(student, Aware) and not plan.config.train.students:
            ladder.climb()
            if not ladder.falls_short():
                continue
        if done := _trained(ladder, student, plan.training):
            trained.append(done)
            ladder.sources[student] = done.source
            ladder.try_out(msgspec.structs.replace(method, student=student) for method in methods)
    ladder.climb()
    return tuple(trained)


def _trained(ladder: Ladder, student: AnyStudent, training: Training) -> Trained | None:
    ladder.watcher.stage(f"Training {student.name}", 1)
    try:
        done = ladder.shop.train(student, ladder.sources[None], training)
    except jobs.JobError as error:
        candidate = Candidate(Original(), ladder.plan.model.runtime, student=student)
        ladder.trials.append(Trial(candidate, candidate.id, reason=str(error)))
        ladder.watcher.step(f"{student.name}: {error}")
        return None
    ladder.watcher.step(
        f"{student.name}: {done.done.after.macs / max(1, done.done.before.macs):.2f}× the MACs, "
        f"{done.done.seconds:.0f} s on {done.done.device}"
    )
    return done


def _methods(ladder: Ladder) -> Iterator[Candidate]:
    """Yield what stood best for each tier on the original, its own files being what students have to beat."""
    found: dict[str, Candidate] = {}
    for standing in ladder.standings:
        able = [
            trial
            for trial in standing.usable(ladder.trials)
            if not hopeless(trial) and trial.candidate.student is None and trial.id != "original"
        ]
        found |= {trial.id: trial.candidate for trial in able[:METHODS]}
    yield from found.values()
