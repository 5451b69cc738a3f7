"""From a recipe to trials: exactly what it names is built, with no search; then it is judged and claimed as ever.

Every artifact is compared with the recorded digest. Where the bytes differ, a note says what else does: the model,
the calibration data, a library's version, the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgewise.errors import InputError, ToolchainError
from edgewise.lab.attempt import BASELINE
from edgewise.lab.choose import choice
from edgewise.lab.choose.choice import Choice
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.jobs import JobError
from edgewise.lab.plan import Plan
from edgewise.lab.recorded import MadeFrom, Recipe, Variant, made_from
from edgewise.lab.result import CandidateRow
from edgewise.lab.search.ladder import Ladder
from edgewise.lab.trial import Trial

__all__ = ["build", "choices", "own"]

_CHOICE = "where it was the choice: "
_SHORT = 12  # characters of a digest, as a reader compares them


def build(ladder: Ladder, baseline: Trial, recipe: Recipe) -> tuple[str, ...]:
    """Build, look at and judge what the recipe names, and return what there is to note.

    The original is not built. Raises ToolchainError where one cannot be built again.
    """
    ladder.trials = [baseline]
    wanted = [
        candidate
        for variant, candidate in zip(recipe.variants, recipe.candidates, strict=True)
        if variant.id != BASELINE
    ]
    _teach(ladder, recipe, wanted)
    ladder.judge(ladder.try_out(wanted))
    for trial in ladder.trials:
        if trial.built is None:
            raise ToolchainError(f"{recipe.path}: {trial.id} cannot be built again: {trial.reason}")
    trials = {trial.id: trial for trial in ladder.trials}
    return tuple(_notes(ladder.plan, ladder.shop.threads, recipe, trials))


def _teach(ladder: Ladder, recipe: Recipe, wanted: Sequence[Candidate]) -> None:
    """Train the students that candidates are built from. Raises InputError where there is nothing to train with."""
    for student in dict.fromkeys(candidate.student for candidate in wanted):
        if student is None:
            continue
        training = ladder.plan.training
        if training is None:
            raise InputError(
                f"{recipe.path}: {student.name} is a trained student: name its samples under [train] in "
                f"{ladder.plan.config.path}"
            )
        try:
            ladder.sources[student] = ladder.shop.train(student, ladder.sources[None], training).source
        except JobError as error:
            raise ToolchainError(f"{recipe.path}: {student.name} cannot be trained again: {error}") from error


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


def _notes(plan: Plan, threads: int, recipe: Recipe, trials: Mapping[str, Trial]) -> Iterator[str]:
    """Say that this was a rebuild, and for each artifact whether its bytes are the recorded ones."""
    now = made_from(plan, threads, tuple(candidate.target for candidate in recipe.candidates))
    other = tuple(_differences(recipe.made_from, now)) if recipe.made_from else ()
    first = f"built from {recipe.path.name}, without a search"
    yield f"{first}; since then changed: {', '.join(other)}" if other else first
    for index, variant in enumerate(recipe.variants):
        yield _compared(variant, trials[_id(variant, index, recipe)], recipe.made_from, other)


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
