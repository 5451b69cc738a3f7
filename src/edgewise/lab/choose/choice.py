"""The choice: a pure function of the recorded measurements.

Search decides, test claims. A candidate may be chosen when search leads to expect that test will show the floor
met; among those the goals decide, then the objective. Candidates whose intervals overlap the best one's are equal:
the smaller file wins, then the digest, so that a fresh search may differ only among equals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.bundle.evidence import Figure
from edgewise.lab.choose.goals import Goals
from edgewise.lab.choose.pareto import front
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.result import CandidateRow

__all__ = ["Choice", "choose", "figures_for", "reachable"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a tier gets and why; `candidate` is None when nothing runs there."""

    candidate: str | None
    reason: str


def figures_for(row: CandidateRow, tier: Tier) -> dict[str, Figure]:
    """Return a candidate's figures as they stand for `tier`: on another kind of machine, speed is not known."""
    if tier.here:
        return dict(row.figures)
    unknown = {"p50": "ms", "p95": "ms", "load": "ms", "memory": "B"}
    return {
        name: Figure.none(unknown[name], on=tier.platform) if name in unknown else figure
        for name, figure in row.figures.items()
    }


def choose(rows: Sequence[CandidateRow], holds: Mapping[str, bool], tier: Tier, goals: Goals) -> Choice:
    """Choose for one tier. `holds` tells which candidates hold the tier's quality floor on search."""
    usable = [row for row in rows if row.status == "ok" and row.target in tier.runtimes]
    if not usable:
        return Choice(None, f"no candidate runs on {' or '.join(tier.runtimes)}")
    eligible = [row for row in usable if holds[row.id]]
    if not eligible:
        best = min(usable, key=lambda row: (-_signed_quality(row), *_tie(row)))
        return Choice(best.id, "nothing held the quality floor on the search split; this comes closest")
    by_goals: dict[tuple[int, int], list[CandidateRow]] = {}
    for row in eligible:
        by_goals.setdefault(_unmet(figures_for(row, tier), goals), []).append(row)
    unmet = min(by_goals)
    finalists = by_goals[unmet]
    timed = any(row.figures["p50"].value is not None for row in finalists)
    by_latency = tier.here and goals.prefer == "latency" and timed
    chosen = _fastest(finalists) if by_latency else min(finalists, key=_tie)
    known = all(limit.judge(figures_for(chosen, tier)) != "not assessed" for limit in goals.limits.values())
    fit = "come closest to the goals" if any(unmet) else "meet every goal"
    fit += "" if known or any(unmet) else " that can be assessed"
    return Choice(chosen.id, _reason(chosen, finalists, len(usable), fit, by_latency=by_latency))


def reachable(
    rows: Sequence[CandidateRow], holds: Mapping[str, bool], tier: Tier, missed: Sequence[str]
) -> str:
    """Say what can be had of each missed goal, while the quality floor is held."""
    usable = [row for row in rows if row.status == "ok" and row.target in tier.runtimes]
    eligible = [row for row in usable if holds[row.id]] or usable
    sentences = []
    for kind in missed:
        if kind == "quality":
            best = min(usable, key=lambda row: (-_signed_quality(row), *_tie(row)))
            sentences.append(f"the best quality on search is {_text(best.figures['quality'])}, by {best.id}")
            continue
        figure = {"latency_p95": "p95", "size": "size", "memory": "memory"}[kind]
        best = min(eligible, key=lambda row: (_value(row.figures[figure]), *_tie(row)))
        sentences.append(
            f"{figure} {_text(best.figures[figure])} is reachable while the floor holds, by {best.id}"
        )
    return "; ".join(sentences)


def _unmet(figures: Mapping[str, Figure], goals: Goals) -> tuple[int, int]:
    verdicts = [limit.judge(figures) for limit in goals.limits.values()]
    return verdicts.count("missed"), verdicts.count("not shown")


def _fastest(rows: Sequence[CandidateRow]) -> CandidateRow:
    timed = _timed(rows)
    # A wide interval is no merit: who is slower and larger than another cannot tie with the fastest.
    flags = front([(_value(row.figures["p50"]), _value(row.figures["size"])) for row in timed])
    best = [row for row, undominated in zip(timed, flags, strict=True) if undominated]
    limit = _high(_quickest(best).figures["p50"])
    return min((row for row in best if _low(row.figures["p50"]) <= limit), key=_tie)


def _reason(
    chosen: CandidateRow,
    finalists: Sequence[CandidateRow],
    usable: int,
    fit: str,
    *,
    by_latency: bool,
) -> str:
    what = "fastest" if by_latency else "smallest"
    parts = [f"{what} of the {len(finalists)} of {usable} candidates that hold the quality floor and {fit}"]
    if by_latency:
        quickest = _quickest(finalists)
        if quickest.id != chosen.id:
            parts.append(f"as fast as {quickest.id} within the interval, in a smaller file")
    return "; ".join(parts)


def _quickest(rows: Sequence[CandidateRow]) -> CandidateRow:
    return min(_timed(rows), key=lambda row: (_value(row.figures["p50"]), *_tie(row)))


def _timed(rows: Sequence[CandidateRow]) -> Sequence[CandidateRow]:
    """Leave out those that were merely screened: only rounds give an interval, so they cannot tie."""
    return [row for row in rows if row.figures["p50"].low is not None] or rows


def _tie(row: CandidateRow) -> tuple[float, str, str]:
    """Order equals: the smaller file, then the digest; of one file in two runtimes, the id."""
    return _value(row.figures["size"]), row.artifact or "", row.id


def _value(figure: Figure) -> float:
    return float("inf") if figure.value is None else figure.value


def _low(figure: Figure) -> float:
    return (figure.value if figure.low is None else figure.low) or 0.0


def _high(figure: Figure) -> float:
    return (figure.value if figure.high is None else figure.high) or 0.0


def _signed_quality(row: CandidateRow) -> float:
    """Quality so that more is better: `margin` is kept signed on search for every candidate."""
    return row.figures["margin"].value or 0.0


def _text(figure: Figure) -> str:
    if figure.value is None:
        return "none"
    match figure.unit:
        case "ms":
            return f"{figure.value:.3g} ms"
        case "B":
            return f"{figure.value / 1e6:.3g} MB"
        case "share":
            return f"{100 * figure.value:.2f} %"
        case _:
            return f"{figure.value:.4g}"
