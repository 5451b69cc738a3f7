"""The main job as a story: a search, a choice, a claim.

    check → screen → build → a first look → judge → protect → time → choose → claim → execute once more, place by place

Search decides, test claims: candidates are judged on the search split; the original and the chosen variants
meet the test split once, at the end. Nothing here writes outside the cache and a scratch folder; `pack` and the
report turn the outcome into files.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgewise.cache import Cache
from edgewise.lab import attempt, conclude, prove, replay
from edgewise.lab.config import Config
from edgewise.lab.plan import Plan, prepare
from edgewise.lab.recorded import Recipe
from edgewise.lab.result import CandidateRow, Cell, Claim, TierResult
from edgewise.lab.search import proxy
from edgewise.lab.search.protect import protect
from edgewise.lab.search.screen import Screen, screen
from edgewise.lab.trial import Trial
from edgewise.lab.watcher import Silent, Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["Outcome", "run"]


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
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]


def run(
    config: Config,
    cache: Cache,
    scratch: Path,
    watcher: Watcher | None = None,
    recipe: Recipe | None = None,
) -> Outcome:
    """Do the main job, with `scratch` for files that nobody keeps; with a recipe, what that names is built instead of a search.

    Raises InputError on bad input, and when the original cannot be run.
    """
    watcher = watcher or Silent()
    start = time.monotonic()
    plan = prepare(config, cache)
    shop = Workshop(plan, cache, scratch)
    source, notes = attempt.source_of(plan, shop)
    baseline = attempt.baseline_of(plan, shop)
    timed = attempt.tune(shop, baseline, watcher)
    reference = attempt.judge_baseline(shop, baseline)
    screened = Screen() if recipe else screen(plan.model)
    if recipe:
        found = replay.build(shop, source, recipe, baseline, watcher)
    else:
        found = attempt.build_all(plan, shop, source, screened, watcher)
        proxy.pass_over(shop, baseline, found, watcher)
    attempt.judge_all(shop, found, reference, watcher)
    trials = {trial.id: trial for trial in (baseline, *found)}
    attempt.apply_floors(plan, trials, reference)
    more = [] if recipe else protect(plan, shop, source, found, reference, watcher)
    trials |= {trial.id: trial for trial in more}
    attempt.race(plan, shop, trials, timed, watcher)
    rows = conclude.rows(plan, shop, trials)
    if recipe:
        choices, able = (
            replay.choices(plan, recipe, rows, trials),
            replay.own(recipe, rows, plan.model.runtime),
        )
    else:
        choices, able = {tier.name: conclude.choose(plan, rows, trials, tier) for tier in config.tiers}, rows
    shipped = conclude.shipped(plan, able, trials, choices)
    claims = conclude.claim(plan, shop, baseline, shipped, watcher)
    where, unproven = prove.places(config)
    cells = prove.prove(plan, shop, baseline, shipped, where, watcher)
    tiers = (
        conclude.tier_result(plan, rows, trials, tier, choices[tier.name], claims) for tier in config.tiers
    )
    return Outcome(
        plan=plan,
        threads=shop.threads,
        rounds=config.measure.rounds,
        seconds=time.monotonic() - start,
        trials=trials,
        rows=rows,
        tiers=tuple(tiers),
        claims=tuple(claims[trial.id][conclude.home(trial, choices, config)] for trial in shipped),
        shipped=shipped,
        cells=cells,
        notes=(
            *(replay.notes(plan, shop.threads, recipe, trials) if recipe else ()),
            *conclude.floor_notes(plan, reference),
            *plan.notes,
            *unproven,
            *notes,
            *screened.notes,
            *conclude.cached_note(trials),
        ),
    )
