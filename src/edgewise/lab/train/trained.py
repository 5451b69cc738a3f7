"""A student as the search meets it: its ONNX file and what training was, and the key that it is kept by."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from edgewise.bundle.canonical import digest_file
from edgewise.errors import InputError
from edgewise.lab import machine
from edgewise.lab.plan import Plan
from edgewise.lab.train.data import Training
from edgewise.lab.train.students import AnyStudent, Named
from edgewise.lab.train.worker import Done, Job, Options

__all__ = ["Trained", "job_of", "key_of", "limit", "read", "write"]

_LIBRARIES = ("torch", "torch-pruning", "onnxscript", "onnxslim", "onnx")
_RECORD = "trained.json"
_BESIDE = 600.0
"""Seconds for what training comes with at most: the original's answers, pruning, export."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A student that was trained: the source of candidates of its own."""

    student: AnyStudent
    source: Path
    done: Done
    cached: bool


def job_of(
    plan: Plan,
    student: AnyStudent,
    training: Training,
    *,
    source: Path,
    samples: Path,
    folder: Path,
    kept: Path,
) -> Job:
    """Return what the worker is to do, by the `[train]` section of the plan."""
    section = plan.config.train
    if section is None:
        raise InputError(f"{plan.config.path}: no [train] section: students need samples to train with")
    options = Options(
        epochs=section.epochs,
        learning_rate=section.learning_rate,
        batch=section.batch,
        seconds=section.seconds,
        classes=plan.metric.of_classes or plan.metric.is_agreement,
        labels=training.labels,
    )
    return Job(
        student=student,
        source=str(source.absolute()),
        samples=str(samples.absolute()),
        folder=str(folder.absolute()),
        kept=str(kept.absolute()),
        base=str(plan.config.base.absolute()),
        options=options,
        seed=plan.config.data.seed,
    )


def key_of(job: Job, *, samples: str) -> dict[str, Any]:
    """Return what decides the student's bytes; `samples` is the digest of the training samples."""
    decided = {"student", "options", "seed", "threads"}
    file = job.student.function.rpartition(":")[0] if isinstance(job.student, Named) else None
    return {name: value for name, value in msgspec.to_builtins(job).items() if name in decided} | {
        "source": digest_file(Path(job.source)),
        "samples": samples,
        "file": digest_file(Path(job.base) / file) if file else None,
        "machine": machine.describe() | _versions(),
    }


def limit(job: Job) -> float:
    """Return the seconds after which a worker is taken for stuck."""
    return 2 * job.options.seconds + _BESIDE


def write(done: Done, entry: Path) -> None:
    """Record what training was beside the student's file."""
    (entry / _RECORD).write_bytes(msgspec.json.encode(done))


def read(student: AnyStudent, entry: Path, *, cached: bool) -> Trained | None:
    """Read a finished training; None when there is none, or its file is not what it was."""
    try:
        done = msgspec.json.decode((entry / _RECORD).read_bytes(), type=Done)
        whole = digest_file(entry / done.file) == done.digest
    except (OSError, msgspec.MsgspecError):
        return None
    return Trained(student, entry / done.file, done, cached) if whole else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the worker says what is missing
            continue
    return found
