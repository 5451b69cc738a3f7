"""All kept results against the aims of compression without training: one row for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.compress.results import CHOICES
from benchmarks.compress.verdicts import Judgement, geometric
from benchmarks.models import MODELS
from benchmarks.table import Reached, Row, at_most
from edgewise.bundle.evidence import Evidence, Figure

__all__ = ["rows"]

MEAN_LATENCY, WORST_LATENCY, MEAN_SIZE = 0.90, 1.03, 0.85
TWIN, TWIN_HOLDS = "imbalanced", 0.995
INT8_SIZE = 0.5  # of the original: a quarter for the weights; in a small file scales and graph show
EVALUATIONS, WALL = 25, 2.0


def rows(judged: Sequence[Judgement]) -> Iterator[Row]:
    """Yield the aims that the judged models say anything about."""
    if judged:
        yield _models(judged)
        yield from _latency(judged)
        yield _size(judged)
        yield from (_twin(one) for one in judged if one.comparison.model == TWIN)
        yield from _cost(judged)


def _models(judged: Sequence[Judgement]) -> Row:
    held = [one.comparison.model for one in judged if one.holds]
    peers = [name for one in judged for name in one.peers]
    best = max(dict.fromkeys(peers), key=peers.count, default="")
    lost = [one.comparison.model for one in judged if not one.holds]
    reached: Reached = "yes" if len(held) > peers.count(best) else "no"
    if lost:
        reached = "no"
    elif len(judged) < len(MODELS):
        reached = "not measured"
    how = f"of {len(judged)} measured{_but(lost)}; the best peer: {best or 'none'}, {peers.count(best)}"
    figure = Figure(evidence=Evidence.MEASURED, unit="models", value=len(held))
    aim = f"all {len(MODELS)}; the best peer fewer"
    return Row("models with a compressed variant that meets 99 %", how, aim, figure, str(len(held)), reached)


def _latency(judged: Sequence[Judgement]) -> Iterator[Row]:
    """Yield the mean and the worst ratio; the mean's interval is that of means of the models' ends, so it is wide."""
    found = [(one.latency, one.comparison.model) for one in judged if one.latency]
    if not found:
        return
    lost = [one.comparison.model for one in judged if one.latency is None]
    ends = {end: geometric([getattr(figure, end) for figure, _ in found]) for end in ("value", "low", "high")}
    mean = msgspec.structs.replace(found[0][0], **ends)
    how = f"geometric mean over {len(found)} models{_but(lost)}"
    yield _unless(lost, at_most("latency of the choice over the best peer's", how, mean, MEAN_LATENCY))
    worst, model = max(found, key=lambda pair: pair[0].value or 0.0)
    yield _unless(lost, at_most("the same, on the worst model", model, worst, WORST_LATENCY))


def _size(judged: Sequence[Judgement]) -> Row:
    found = [one.size for one in judged if one.size]
    lost = [one.comparison.model for one in judged if one.size is None]
    how = f"geometric mean over {len(found)} models, choices for size{_but(lost)}"
    mean = _exact(geometric(found)) if found else Figure.none("ratio")
    return _unless(lost, at_most("size of the choice over the best peer's", how, mean, MEAN_SIZE))


def _twin(one: Judgement) -> Row:
    """Compare with float32 the better of the choices that are as small as int8 makes a file."""
    standings = [one.standing(name) for name in CHOICES.values()]
    small = [choice.entrant.test for choice in standings if choice.size and choice.size <= INT8_SIZE]
    original = one.fp32.test.value if one.fp32.test else None
    shares = [(test.value or 0.0) / (original or 1.0) for test in small if test]
    share = max(shares, default=0.0)
    how = f"of float32 on test, in a file of at most {INT8_SIZE:g} of its size"
    reached: Reached = "yes" if share >= TWIN_HOLDS else "no"
    title = "the imbalanced twin at int8 size"
    return Row(title, how, f"≥ {TWIN_HOLDS:.1%}", _exact(share), f"{share:.2%}", reached)


def _cost(judged: Sequence[Judgement]) -> Iterator[Row]:
    found = [(one.comparison.search, one) for one in judged if one.comparison.search]
    if not found:
        return
    search, one = max(found, key=lambda pair: pair[0].evaluations)
    how = f"the most, on {one.comparison.model}"
    count = Figure(evidence=Evidence.MEASURED, unit="evaluations", value=search.evaluations)
    reached: Reached = "yes" if search.evaluations <= EVALUATIONS else "no"
    title, aim = "evaluations of the real metric in the search", f"≤ {EVALUATIONS}"
    yield Row(title, how, aim, count, str(search.evaluations), reached)
    search, one = max(found, key=lambda pair: pair[0].seconds / (pair[1].runs or 1.0))
    how = f"the most, on {one.comparison.model}: {search.seconds:.0f} s over {one.runs:.0f} s"
    wall = _exact(search.seconds / (one.runs or 1.0))
    yield at_most("wall time of the search over the peers' single runs", how, wall, WALL)


def _unless(lost: Sequence[str], row: Row) -> Row:
    """Return the row, not reached where a model's choice could not be counted."""
    return Row(row.figure, row.how, row.aim, row.measured, row.shown, "no") if lost else row


def _but(lost: Sequence[str]) -> str:
    return f", without a choice that meets it: {', '.join(lost)}" if lost else ""


def _exact(value: float) -> Figure:
    return Figure(evidence=Evidence.MEASURED, unit="ratio", value=value)
