"""Why the original itself is the choice, read from the rows of the others and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgewise.lab.result import BuildResult, CandidateRow, GoalResult, TierResult
from edgewise.report import format as fmt
from edgewise.report import view

__all__ = ["why"]

_CHOICE = "the original itself is the choice"
_LIMIT = re.compile(r"≤ ?([\d.]+) ?(\w+)$")
_LIMITED = {"latency_p95": "p95", "size": "size", "memory": "memory"}


def why(result: BuildResult, tier: TierResult) -> str:
    """Return the sentences for a tier whose choice is the original."""
    original = result.row(result.original)
    tried = [
        row
        for row in result.candidates
        if row.status == "ok" and row.id != original.id and row.target in tier.runtimes
    ]
    holding = [row for row in tried if row.holds_floor]
    if not holding:
        whom = "No other candidate" if original.holds_floor else "No candidate, the original included,"
        return f"{whom} was shown to hold the floor, so {_CHOICE}."
    smaller = [row for row in holding if _value(row, "size") < _value(original, "size")]
    if not smaller or not _one_floor(result):
        return f"{_CHOICE.capitalize()}: {tier.reason}."
    number = len(smaller)
    noun, verb = ("candidate", "holds") if number == 1 else ("candidates", "hold")
    held = f"{_CHOICE.capitalize()}: {number} smaller {noun} {verb} the floor"
    return f"{held}{_but(smaller, original, tier)} {_smallest(smaller, original, tier)}"


def _but(smaller: Sequence[CandidateRow], original: CandidateRow, tier: TierResult) -> str:
    """`, but none is faster here`, where the times say so; else the recorded reason of the choice."""
    limit = _value(original, "p50")
    slower = all(limit <= _value(row, "p50") < float("inf") for row in smaller)
    if tier.machine != "this" or not slower:
        return f"; the choice is recorded as {tier.reason}."
    return ", but it is not faster here." if len(smaller) == 1 else ", but none is faster here."


def _smallest(smaller: Sequence[CandidateRow], original: CandidateRow, tier: TierResult) -> str:
    row = min(smaller, key=lambda row: (_value(row, "size"), row.artifact or "", row.id))
    size = view.figure_of(row, "size")
    said = f"{'It' if len(smaller) == 1 else 'The smallest'} is {row.id}, {fmt.number_of(size)} ({size.evidence})"
    limits = [goal for goal in tier.goals if goal.kind != "quality"]
    wanted = tier.machine == "this" and all(_meets(row, goal) for goal in limits)
    return f'{said}; prefer = "size" would take it.' if wanted else f"{said}."


def _meets(row: CandidateRow, goal: GoalResult) -> bool:
    """Whether a row is sure to meet a limit: its whole interval lies within, and only a file has none."""
    asked = _LIMIT.search(goal.asked)
    figure = view.figure_of(row, _LIMITED.get(goal.kind, ""))
    most = figure.value if goal.kind == "size" else figure.high
    if asked is None or most is None:
        return False
    limit, got = fmt.in_base_unit(float(asked[1]), asked[2]), fmt.in_base_unit(most, figure.unit)
    return limit is not None and got is not None and got <= limit


def _one_floor(result: BuildResult) -> bool:
    """Whether every tier has the same floor: a row says of its floors only that one of them holds."""
    return len({goal.asked for tier in result.tiers for goal in tier.goals if goal.kind == "quality"}) <= 1


def _value(row: CandidateRow, name: str) -> float:
    value = view.figure_of(row, name).value
    return float("inf") if value is None else value
