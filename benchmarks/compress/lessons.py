"""The runs with training against their aims, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compress.taught import INT8, STUDENT, Taught
from benchmarks.table import WORDS, Detail, Row, at_least
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.report import format as words

__all__ = ["detail", "rows"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked of a student: how many times quicker than int8 without training, and how many times fewer MACs."""

    quicker: float
    fewer_macs: float | None = None


AIMS: Mapping[str, Aim] = {"fashion": Aim(1.5, 2.0), "sentiment": Aim(4.0)}
COLUMNS = ("file", "edgewise's candidate", "bytes", "p50", "on test", "above the floor", "floor met")


def rows(runs: Sequence[Taught]) -> Iterator[Row]:
    """Yield the aims that these runs say anything about."""
    for run in runs:
        if aim := AIMS.get(run.model):
            yield from _rows(run, aim)


def _rows(run: Taught, aim: Aim) -> Iterator[Row]:
    chosen = run.files[STUDENT]
    name = f"{run.model}, {chosen.of}"
    yield at_least("times quicker than its int8 file without training", name, run.quicker(INT8), aim.quicker)
    if aim.fewer_macs:
        figure = Figure(
            evidence=Evidence.MEASURED, unit="ratio", value=run.before.macs / max(1, run.after.macs)
        )
        yield at_least("times fewer MACs than the original", name, figure, aim.fewer_macs)
    shown = words.margin(chosen.margin, run.metric)
    title = f"quality on test above {run.floor.replace(' of original', '')} of the original"
    yield Row(title, name, "≥ 0", chosen.margin, shown, WORDS[chosen.verdict])


def detail(run: Taught) -> Detail:
    """Return the table of one run."""
    load = " to ".join(f"{one:.1f}" for one in run.load)
    title = (
        f"{run.model}, with training: {run.metric}, floor {run.floor}; trained: {', '.join(run.trained)}; "
        f"{run.seconds:.0f} s in all; {run.threads} threads, {run.timed} samples a round, load {load}, "
        f"{run.disturbed} readings disturbed by others"
    )
    return Detail(title, COLUMNS, tuple(_line(run, key) for key in run.files))


def _line(run: Taught, key: str) -> tuple[str, ...]:
    from benchmarks.method import median, place

    one = run.files[key]
    return (
        key,
        one.of,
        words.count(one.size),
        words.figure(median(one.ms, "ms", place(run.threads))),
        words.number_of(one.test, run.metric),
        words.margin(one.margin, run.metric),
        one.verdict,
    )
