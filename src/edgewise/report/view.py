"""What the page shows, picked from the result and put in order. Nothing is measured or judged here."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.manifest import Verdict
from edgewise.lab.result import BuildResult, CandidateRow, Claim, GoalResult, TierResult

__all__ = [
    "VERDICTS",
    "Coverage",
    "Gap",
    "chosen",
    "claim_of",
    "coverage",
    "difference_evidence",
    "figure_of",
    "floor_word",
    "gaps",
    "main_tier",
    "ranked",
    "ratio_to_original",
    "runtime_of",
    "search_floor",
    "shipped",
    "tier_verdict",
    "verdict_counts",
]

VERDICTS: tuple[Verdict, ...] = ("met", "not assessed", "not shown", "missed")
_WORST_FIRST: tuple[Verdict, ...] = ("missed", "not shown", "not assessed", "met")
_UNITS = {"quality": "", "p50": "ms", "p95": "ms", "load": "ms", "memory": "bytes", "size": "bytes"}
_RUNTIMES = {"onnxruntime": "ONNX Runtime", "litert": "LiteRT"}
_WEAKEST_FIRST = (
    Evidence.NONE,
    Evidence.COMPILED,
    Evidence.PREDICTED,
    Evidence.EMULATED,
    Evidence.PUBLISHED,
    Evidence.MEASURED,
)


@dataclass(frozen=True)
class Coverage:
    """The users whose tier has this verdict: their share of all, and the tiers' names."""

    verdict: Verdict
    share: float
    tiers: tuple[str, ...]


@dataclass(frozen=True)
class Gap:
    """One thing asked and not reached or not known: which goal, for whom, and what was got."""

    verdict: Verdict
    tier: TierResult
    goal: GoalResult | None


def ranked(result: BuildResult) -> tuple[CandidateRow, ...]:
    """Every candidate: the fastest first, those without a latency after, the failed and the passed over last."""

    def key(row: CandidateRow) -> tuple[bool, float, str]:
        p50 = figure_of(row, "p50").value
        return row.status != "ok", float("inf") if p50 is None else p50, row.id

    return tuple(sorted(result.candidates, key=key))


def figure_of(row: CandidateRow, name: str) -> Figure:
    """A figure of a candidate; the figure that says `none` when it has no such figure."""
    return row.figures.get(name) or Figure.none(_UNITS.get(name, ""))


def floor_word(row: CandidateRow) -> str:
    """Whether a candidate holds the floor on search: only an interval wholly below it says that it does not."""
    if row.holds_floor:
        return "holds"
    high = figure_of(row, "margin").high
    return "does not hold" if high is not None and high < 0 else "not shown"


def runtime_of(result: BuildResult) -> str:
    """The name of the runtime that the original was measured in."""
    target = result.row(result.original).target
    return _RUNTIMES.get(target, target)


def ratio_to_original(result: BuildResult, row: CandidateRow, name: str) -> Figure:
    """The figure over the original's, known as well as the weaker of the two."""
    pair = figure_of(row, name), figure_of(result.row(result.original), name)
    over, under = (figure.value for figure in pair)
    if over is None or not under:
        return Figure.none("ratio")
    weaker = min((figure.evidence for figure in pair), key=_WEAKEST_FIRST.index)
    if weaker is Evidence.PREDICTED or weaker is Evidence.PUBLISHED:
        return Figure.none("ratio")  # a ratio of estimates is nobody's estimate
    return Figure(evidence=weaker, unit="ratio", value=over / under)


def tier_verdict(tier: TierResult) -> Verdict:
    """The worst verdict of a tier's goals; a tier that gets no variant is missed."""
    if tier.chosen is None:
        return "missed"
    verdicts = {goal.verdict for goal in tier.goals} or {"not assessed"}
    return next(verdict for verdict in _WORST_FIRST if verdict in verdicts)


def coverage(result: BuildResult) -> tuple[Coverage, ...]:
    """The shares of users by the verdict of their tier, in the order of `VERDICTS`; empty ones left out."""
    found = []
    for verdict in VERDICTS:
        tiers = [tier for tier in result.tiers if tier_verdict(tier) == verdict]
        if tiers:
            found.append(
                Coverage(verdict, sum(tier.share for tier in tiers), tuple(tier.name for tier in tiers))
            )
    return tuple(found)


def gaps(result: BuildResult) -> tuple[Gap, ...]:
    """Everything missed, not shown or not assessed, worst first.

    A tier without a variant is one gap itself, which stands for those of its goals that nobody could assess.
    """
    found = [Gap("missed", tier, None) for tier in result.tiers if tier.chosen is None]
    for tier in result.tiers:
        known = [goal for goal in tier.goals if tier.chosen or goal.verdict != "not assessed"]
        found += [Gap(goal.verdict, tier, goal) for goal in known if goal.verdict != "met"]
    return tuple(sorted(found, key=lambda gap: (_WORST_FIRST.index(gap.verdict), -gap.tier.share)))


def verdict_counts(result: BuildResult) -> dict[Verdict, int]:
    """How many goals have each verdict; only verdicts that occur."""
    verdicts = [goal.verdict for tier in result.tiers for goal in tier.goals]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}


def main_tier(result: BuildResult) -> TierResult | None:
    """The tier the first sentences speak of: measured here if one was, then the largest share."""
    served = [tier for tier in result.tiers if tier.chosen is not None]
    return max(served, key=lambda tier: (tier.machine == "this", tier.share), default=None)


def chosen(result: BuildResult) -> dict[str, tuple[str, ...]]:
    """The chosen candidates with the tiers they serve."""
    tiers: dict[str, list[str]] = {}
    for tier in result.tiers:
        if tier.chosen is not None:
            tiers.setdefault(tier.chosen, []).append(tier.name)
    return {candidate: tuple(names) for candidate, names in tiers.items()}


def shipped(result: BuildResult) -> tuple[str, ...]:
    """Every candidate in the bundle: the chosen, and any other that a claim is made for."""
    return tuple(dict.fromkeys([*chosen(result), *(claim.candidate for claim in result.claims)]))


def claim_of(result: BuildResult, candidate: str | None) -> Claim | None:
    """The claim on test of a candidate, if there is one."""
    return next((claim for claim in result.claims if claim.candidate == candidate), None)


def search_floor(result: BuildResult) -> float | None:
    """The quality floor in terms of the search split, for the chart; null when nothing states it.

    The original's own margin states it; else a floor relative to the original keeps, from test to search, its
    distance to the original.
    """
    margin = figure_of(result.row(result.original), "margin").value
    original = figure_of(result.row(result.original), "quality").value
    claim = next(iter(result.claims), None)
    if original is not None and margin is not None:
        return original - margin if result.higher_is_better else original + margin
    if claim is None or original is None or not claim.original.value:
        return None
    if "original" not in result.floor:
        return claim.floor
    if result.higher_is_better:
        return original * claim.floor / claim.original.value
    return original + claim.floor - claim.original.value


def difference_evidence(row: CandidateRow) -> Evidence:
    """How the difference from the original is known: by running both, here or in an emulator."""
    known = {figure.evidence for figure in row.figures.values()}
    return Evidence.EMULATED if Evidence.EMULATED in known else Evidence.MEASURED
