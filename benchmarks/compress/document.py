"""One model's table: everyone who was tried, how small, how fast, how good, and against whom the choice is held."""

from __future__ import annotations

from benchmarks.compress.verdicts import Judgement, Standing
from benchmarks.table import Detail
from edgewise.report import format as words

__all__ = ["detail"]

COLUMNS = (
    *("entrant", "runtime", "bytes", "× orig.", "p50", "× fp32", "on test"),
    *("above the floor", "99 % met", "compressed", "made in", "note"),
)


def detail(judged: Judgement) -> Detail:
    """Return the table of a comparison."""
    found = judged.comparison
    load = " to ".join(f"{one:.1f}" for one in found.load)
    title = (
        f"{found.model}: {found.metric}, floor {found.floor}; {found.threads} threads, {found.timed} samples a "
        f"round, load {load}, {found.disturbed} readings disturbed by others"
    )
    return Detail(title, COLUMNS, tuple(_line(judged, one) for one in judged.standings))


def _line(judged: Judgement, one: Standing) -> tuple[str, ...]:
    entrant, metric = one.entrant, judged.comparison.metric
    measured = entrant.verdict != "not assessed"
    return (
        entrant.name,
        entrant.target,
        "" if entrant.size is None else words.count(entrant.size),
        "" if one.size is None else words.ratio(one.size),
        words.number_of(judged.comparison.p50(entrant)) if entrant.ms else "",
        words.figure(one.latency) if one.latency else "",
        words.number_of(entrant.test, metric) if entrant.test else "",
        words.margin(entrant.margin, metric) if entrant.margin else "",
        entrant.verdict if measured else "",
        ("yes" if one.compressed else "no") if measured else "",
        words.elapsed(entrant.made) if entrant.made else "",
        _note(judged, one),
    )


def _note(judged: Judgement, one: Standing) -> str:
    entrant = one.entrant
    held = [f"the reference for {goal}" for goal, rival in judged.rivals.items() if rival is entrant]
    if entrant.name == "edgewise" and judged.latency:
        held.append(f"{words.figure(judged.latency)} × {judged.rivals['latency'].name}")
    if entrant.name == "edgewise-size" and judged.size:
        held.append(f"{judged.size:.3f} × the bytes of {judged.rivals['size'].name}")
    return "; ".join(part for part in (entrant.of, entrant.reason, *held) if part)
