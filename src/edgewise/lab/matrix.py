"""The verification matrix: each artifact in each place, whether it loads, runs and answers as it should.

    subjects × places → run → Executed → cell() → Cell, for the bundle's `verification` and the report

A place may compute other numbers than this machine and be no worse: on ARM processors with SME the same dynamic
int8 file is 0.026 away. So a cell is not judged by equal bits. It holds when its answers are as close to the
original's as those that the build accepted here (`tolerance`, in rms), or else when its quality on labelled
samples meets the floor, by the same paired bootstrap as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.bundle import golden
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.manifest import TensorSpec
from edgewise.bundle.processing import Answered
from edgewise.errors import InputError
from edgewise.lab import jobs
from edgewise.lab.data.interval import Floor, Interval, interval_of, margin_to_floor, verdict
from edgewise.lab.data.metrics import Metric
from edgewise.lab.places.place import Executed, Place
from edgewise.lab.result import Cell
from edgewise.machine import cores
from edgewise.targets import Tensors

__all__ = ["Exam", "Quality", "Subject", "cell", "cells"]

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact to verify: `main` is the file that its target's session opens.

    `tolerance` is the rms difference from the original's answers that it may show anywhere, as in the manifest.
    """

    id: str
    target: str
    main: Path
    tolerance: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How task quality is judged: one label per sample, and the floor that the original's quality sets."""

    metric: Metric
    labels: Sequence[Any]
    floor: Floor
    post: Callable[[Outputs], Answered]
    split: str = "search"


@dataclass(frozen=True, slots=True)
class Exam:
    """What every subject is asked: samples, with the original's answers to them; `outputs` describe those."""

    outputs: tuple[TensorSpec, ...]
    inputs: Sequence[Tensors]
    expected: Sequence[Outputs]
    quality: Quality | None = None


def cells(
    subjects: Sequence[Subject],
    places: Sequence[Place],
    exam: Exam,
    *,
    stop: Event | None = None,
    done: Callable[[Cell], None] = lambda cell: None,
) -> tuple[Cell, ...]:
    """Run every subject in every place that takes its target, and judge what it answered; `done` hears of each.

    Returns cells by subject, then place. Whatever an artifact does is a cell; raises InputError when the samples
    cannot be handed over, or the labels do not fit the metric.
    """
    stop = stop or Event()
    pairs = [(s, p) for s in subjects for p in places if not p.targets or s.target in p.targets]
    found: dict[int, Cell] = {}

    def one(index: int) -> None:
        subject, place = pairs[index]
        executed = place.run(subject.target, subject.main, exam.outputs, exam.inputs, stop=stop)
        found[index] = cell(subject, executed, exam)

    jobs.side_by_side(
        one, range(len(pairs)), at_once=cores(), stop=stop, done=lambda index: done(found[index])
    )
    return tuple(found[index] for index in range(len(pairs)))


def cell(subject: Subject, executed: Executed, exam: Exam) -> Cell:
    """Judge what a subject answered in a place."""
    report = executed.report
    known = Cell(
        subject=subject.id,
        target=subject.target,
        place=executed.place,
        platform=report.platform,
        runtime=report.runtime,
        evidence=report.evidence,
        loads=report.loads,
        runs=False,
        verdict="not assessed" if report.evidence is Evidence.NONE else "missed",
        reason=report.reason,
    )
    if not executed.runs:
        return known
    difference = golden.compare(exam.expected, executed.answers)
    if not math.isfinite(difference.rms):
        reason = "its answers are not finite, or not of the original's shapes"
        return msgspec.structs.replace(known, reason=reason)
    answered = msgspec.structs.replace(known, runs=True, difference=difference)
    close = difference.rms <= subject.tolerance
    if exam.quality is None:
        return msgspec.structs.replace(answered, verdict="met" if close else "not shown")
    return _judged(answered, executed, exam, exam.quality, close=close)


def _judged(cell: Cell, executed: Executed, exam: Exam, quality: Quality, *, close: bool) -> Cell:
    """Add the quality and the verdict."""
    original = _rows(quality, exam.expected, exam.expected)
    try:
        rows = _rows(quality, executed.answers, exam.expected)
    except InputError as error:  # the original's answers passed, so it is no fault of the labels
        return msgspec.structs.replace(cell, reason=f"its answers cannot be judged: {error}")
    margin = margin_to_floor(quality.metric, rows, original, quality.floor)
    return msgspec.structs.replace(
        cell,
        verdict="met" if close else verdict(margin),
        quality=_figure(cell, quality, interval_of(quality.metric, rows)),
    )


def _rows(quality: Quality, answers: Sequence[Outputs], expected: Sequence[Outputs]) -> NDArray[np.float64]:
    """Return each sample's statistics: [samples, statistics]."""
    triples = zip(answers, quality.labels, expected, strict=True)
    found = []
    for outputs, label, reference in triples:
        answer = quality.post(outputs)
        whole = Answered(answer.value, answer.confidence, outputs)
        found.append(quality.metric.statistics(whole, label, reference))
    return np.array(found, np.float64)


def _figure(cell: Cell, quality: Quality, interval: Interval) -> Figure:
    return Figure(
        evidence=cell.evidence,
        unit=quality.metric.unit,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        split=quality.split,
        on=f"{cell.place}, {cell.platform}",
    )
