"""The first sentences: what was asked, what you get, and where not, for someone who reads nothing else."""

from __future__ import annotations

from edgewise.bundle.evidence import Figure
from edgewise.lab.result import BuildResult, CandidateRow, TierResult
from edgewise.report import format as fmt
from edgewise.report import kept, view

__all__ = ["change", "gap", "opening", "outcome", "unknown"]

_SAME_AS_NOTHING = "about the same"


def outcome(result: BuildResult) -> str:
    """The whole run in one line, in step with the exit code."""
    if result.tiers and not view.chosen(result):
        return "Finished, but nothing can be shipped as asked"
    if not view.verdict_counts(result):
        return "Finished; no goal was set"
    if result.exit_code:
        return "Finished, but not every goal is met"
    if any(gap.verdict == "not assessed" for gap in view.gaps(result)):
        return "Every goal that could be assessed is met"
    return "Every goal is met"


def opening(result: BuildResult) -> tuple[str, str]:
    """The first two sentences: who is served, and what they gain over the original."""
    tier = view.main_tier(result)
    return _served(result), _nothing(result) if tier is None else _gain(result, tier)


def gap(one: view.Gap, metric: str) -> str:
    """What was asked and not reached, for whom: `size ≤ 10 MB for gateways`."""
    return f"{fmt.floor(one.goal.asked, metric) if one.goal else 'no variant'} for {one.tier.name}"


def unknown(one: view.Gap, metric: str) -> str:
    """The goals that nobody could assess because the tier gets no variant; empty for any other gap."""
    goals = [fmt.floor(goal.asked, metric) for goal in one.tier.goals if goal.verdict == "not assessed"]
    return "" if one.goal or not goals else f"not assessed: {', '.join(goals)}"


def change(ratio: Figure, better: str, worse: str, same: str = _SAME_AS_NOTHING) -> str:
    """A headline ratio in words: `1.8× faster`; `about the same` when its interval holds 1."""
    if ratio.value is None:
        return fmt.NOT_ASSESSED
    if ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high:
        return same
    return fmt.times(ratio.value, better, worse, same)


def _served(result: BuildResult) -> str:
    total = len(result.tiers)
    served = sum(tier.chosen is not None for tier in result.tiers)
    if total == 0:
        return "No tier of users was named, so nothing was chosen."
    if served == 0:
        return f"None of {total} {_plural(total, 'tier')} gets a variant."
    verb = "gets" if served == 1 else "get"
    return f"{served} of {total} {_plural(total, 'tier')} {verb} a variant."


def _gain(result: BuildResult, tier: TierResult) -> str:
    assert tier.chosen is not None
    row, original = result.row(tier.chosen), result.row(result.original)
    here = (
        f"On this machine ({tier.name})"
        if tier.machine == "this"
        else f"On this machine, not one of the tier “{tier.name}”,"
    )
    if row.id == original.id:
        figures = f"in {_known(original, 'p50')}, in {_known(original, 'size')}{_at(result, row)}"
        return f"{kept.why(result, tier)} {here} it answers {figures}."
    return (
        f"{here} it answers in {_versus(result, row, original, 'p50', 'how fast it answers')}, "
        f"in {_versus(result, row, original, 'size', 'its size')}{_at(result, row)}."
    )


def _versus(result: BuildResult, row: CandidateRow, original: CandidateRow, name: str, what: str) -> str:
    """`3.1 ms instead of 5.6 ms (0.56×, measured)`."""
    now, before = view.figure_of(row, name), view.figure_of(original, name)
    if now.value is None or before.value is None:
        return f"{_known(row, name)} ({what} against the original is not assessed: none)"
    ratio = result.headline.get(name) or view.ratio_to_original(result, row, name)
    known = f"{_ratio(ratio)}{now.evidence}"
    return f"{fmt.number_of(now)} instead of {fmt.number_of(before)} ({known})"


def _ratio(ratio: Figure) -> str:
    return "" if ratio.value is None else f"{fmt.ratio(ratio.value)}, "


def _known(row: CandidateRow, name: str) -> str:
    value = view.figure_of(row, name)
    word = {"p50": "a time", "size": "a size"}.get(name, "a figure")
    return (
        f"{word} not assessed (none)" if value.value is None else f"{fmt.number_of(value)} ({value.evidence})"
    )


def _at(result: BuildResult, row: CandidateRow) -> str:
    """The quality on test and the verdict on the floor, or that there is none."""
    claim = view.claim_of(result, row.id)
    name = fmt.metric_name(result.metric)
    if claim is None or claim.quality.value is None:
        return f"; its {name} on test is not assessed (none)"
    samples = result.splits.get("test")
    of = f"{fmt.count(samples)} test samples" if samples else "the test samples"
    got = fmt.quality(claim.quality.value, result.metric)
    got = f"{got} {name}" if fmt.is_percent(result.metric) else f"{name} {got}"
    verdict = f"the floor, {fmt.floor(result.floor, result.metric)}, is {claim.verdict}"
    return f", at {got} on {of} ({claim.quality.evidence}); {verdict}"


def _nothing(result: BuildResult) -> str:
    failed = sum(row.status == "failed" for row in result.candidates)
    tried, original = len(result.candidates), result.row(result.original)
    crashed = f"{failed} of {tried} candidates failed" if failed else f"{tried} candidates were tried"
    return (
        f"{crashed}, and nothing else may ship as asked. For comparison, the original answers in "
        f"{_known(original, 'p50')}, in {_known(original, 'size')}."
    )


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"
