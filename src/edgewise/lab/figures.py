"""From trials to rows: every number gets its unit, its interval and its evidence word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.rounds import median_figure
from edgewise.lab.data.interval import Interval, interval_of
from edgewise.lab.measure.worker import Measured
from edgewise.lab.plan import Plan
from edgewise.lab.result import CandidateRow
from edgewise.lab.trial import Trial

__all__ = ["coordinates", "exact", "interval_figure", "row", "with_pareto"]


def row(plan: Plan, trial: Trial, on: str) -> CandidateRow:
    """Return what the report says of one candidate; `on` names the machine and its threads."""
    common: dict[str, Any] = {
        "id": trial.id,
        "target": trial.candidate.target,
        "precision": trial.candidate.precision,
        "recipe": trial.candidate.recipe,
        "build_seconds": round(trial.seconds, 1),
    }
    if trial.judged is None or trial.built is None:
        return CandidateRow(
            status="passed over" if trial.passed_over else "failed",
            reason=trial.reason,
            artifact=trial.built.artifact.digest if trial.built else None,
            cached=trial.built is not None and trial.built.cached,
            figures=_unknown({"quality": "share", "size": "B"}) | _seen(trial, on),
            **common,
        )
    difference = trial.judged.measured.difference
    return CandidateRow(
        status="ok",
        artifact=trial.built.artifact.digest,
        figures=_figures(plan, trial, on),
        difference=msgspec.to_builtins(difference) if difference else None,
        operators=trial.built.operators,
        holds_floor=any(trial.holds.values()),
        cached=trial.built.cached,
        **common,
    )


def interval_figure(interval: Interval, unit: str, split: str, on: str, evidence: Evidence) -> Figure:
    """Return a figure with a bootstrap interval."""
    return Figure(
        evidence=evidence,
        unit=unit,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        split=split,
        on=on,
    )


def exact(value: float, unit: str, on: str | None = None) -> Figure:
    """Return a measured figure that has no interval: bytes, and single readings."""
    return Figure(evidence=Evidence.MEASURED, unit=unit, value=value, on=on)


def coordinates(candidate: CandidateRow) -> tuple[float, float, float]:
    """Return (lost quality, latency, size) of a row: smaller is better."""
    figures = candidate.figures
    return (
        -(figures["margin"].value or 0.0),
        math.inf if (p50 := figures["p50"].value) is None else p50,
        figures["size"].value or 0.0,
    )


def with_pareto(candidate: CandidateRow, *, pareto: bool) -> CandidateRow:
    """Return the row with its place on the front."""
    return msgspec.structs.replace(candidate, pareto=pareto)


def _figures(plan: Plan, trial: Trial, on: str) -> dict[str, Figure]:
    assert trial.judged is not None
    assert trial.built is not None
    unit, evidence = plan.metric.unit, trial.evidence
    first_tier = plan.config.tiers[0].name
    return {
        "quality": interval_figure(interval_of(plan.metric, trial.judged.rows), unit, "search", on, evidence),
        "margin": interval_figure(trial.margins[first_tier], unit, "search", on, evidence),
        **_speed(trial, on),
        "size": exact(float(trial.built.artifact.size), "B"),
    }


_TIMED = {"p50": "ms", "p95": "ms", "load": "ms", "memory": "B"}


def _seen(trial: Trial, on: str) -> dict[str, Figure]:
    """Return what a look found of a file that was not judged."""
    seen = trial.passed_over and trial.built is not None and trial.glance is not None
    return (
        _speed(trial, on) | {"size": exact(float(trial.artifact.artifact.size), "B")}
        if seen
        else _unknown(_TIMED)
    )


def _speed(trial: Trial, on: str) -> dict[str, Figure]:
    """Return times over the rounds; of one that was looked at only, its one reading, which has no interval."""
    rounds = trial.rounds or ([trial.glance] if trial.glance and trial.glance.times else [])
    return _timed(rounds, on) if rounds else _unknown(_TIMED)


def _timed(rounds: Sequence[Measured], on: str) -> dict[str, Figure]:
    values = {
        "p50": [one.quantile(0.5) for one in rounds],
        "p95": [one.quantile(0.95) for one in rounds],
        "load": [one.load for one in rounds],
        "memory": [float(one.memory) for one in rounds],
    }
    return {name: median_figure(values[name], unit, on) for name, unit in _TIMED.items()}


def _unknown(units: Mapping[str, str]) -> dict[str, Figure]:
    return {name: Figure.none(unit) for name, unit in units.items()}
