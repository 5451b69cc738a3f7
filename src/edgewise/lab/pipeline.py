"""The main job as a story: check → try → measure → choose → claim.

Search decides, test claims: every candidate is judged on the search split; the original and the chosen variants
meet the test split once, at the end. Nothing here writes outside the cache and a scratch folder; `pack` and the
report turn the outcome into files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnx

from edgewise.errors import EdgewiseError, InputError
from edgewise.lab import figures, jobs, machine
from edgewise.lab.cache import Cache
from edgewise.lab.choose import choice
from edgewise.lab.choose.choice import Choice
from edgewise.lab.choose.pareto import front
from edgewise.lab.compress.enumerate import candidates, is_transformer
from edgewise.lab.compress.operators import operators
from edgewise.lab.compress.recipe import Candidate, Original
from edgewise.lab.config import Config
from edgewise.lab.data.interval import Floor, Interval, interval_of, margin_to_floor, verdict
from edgewise.lab.data.metrics import Agreement
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.measure import rounds
from edgewise.lab.measure.worker import Measured
from edgewise.lab.model.simplify import simplify
from edgewise.lab.plan import Plan, prepare
from edgewise.lab.result import CandidateRow, Claim, GoalResult, TierResult
from edgewise.lab.trial import Built, Judged, Workshop

__all__ = ["BASELINE", "Outcome", "Trial", "Watcher", "run"]

BASELINE = "original"  # the user's own file, in ONNX Runtime with its default options
RUNTIME = "onnxruntime"
CONTENDER = 1.5  # times the fastest that holds the floor: slower ones are not timed in rounds


class Watcher(Protocol):
    """Follows a build; the CLI draws it, a test records it."""

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage of `steps` steps."""

    def step(self, what: str) -> None:
        """Finish one step."""


class Silent:
    """Watches nothing."""

    def stage(self, title: str, steps: int) -> None:
        """Ignore it."""

    def step(self, what: str) -> None:
        """Ignore it."""


@dataclass(slots=True)
class Trial:
    """A candidate with what is known of it so far."""

    candidate: Candidate
    id: str
    built: Built | None = None
    judged: Judged | None = None
    reason: str | None = None
    seconds: float = 0.0
    rounds: list[Measured] = field(default_factory=list)
    margins: dict[str, Interval] = field(default_factory=dict)
    holds: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build found out; `shipped` are the trials whose variants go into the bundle."""

    plan: Plan
    threads: int
    rounds: int
    seconds: float
    trials: dict[str, Trial]
    rows: tuple[CandidateRow, ...]
    tiers: tuple[TierResult, ...]
    claims: tuple[Claim, ...]
    shipped: tuple[Trial, ...]
    notes: tuple[str, ...]


def run(config: Config, cache: Cache, scratch: Path, watcher: Watcher | None = None) -> Outcome:
    """Do the main job, with `scratch` for files that nobody keeps. Raises InputError on bad input, ToolchainError when the original cannot be run."""
    watcher = watcher or Silent()
    start = time.monotonic()
    plan = prepare(config)
    shop = Workshop(plan, cache, scratch)
    source, notes = _source(plan, shop)
    baseline = _baseline(plan, shop)
    timed = _tune(shop, baseline, watcher)
    reference = _judge_baseline(shop, baseline, timed)
    trials = {BASELINE: baseline} | _try_all(plan, shop, source, reference, timed, watcher)
    _apply_floors(plan, trials, reference)
    _time_contenders(plan, shop, trials, timed, watcher)
    rows = _rows(plan, shop, trials)
    choices = {tier.name: _choose(plan, rows, trials, tier) for tier in config.tiers}
    shipped = _shipped(plan, rows, trials, choices)
    claims = _claim(plan, shop, baseline, shipped, watcher)
    tiers = tuple(_tier_result(plan, rows, trials, tier, choices[tier.name], claims) for tier in config.tiers)
    return Outcome(
        plan=plan,
        threads=shop.threads,
        rounds=config.measure.rounds,
        seconds=time.monotonic() - start,
        trials=trials,
        rows=rows,
        tiers=tiers,
        claims=tuple(claims[trial.id][_home(trial, choices, config)] for trial in shipped),
        shipped=shipped,
        notes=(*plan.notes, *notes, *_cached_note(trials)),
    )


def _source(plan: Plan, shop: Workshop) -> tuple[Path, tuple[str, ...]]:
    """Write the file that candidates are built from: the model, simplified where that changes no result."""
    feeds = [sample.inputs for sample in plan.splits.calibration[:4]]
    slim = simplify(plan.model, feeds)
    path = shop.scratch / "source.onnx"
    onnx.save(slim.model, path)
    return path, (slim.note,) if slim.note else ()


def _baseline(plan: Plan, shop: Workshop) -> Trial:
    """Take the user's file as it came (external data folded into one file)."""
    path = shop.scratch / "original" / "model.onnx"
    path.parent.mkdir()
    if plan.model.size == plan.model.path.stat().st_size:
        shutil.copyfile(plan.model.path, path)
    else:
        onnx.save(plan.model.proto, path)
    built = shop.adopt(path, operators(path, "onnx"))
    return Trial(Candidate(Original(), RUNTIME), BASELINE, built=built)


