"""The main job as a story: a search, a choice, a claim.

    check → screen → search: build, look, judge, widen, protect → time → choose → claim → execute place by place

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
from edgewise.lab.choose.choice import Choice
from edgewise.lab.config import Config
from edgewise.lab.engine import Engine
from edgewise.lab.plan import Plan, prepare
from edgewise.lab.recorded import Recipe
from edgewise.lab.result import CandidateRow, Cell, Claim, TierResult
from edgewise.lab.search.ladder import Ladder
from edgewise.lab.search.look import Looks
from edgewise.lab.search.screen import screen
from edgewise.lab.search.students import teach
from edgewise.lab.trial import Trial
from edgewise.lab.watcher import Silent, Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["Outcome", "run"]

SCREENED = 8  # calibration samples


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


def _searched(ladder: Ladder, baseline: Trial) -> tuple[str, ...]:
    """Search, and return what there is to note of it."""
    ladder.begin(baseline)
    trained = teach(ladder)
    ladder.end()
    return (*ladder.screened.notes, *(note for one in trained for note in one.done.notes))


def _chosen(
    plan: Plan, recipe: Recipe | None, rows: tuple[CandidateRow, ...], trials: dict[str, Trial]
) -> tuple[dict[str, Choice], tuple[CandidateRow, ...]]:
    """Return what each tier gets, and the rows from which a fallback may be taken."""
    if recipe:
        return replay.choices(plan, recipe, rows, trials), replay.own(recipe, rows, plan.model.runtime)
    return {tier.name: conclude.choose(plan, rows, trials, tier) for tier in plan.config.tiers}, rows


def run(
    config: Config,
    cache: Cache,
    scratch: Path,
    watcher: Watcher | None = None,
    recipe: Recipe | None = None,
    engine: Engine | None = None,
) -> Outcome:
    """Do the main job, with `scratch` for files that nobody keeps; with a recipe, what that names is built instead of a search.

    Raises InputError on bad input, and when the original cannot be run.
    """
    watcher = watcher or Silent()
    start = time.monotonic()
    plan = prepare(config, cache)
    shop = Workshop(plan, cache, scratch, engine)
    source, notes = attempt.source_of(plan, shop)
    baseline = attempt.baseline_of(plan, shop)
    p50 = attempt.tune(shop, baseline, watcher)
    reference = attempt.judge_baseline(shop, baseline)
    attempt.apply_floors(plan, [baseline], reference)
    looks = Looks.at(shop, baseline, p50)
    screened = screen(plan.model, [sample.inputs for sample in plan.splits.calibration[:SCREENED]])
    ladder = Ladder(plan, shop, source, screened, looks, reference, watcher)
    found = replay.build(ladder, baseline, recipe) if recipe else _searched(ladder, baseline)
    trials = {trial.id: trial for trial in ladder.trials}
    attempt.race(plan, shop, trials, p50, watcher)
    rows = conclude.rows(plan, shop, trials)
    choices, able = _chosen(plan, recipe, rows, trials)
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
            *conclude.floor_notes(plan, reference),
            *plan.notes,
            *unproven,
            *notes,
            *found,
            *conclude.cached_note(trials),
        ),
    )
