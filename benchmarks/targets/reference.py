"""One process per model: the file that artifacts are built from, and what the original answers in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx

from edgewise import targets
from edgewise.bundle.manifest import TensorSpec
from edgewise.lab import jobs
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.lab.model.load import load
from edgewise.lab.model.simplify import simplify
from edgewise.lab.quiet import no_telemetry

__all__ = ["Job", "Reference"]

CHECKED_ON = 4


class Job(msgspec.Struct, frozen=True):
    """A model's folder in the zoo, and where to write `source.onnx` and `answers.npz`."""

    model: str
    folder: str


class Reference(msgspec.Struct, frozen=True):
    """What the original is: its outputs, how many samples it answered, and what simplifying did."""

    outputs: tuple[TensorSpec, ...]
    samples: int
    note: str


def take(job: Job) -> Reference:
    """Do the job. Raises InputError when the original cannot be read or run."""
    no_telemetry()
    zoo, folder = Path(job.model), Path(job.folder)
    model = load(zoo / "model.onnx")
    with store.Store(zoo / "calibration.npz") as calibration:
        slim = simplify(model, [calibration.inputs(index) for index in range(CHECKED_ON)])
    onnx.save(slim.model, folder / "source.onnx")
    session = targets.session("onnxruntime").load(zoo / "model.onnx", model.outputs, threads=1)
    with store.Store(zoo / "eval.npz") as samples:
        answers = [session.run(samples.inputs(index)) for index in range(len(samples))]
    store.write(folder / "answers.npz", [Sample(answer) for answer in answers])
    return Reference(model.outputs, len(answers), slim.note)


if __name__ == "__main__":
    jobs.serve(Job, take)
