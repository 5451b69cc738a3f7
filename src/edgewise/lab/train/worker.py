"""The training process: one student, from the original and a store of training samples to an ONNX file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgewise.bundle.canonical import digest_file
from edgewise.errors import missing_extra
from edgewise.lab import jobs
from edgewise.lab.train.report import Cost, Epoch
from edgewise.lab.train.students import AnyStudent

if TYPE_CHECKING:
    from edgewise.lab.model.load import OnnxModel
    from edgewise.lab.train.fit import Fitted

__all__ = ["Done", "Job", "Options"]

STUDENT = "student.onnx"
_FEEDS = 8


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to train, None where the student or the number of samples decides.

    `classes`: the judged output is scores of classes; `labels`: learn from the samples' labels, too.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    batch: int = 32
    seconds: float = 600.0
    classes: bool = True
    labels: bool = True


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to train, from what, into which folder (it is there), and where is kept what the next student may use.

    `base` is the folder that a user's file is relative to.
    """

    student: AnyStudent
    source: str
    samples: str
    folder: str
    kept: str
    base: str = "."
    options: Options = Options()
    seed: int = 0
    threads: int = 1


class Done(msgspec.Struct, frozen=True):
    """The student's file in the job's folder, and what training was: the epoch that was kept is `epochs[best]`."""

    file: str
    digest: str
    epochs: tuple[Epoch, ...]
    best: int
    before: Cost
    after: Cost
    samples: int
    seconds: float
    device: str
    notes: tuple[str, ...] = ()


def train(job: Job) -> Done:
    """Do the job. Any exception is the reason that the student's row shows."""
    started = time.perf_counter()
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before CUDA starts, for the same sums every time
    from edgewise.lab.quiet import no_telemetry

    no_telemetry()
    try:
        import torch
    except ImportError as error:
        raise missing_extra("torch", "train") from error
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(job.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return _trained(job, device, started)


def _trained(job: Job, device: str, started: float) -> Done:
    from edgewise.lab.measure.store import Store
    from edgewise.lab.model.load import load
    from edgewise.lab.model.torch_graph import to_torch
    from edgewise.lab.train import corpus as reading
    from edgewise.lab.train.export import to_onnx
    from edgewise.lab.train.fit import Settings, fit
    from edgewise.lab.train.losses import goal_of
    from edgewise.lab.train.make import Material, make, training

    model, options, kept = load(Path(job.source)), job.options, Path(job.kept)
    with Store(Path(job.samples)) as store:
        feeds = [store.inputs(index) for index in range(min(_FEEDS, len(store)))]
    found = reading.read(
        Path(job.samples), model, labels=options.labels, seed=job.seed, kept=kept / "answers.npz"
    )
    goal = goal_of(found, classes=options.classes)
    material = Material(model, to_torch(model, feeds[:2]), found, goal, Path(job.base), kept)
    net = make(job.student, material).to(device)
    rate = options.learning_rate or job.student.rate
    settings = Settings(options.epochs, rate, options.batch, options.seconds, job.seed, device)
    with training(job.student, net, material):
        fitted = fit(net, found, goal, settings)
    student = to_onnx(net, model, feeds, Path(job.folder) / STUDENT)
    before, after = (_cost(one, feeds[0]) for one in (model, student))
    return Done(
        STUDENT,
        digest_file(Path(job.folder) / STUDENT),
        fitted.epochs,
        fitted.best,
        before,
        after,
        samples=found.rows,
        seconds=time.perf_counter() - started,
        device=device,
        notes=_notes(job, fitted, classes=goal.classes),
    )


def _notes(job: Job, fitted: Fitted, *, classes: bool) -> tuple[str, ...]:
    notes = []
    if job.options.labels and not classes:
        notes.append(
            f"{job.student.name}: the answer is no scores of classes, so labels were not learned from"
        )
    if fitted.shortened:
        notes.append(
            f"{job.student.name}: {fitted.steps} of {fitted.planned} steps were made in {job.options.seconds:g} s: "
            "a longer [train] seconds may give a better student, and a shortened training not the same one twice"
        )
    return tuple(notes)


def _cost(model: OnnxModel, feed: dict[str, Any]) -> Cost:
    from edgewise.lab.profile import profile

    found = profile(model, feeds=feed)
    return Cost(found.parameters, found.macs)


if __name__ == "__main__":
    jobs.serve(Job, train)
