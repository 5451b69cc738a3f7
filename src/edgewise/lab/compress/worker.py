"""The building process: one candidate, from ONNX source and calibration samples to an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgewise.bundle.manifest import Artifact
from edgewise.lab import jobs
from edgewise.lab.measure.store import Store
from edgewise.targets.building import Operators

__all__ = ["Done", "Job"]


class Job(msgspec.Struct, frozen=True):
    """What to build, from what, into which folder (made here), and where ranges are kept for the next."""

    target: str
    recipe: dict[str, Any]
    source: str
    calibration: str
    folder: str
    kept: str


class Done(msgspec.Struct, frozen=True):
    """The artifact, and how many of its operators are quantized."""

    artifact: Artifact
    operators: Operators
    seconds: float


def build(job: Job) -> Done:
    """Do the job. Any exception is the candidate's reason."""
    from edgewise import targets
    from edgewise.lab.compress import apply
    from edgewise.lab.compress.recipe import Candidate
    from edgewise.lab.quiet import no_telemetry

    no_telemetry()
    folder = Path(job.folder)
    folder.mkdir()
    with Store(Path(job.calibration)) as store:
        calibration = [store.inputs(index) for index in range(len(store))]
    candidate = Candidate.of(job.target, job.recipe)
    built = apply.build(candidate, Path(job.source), calibration, folder, Path(job.kept))
    main = folder / built.artifact.files[0].name
    return Done(built.artifact, targets.builder(candidate.target).operators(main), built.seconds)


if __name__ == "__main__":
    jobs.serve(Job, build)