def _tune(shop: Workshop, baseline: Trial, watcher: Watcher) -> int:
    """Set the thread count that is quickest for the original, and return how many samples to time per round."""
    counts = [shop.threads] if shop.plan.config.measure.threads else _thread_counts()
    watcher.stage("Tuning threads on the original", len(counts))
    best: tuple[float, int] = (float("inf"), counts[0])
    for count in counts:
        try:
            p50 = shop.time(_artifact(baseline), RUNTIME, 30, threads=count).quantile(0.5)
        except jobs.JobError as error:
            raise InputError(f"{shop.plan.model.path} does not run in ONNX Runtime: {error}") from error
        best = min(best, (p50 * 1.03 ** counts.index(count), count))  # more threads must earn their keep
        watcher.step(f"{count} thread{'s' * (count > 1)}: {p50:.3g} ms")
    shop.threads = best[1]
    return int(min(200, max(20, ROUND_MS / best[0])))


ROUND_MS = 1500.0  # how long the timed part of one round should take for the original


def _thread_counts() -> list[int]:
    most = machine.cores()
    return sorted({1, *(2**k for k in range(1, 6) if 2**k <= most), most})


def _judge_baseline(shop: Workshop, baseline: Trial, timed: int) -> Judged:
    try:
        baseline.judged = shop.judge(_artifact(baseline), RUNTIME, "search", reference=None, timed=timed)
    except jobs.JobError as error:
        raise InputError(f"{shop.plan.model.path} does not run in ONNX Runtime: {error}") from error
    return baseline.judged


def _try_all(
    plan: Plan, shop: Workshop, source: Path, reference: Judged, timed: int, watcher: Watcher
) -> dict[str, Trial]:
    """Build every candidate, then judge each; whatever fails becomes its reason."""
    wanted = {name for tier in plan.config.tiers for name in tier.runtimes} | {RUNTIME}
    found = candidates(targets=sorted(wanted), transformer=is_transformer(plan.model.proto))
    trials = [Trial(candidate, candidate.id) for candidate in found]
    _build_all(shop, trials, source, watcher)
    watcher.stage("Judging on the search split", len(trials))
    for trial in trials:
        with _reasoned(trial):
            if trial.built:
                target = trial.candidate.target
                trial.judged = shop.judge(trial.built, target, "search", reference=reference, timed=timed)
        watcher.step(f"{trial.id}: {trial.reason or 'answers'}")
    return {trial.id: trial for trial in trials}


def _build_all(shop: Workshop, trials: list[Trial], source: Path, watcher: Watcher) -> None:
    watcher.stage("Building candidates", len(trials))
    shop.store("calibration")

    def build(trial: Trial) -> None:
        with _reasoned(trial):
            trial.built = shop.build(trial.candidate, source)

    jobs.side_by_side(
        build,
        trials,
        at_once=machine.builders(shop.plan.model.size),
        stop=shop.stop,
        done=lambda trial: watcher.step(f"{trial.id}: {trial.reason or 'built'}"),
    )


@contextmanager
def _reasoned(trial: Trial) -> Iterator[None]:
    """Make a failure the trial's reason, and add up the time; the user's own mistakes stop the build."""
    start = time.monotonic()
    try:
        yield
    except InputError:
        raise
    except EdgewiseError as error:
        trial.reason = str(error)
    trial.seconds += time.monotonic() - start


def _apply_floors(plan: Plan, trials: Mapping[str, Trial], reference: Judged) -> None:
    """Ask of every candidate, per floor: would test show it met, if test looked like search?"""
    sizes = plan.splits.sizes()
    factor = sizes["test"] / sizes["search"]
    floors = {tier.name: plan.config.goals[tier.name].floor for tier in plan.config.tiers}
    for trial in trials.values():
        if trial.judged is None:
            continue
        known: dict[Floor, Interval] = {}
        for name, floor in floors.items():
            if floor not in known:
                known[floor] = margin_to_floor(plan.metric, trial.judged.rows, reference.rows, floor)
            trial.margins[name] = known[floor]
            trial.holds[name] = known[floor].rescaled(factor).low >= 0


def _time_contenders(
    plan: Plan, shop: Workshop, trials: Mapping[str, Trial], timed: int, watcher: Watcher
) -> None:
    """Time those that could be chosen where speed counts, in interleaved rounds, with the original among them."""
    names = _contenders(plan, trials)
    count = plan.config.measure.rounds
    watcher.stage("Timing in interleaved rounds", len(names) * count)

    def once(name: str) -> Measured | None:
        trial = trials[name]
        try:
            measured = shop.time(_artifact(trial), trial.candidate.target, timed)
        except jobs.JobError as error:
            trial.reason, trial.judged = f"failed while it was timed: {error}", None
            return None
        watcher.step(f"{name}: {measured.quantile(0.5):.3g} ms")
        return measured

    for name, measured in rounds.interleave(names, count, once).items():
        trials[name].rounds = measured


