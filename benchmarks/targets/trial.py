"""One process per cell: an artifact executed in its place, and its answers compared with the original's."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from benchmarks.targets import places
from benchmarks.targets.reference import spread
from edgewise.bundle import golden
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.lab import jobs
from edgewise.lab.measure.store import Store
from edgewise.lab.quiet import no_telemetry

__all__ = ["Job", "Outcome"]


class Job(msgspec.Struct, frozen=True):
    """An artifact's main file, and the place; `answers` are the original's to `samples`, `count` at most are asked."""

    target: str
    main: str
    place: str
    outputs: tuple[TensorSpec, ...]
    samples: str
    answers: str
    count: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How far the artifact got; the difference is there when all was answered in the original's shapes and numbers."""

    runtime: str = ""
    evidence: Evidence = Evidence.NONE
    loaded: bool = False
    ran: bool = False
    difference: golden.Difference | None = None
    reason: str | None = None


def run(job: Job) -> Outcome:
    """Do the job. Raises ToolchainError when the place or the runtime is not here."""
    no_telemetry()
    with Store(Path(job.samples)) as samples, Store(Path(job.answers)) as answers:
        inputs, expected = spread(samples, job.count), spread(answers, job.count)
    done = places.execute(job.place, job.target, Path(job.main), job.outputs, inputs)
    outcome = Outcome(runtime=done.runtime, evidence=done.evidence, loaded=done.loaded, reason=done.reason)
    if done.reason:
        return outcome
    difference = golden.compare(expected, done.answers)
    outcome = msgspec.structs.replace(outcome, ran=True)
    if not math.isfinite(difference.max_abs):
        return msgspec.structs.replace(outcome, reason="its answers have other shapes, or hold NaN")
    return msgspec.structs.replace(outcome, difference=difference)


if __name__ == "__main__":
    jobs.serve(Job, run)
