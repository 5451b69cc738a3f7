"""From a recipe to trials: exactly what it names is built, with no search; then it is judged and claimed as ever.

Every artifact is compared with the recorded digest. Where the bytes differ, a note says what else does: the model,
the calibration data, a library's version, the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgewise.errors import EdgewiseError, InputError, ToolchainError
from edgewise.lab.attempt import BASELINE
from edgewise.lab.choose import choice
from edgewise.lab.choose.choice import Choice
from edgewise.lab.plan import Plan
from edgewise.lab.recorded import MadeFrom, Recipe, Variant, made_from
from edgewise.lab.result import CandidateRow
from edgewise.lab.trial import Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop

__all__ = ["build", "choices", "notes", "own"]

_CHOICE = "where it was the choice: "
_SHORT = 12  # characters of a digest, as a reader compares them


def build(shop: Workshop, source: Path, recipe: Recipe, baseline: Trial, watcher: Watcher) -> list[Trial]:
    """Build what the recipe names; the original is not built. Raises ToolchainError where one cannot be."""
    watcher.stage(f"Building from {recipe.path.name}", len(recipe.variants))
    trials: dict[str, Trial] = {}
    for variant, candidate in zip(recipe.variants, recipe.candidates, strict=True):
        trial = baseline if variant.id == BASELINE else Trial(candidate, candidate.id)
        if trial is not baseline and trial.id not in trials:
            try:
                trial.built = shop.build(candidate, source)
            except InputError:
                raise
            except EdgewiseError as error:
                raise ToolchainError(f"{recipe.path}: {trial.id} cannot be built again: {error}") from error
            trials[trial.id] = trial
        watcher.step(trial.id)
    return list(trials.values())


def choices(
    plan: Plan, recipe: Recipe, rows: Sequence[CandidateRow], trials: Mapping[str, Trial]
) -> dict[str, Choice]:
    """Return what each tier gets: what the recipe says, else the usual choice among what was built."""
    said = {
        tier: (_id(one, n, recipe), why)
        for n, one in enumerate(recipe.variants)
        for tier, why in one.tiers.items()
    }
    ok = {row.id for row in rows if row.status == "ok"}
    found = {}
    for tier in plan.config.tiers:
        name, why = said.get(tier.name, (None, ""))
        if name in ok:
            found[tier.name] = Choice(
                name, f"taken from {recipe.path.name}, {_CHOICE}{why.rpartition(_CHOICE)[2]}"
            )
            continue
        holds = {trial.id: trial.holds.get(tier.name, False) for trial in trials.values()}
        made = choice.choose(own(recipe, rows), holds, tier, plan.config.goals[tier.name])
        found[tier.name] = Choice(made.candidate, f"of what {recipe.path.name} names: {made.reason}")
    return found


def own(recipe: Recipe, rows: Sequence[CandidateRow], runtime: str | None = None) -> tuple[CandidateRow, ...]:
    """Return the rows of what the recipe names; all, where none of those runs in `runtime`."""
    names = {_id(one, index, recipe) for index, one in enumerate(recipe.variants)}
    found = tuple(row for row in rows if row.id in names)
    return found if runtime is None or any(row.target == runtime for row in found) else tuple(rows)


def notes(plan: Plan, threads: int, recipe: Recipe, trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """Say that this was a rebuild, and for each artifact whether its bytes are the recorded ones."""
    now = made_from(plan, threads, tuple(candidate.target for candidate in recipe.candidates))
    other = tuple(_differences(recipe.made_from, now)) if recipe.made_from else ()
    first = f"built from {recipe.path.name}, without a search"
    said = [f"{first}; since then changed: {', '.join(other)}" if other else first]
    for index, variant in enumerate(recipe.variants):
        trial = trials[_id(variant, index, recipe)]
        said.append(_compared(variant, trial, recipe.made_from, other))
    return tuple(said)


def _id(variant: Variant, index: int, recipe: Recipe) -> str:
    return BASELINE if variant.id == BASELINE else recipe.candidates[index].id


def _compared(variant: Variant, trial: Trial, then: MadeFrom | None, other: Sequence[str]) -> str:
    digest = trial.artifact.artifact.digest
    if variant.artifact is None:
        return f"{trial.id}: built as {digest[:_SHORT]}; the recipe records no digest to compare"
    if digest == variant.artifact:
        return f"{trial.id}: the bytes equal the recorded {digest[:_SHORT]}"
    said = (
        f"{trial.id}: the bytes differ from the recorded {variant.artifact[:_SHORT]}: now {digest[:_SHORT]}"
    )
    if then is None:
        return f"{said}; a single row does not say what it was made from"
    return said if other else f"{said}, though nothing that is recorded differs: please report it"


def _differences(then: MadeFrom, now: MadeFrom) -> Iterator[str]:
    """Yield what differs of that which decides the bytes, and of the data that judges them."""
    if then.model != now.model:
        yield "the model"
    for split, digest in then.samples.items():
        if now.samples.get(split) != digest:
            yield f"the {split} data"
    for name, old in then.machine.items():
        if (new := now.machine.get(name, "missing")) != old:
            yield f"{name} {old} → {new}"
    for name, tools in then.toolchains.items():
        if name in now.toolchains and now.toolchains[name] != tools:
            yield f"the toolchain of {name}"
