"""From trials to what is said of them: rows, the choice per tier, claims on the test split, verdicts."""

from __future__ import annotations

from collections.abc import Mapping

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.lab import figures, machine
from edgewise.lab.attempt import BASELINE
from edgewise.lab.choose import choice
from edgewise.lab.choose.choice import Choice
from edgewise.lab.choose.pareto import front
from edgewise.lab.config import Config
from edgewise.lab.data.interval import Floor, Interval, interval_of, margin_to_floor, verdict
from edgewise.lab.data.metrics import Agreement
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.plan import Plan
from edgewise.lab.result import CandidateRow, Claim, GoalResult, TierResult
from edgewise.lab.trial import Judged, Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop


def rows(plan: Plan, shop: Workshop, trials: Mapping[str, Trial]) -> tuple[CandidateRow, ...]:
    """Return a row per trial, the original first, with its place on the Pareto front."""
    on = f"{machine.describe()['platform']}, {shop.threads} thread{'s' * (shop.threads > 1)}"
    rows = [figures.row(plan, trial, on) for trial in trials.values()]
    ok = [row for row in rows if row.status == "ok"]
    flags = front([figures.coordinates(row) for row in ok])
    on_front = {row.id for row, flag in zip(ok, flags, strict=True) if flag}
    return tuple(figures.with_pareto(row, pareto=row.id in on_front) for row in rows)


def choose(plan: Plan, rows: tuple[CandidateRow, ...], trials: Mapping[str, Trial], tier: Tier) -> Choice:
    """Choose for one tier."""
    holds = {trial.id: trial.holds.get(tier.name, False) for trial in trials.values()}
    return choice.choose(rows, holds, tier, plan.config.goals[tier.name])


def shipped(
    plan: Plan, rows: tuple[CandidateRow, ...], trials: Mapping[str, Trial], choices: Mapping[str, Choice]
) -> tuple[Trial, ...]:
    """Return the chosen variants, and one for the original's runtime where none of them runs there."""
    names = dict.fromkeys(c.candidate for c in choices.values() if c.candidate)
    if names and all(trials[name].candidate.target != plan.model.runtime for name in names):
        tier = plan.config.tiers[0]
        anywhere = Tier(name=tier.name, share=1.0, machine=tier.machine, runtimes=(plan.model.runtime,))
        fallback = choose(plan, rows, trials, anywhere).candidate
        names |= {fallback: None} if fallback else {}
    return tuple(trials[name] for name in names)


def claim(
    plan: Plan, shop: Workshop, baseline: Trial, shipped: tuple[Trial, ...], watcher: Watcher
) -> dict[str, dict[str, Claim]]:
    """Judge the original and what ships on the test split: claims by candidate, then by tier."""
    watcher.stage("Claiming on the test split", len(shipped) + 1)
    on = machine.describe()["platform"]
    reference = shop.judge(baseline.artifact, plan.model.runtime, "test", reference=None)
    watcher.step(BASELINE)
    claims: dict[str, dict[str, Claim]] = {}
    for trial in shipped:
        judged = (
            reference
            if trial.id == BASELINE
            else shop.judge(trial.artifact, trial.candidate.target, "test", reference=reference)
        )
        claims[trial.id] = {
            tier.name: _oneclaim(plan, trial, judged, reference, plan.config.goals[tier.name].floor, on)
            for tier in plan.config.tiers
        }
        watcher.step(trial.id)
    return claims


def _oneclaim(plan: Plan, trial: Trial, judged: Judged, reference: Judged, floor: Floor, on: str) -> Claim:
    metric = plan.metric

    def figure(interval: Interval, unit: str = metric.unit, evidence: Evidence = trial.evidence) -> Figure:
        return figures.interval_figure(interval, unit, "test", on, evidence)

    margin = margin_to_floor(metric, judged.rows, reference.rows, floor)
    original = interval_of(metric, reference.rows)
    return Claim(
        candidate=trial.id,
        quality=figure(interval_of(metric, judged.rows)),
        original=figure(original, evidence=Evidence.MEASURED),
        floor=float(floor.at(original.value, higher_is_better=metric.higher_is_better)),
        margin=figure(margin),
        agreement=figure(interval_of(Agreement(), judged.agreement), "share"),
        verdict=verdict(margin),
    )


def tier_result(
    plan: Plan,
    rows: tuple[CandidateRow, ...],
    trials: Mapping[str, Trial],
    tier: Tier,
    chosen: Choice,
    claims: Mapping[str, dict[str, Claim]],
) -> TierResult:
    """Say what a tier gets, and how each of its goals ended."""
    goals = plan.config.goals[tier.name]
    results: list[GoalResult] = []
    if chosen.candidate:
        found = choice.figures_for(next(row for row in rows if row.id == chosen.candidate), tier)
        claim = claims[chosen.candidate][tier.name]
        results = [
            GoalResult(kind="quality", asked=goals.asked["quality"], got=claim.quality, verdict=claim.verdict)
        ]
        for kind, limit in goals.limits.items():
            results.append(
                GoalResult(
                    kind=kind, asked=goals.asked[kind], got=found[limit.figure], verdict=limit.judge(found)
                )
            )
    holds = {trial.id: trial.holds.get(tier.name, False) for trial in trials.values()}
    missed = [goal.kind for goal in results if goal.verdict in ("missed", "not shown")]
    return TierResult(
        name=tier.name,
        description=tier.description,
        share=tier.share,
        machine=tier.machine,
        platform=tier.platform,
        runtimes=tier.runtimes,
        chosen=chosen.candidate,
        reason=chosen.reason,
        goals=tuple(results),
        reachable=choice.reachable(rows, holds, tier, missed) if missed else None,
    )


def home(trial: Trial, choices: Mapping[str, Choice], config: Config) -> str:
    """Return the tier whose floor a shipped variant is claimed against: the first that chose it."""
    users = [tier.name for tier in config.tiers if choices[tier.name].candidate == trial.id]
    return users[0] if users else config.tiers[0].name


def floor_notes(plan: Plan, reference: Judged) -> tuple[str, ...]:
    """Say where even equal answers would not show a floor: nothing but the original can be chosen then."""
    sizes = plan.splits.sizes()
    floors = dict.fromkeys(plan.config.goals[tier.name].floor for tier in plan.config.tiers)
    same = reference.rows.copy()
    return tuple(
        f"{sizes['test']} test samples cannot show that {floor} is held, not even by a file with equal answers: "
        "give more, or set a lower floor"
        for floor in floors
        if floor.absolute is None
        and margin_to_floor(plan.metric, same, reference.rows, floor)
        .rescaled(sizes["test"] / sizes["search"])
        .low
        < 0
    )


def cached_note(trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """Say how much was not built anew."""
    count = sum(trial.built is not None and trial.built.cached for trial in trials.values())
    return (f"{count} artifacts were taken from the cache of earlier builds",) if count else ()