def _contenders(plan: Plan, trials: Mapping[str, Trial]) -> list[str]:
    names = [BASELINE]
    for tier in plan.config.tiers:
        if not tier.here:
            continue
        able = [t for t in trials.values() if t.judged and t.candidate.target in tier.runtimes]
        able = [t for t in able if t.holds[tier.name]] or able
        quickest = min((_screened(t) for t in able), default=0.0)
        names += [t.id for t in able if _screened(t) <= CONTENDER * quickest]
    return list(dict.fromkeys(names))


def _screened(trial: Trial) -> float:
    assert trial.judged is not None
    return trial.judged.measured.quantile(0.5)


def _rows(plan: Plan, shop: Workshop, trials: Mapping[str, Trial]) -> tuple[CandidateRow, ...]:
    on = f"{machine.describe()['platform']}, {shop.threads} thread{'s' * (shop.threads > 1)}"
    rows = [figures.row(plan, trial, on) for trial in trials.values()]
    ok = [row for row in rows if row.status == "ok"]
    flags = front([figures.coordinates(row) for row in ok])
    on_front = {row.id for row, flag in zip(ok, flags, strict=True) if flag}
    return tuple(figures.with_pareto(row, pareto=row.id in on_front) for row in rows)


def _choose(plan: Plan, rows: tuple[CandidateRow, ...], trials: Mapping[str, Trial], tier: Tier) -> Choice:
    holds = {trial.id: trial.holds.get(tier.name, False) for trial in trials.values()}
    return choice.choose(rows, holds, tier, plan.config.goals[tier.name])


def _shipped(
    plan: Plan, rows: tuple[CandidateRow, ...], trials: Mapping[str, Trial], choices: Mapping[str, Choice]
) -> tuple[Trial, ...]:
    """Return the chosen variants, and one for the base install's runtime where none of them runs there."""
    names = dict.fromkeys(c.candidate for c in choices.values() if c.candidate)
    if names and all(trials[name].candidate.target != RUNTIME for name in names):
        tier = plan.config.tiers[0]
        anywhere = Tier(name=tier.name, share=1.0, machine=tier.machine, runtimes=(RUNTIME,))
        fallback = _choose(plan, rows, trials, anywhere).candidate
        names |= {fallback: None} if fallback else {}
    return tuple(trials[name] for name in names)


def _claim(
    plan: Plan, shop: Workshop, baseline: Trial, shipped: tuple[Trial, ...], watcher: Watcher
) -> dict[str, dict[str, Claim]]:
    """Judge the original and what ships on the test split: claims by candidate, then by tier."""
    watcher.stage("Claiming on the test split", len(shipped) + 1)
    on = machine.describe()["platform"]
    reference = shop.judge(_artifact(baseline), RUNTIME, "test", reference=None, timed=1)
    watcher.step(BASELINE)
    claims: dict[str, dict[str, Claim]] = {}
    for trial in shipped:
        judged = (
            reference
            if trial.id == BASELINE
            else shop.judge(_artifact(trial), trial.candidate.target, "test", reference=reference, timed=1)
        )
        claims[trial.id] = {
            tier.name: _one_claim(plan, trial.id, judged, reference, plan.config.goals[tier.name].floor, on)
            for tier in plan.config.tiers
        }
        watcher.step(trial.id)
    return claims


def _one_claim(plan: Plan, name: str, judged: Judged, reference: Judged, floor: Floor, on: str) -> Claim:
    metric = plan.metric
    margin = margin_to_floor(metric, judged.rows, reference.rows, floor)
    original = interval_of(metric, reference.rows)
    return Claim(
        candidate=name,
        quality=figures.interval_figure(interval_of(metric, judged.rows), metric.unit, "test", on),
        original=figures.interval_figure(original, metric.unit, "test", on),
        floor=float(floor.at(original.value, higher_is_better=metric.higher_is_better)),
        margin=figures.interval_figure(margin, metric.unit, "test", on),
        agreement=figures.interval_figure(interval_of(Agreement(), judged.agreement), "share", "test", on),
        verdict=verdict(margin),
    )


def _tier_result(
    plan: Plan,
    rows: tuple[CandidateRow, ...],
    trials: Mapping[str, Trial],
    tier: Tier,
    chosen: Choice,
    claims: Mapping[str, dict[str, Claim]],
) -> TierResult:
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


def _home(trial: Trial, choices: Mapping[str, Choice], config: Config) -> str:
    """Return the tier whose floor a shipped variant is claimed against: the first that chose it."""
    users = [tier.name for tier in config.tiers if choices[tier.name].candidate == trial.id]
    return users[0] if users else config.tiers[0].name


def _artifact(trial: Trial) -> Built:
    assert trial.built is not None
    return trial.built


def _cached_note(trials: Mapping[str, Trial]) -> tuple[str, ...]:
    count = sum(trial.built is not None and trial.built.cached for trial in trials.values())
    return (f"{count} artifacts were taken from the cache of earlier builds",) if count else ()
