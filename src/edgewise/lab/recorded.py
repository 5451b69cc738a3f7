"""`recipe.json`: what a build chose and what that was made from, so that it can be built again without a search.

    schema · producer · made_from (digests, versions, machine) · variants (target, recipe, artifact, size, tiers)

One row of a report will do as well: a document with `target` and `recipe`. Other fields are not looked at.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgewise import targets
from edgewise.bundle.canonical import digest_document
from edgewise.errors import InputError
from edgewise.lab import machine
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.data.splits import NAMES
from edgewise.lab.plan import Plan
from edgewise.lab.result import TierResult
from edgewise.lab.trial import Trial

__all__ = ["SCHEMA", "MadeFrom", "Recipe", "RecipeFile", "Variant", "document", "made_from", "read"]

K = TypeVar("K")
SCHEMA = "1.0"


class MadeFrom(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the bytes: the model, the calibration data, the tools; and what the judgement rests on.

    `samples`: the digest of each split. `machine`: platform, processor and versions of libraries. `toolchains`: what
    each target's artifacts were made by.
    """

    model: str
    samples: dict[str, str]
    seed: int
    machine: dict[str, str]
    toolchains: dict[str, str]
    threads: int


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact: how it is built, and what it was. `tiers`: those that chose it, each with the reason."""

    target: str
    recipe: dict[str, Any]
    id: str | None = None
    artifact: str | None = None
    size: int | None = None
    tiers: dict[str, str] = {}


class RecipeFile(msgspec.Struct, frozen=True, kw_only=True):
    """The document. A newer minor version of the schema may have more fields; another major one is refused."""

    schema: str
    producer: str
    made_from: MadeFrom
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A document that was read and checked; of a single row it is not known what it was made from."""

    path: Path
    variants: tuple[Variant, ...]
    candidates: tuple[Candidate, ...]
    made_from: MadeFrom | None


def made_from(plan: Plan, threads: int, names: tuple[str, ...]) -> MadeFrom:
    """Say what artifacts for the targets `names` are made from, here and now."""
    return MadeFrom(
        model=plan.model.digest,
        samples={name: _digest(getattr(plan.splits, name)) for name in NAMES},
        seed=plan.config.data.seed,
        machine=machine.describe(),
        toolchains={name: targets.builder(name).toolchain() for name in sorted(set(names))},
        threads=threads,
    )


def document(plan: Plan, threads: int, shipped: tuple[Trial, ...], tiers: tuple[TierResult, ...]) -> bytes:
    """Return the bytes of `recipe.json` for what a build shipped."""
    variants = tuple(
        Variant(
            id=trial.id,
            target=trial.candidate.target,
            recipe=trial.candidate.recipe,
            artifact=trial.artifact.artifact.digest,
            size=trial.artifact.artifact.size,
            tiers={tier.name: tier.reason for tier in tiers if tier.chosen == trial.id},
        )
        for trial in shipped
    )
    whole = RecipeFile(
        schema=SCHEMA,
        producer=f"edgewise {version('edgewise')}",
        made_from=made_from(plan, threads, tuple(one.target for one in variants)),
        variants=variants,
    )
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def read(path: Path) -> Recipe:
    """Read a recipe, or one row of a report. Raises InputError naming file and key."""
    content = _json(path)
    variants: tuple[Variant, ...]
    source: MadeFrom | None = None
    if {"target", "recipe"} <= content.keys():
        variants = (_converted(path, content, Variant),)
    elif "candidates" in content:
        raise InputError(
            f"{path} is a whole report: give recipe.json beside it, or one entry of its candidates"
        )
    else:
        _check_schema(path, content)
        whole = _converted(path, content, RecipeFile)
        variants, source = whole.variants, whole.made_from
    if not variants:
        raise InputError(f"{path}: variants: it lists none, so there is nothing to build")
    single = source is None
    candidates = tuple(
        _candidate(path, "" if single else f"variants[{index}].", one) for index, one in enumerate(variants)
    )
    return Recipe(path, variants, candidates, source)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}. Give the recipe.json of a build") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds no recipe but {type(content).__name__}: give the recipe.json of a build"
        )
    return content


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    found = content.get("schema")
    if not isinstance(found, str) or not re.fullmatch(r"\d+\.\d+", found):
        raise InputError(f"{path}: schema: it is {found!r}, and a recipe has one such as {SCHEMA!r}")
    if found.partition(".")[0] != SCHEMA.partition(".")[0]:
        raise InputError(
            f"{path}: schema: this edgewise reads {SCHEMA}, the file has {found}: use a newer edgewise"
        )


def _converted(path: Path, content: dict[str, Any], kind: type[K]) -> K:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        key = place.rstrip("`").lstrip(".")
        raise InputError(f"{path}: {f'{key}: ' if key else ''}{reason}") from error


def _candidate(path: Path, key: str, variant: Variant) -> Candidate:
    try:
        targets.builder(variant.target)
    except InputError as error:
        raise InputError(f"{path}: {key}target: {error}") from error
    try:
        return Candidate.of(variant.target, variant.recipe)
    except InputError as error:
        raise InputError(f"{path}: {key}recipe: {error}") from error


def _digest(samples: tuple[Sample, ...]) -> str:
    return digest_document([sample.digest() for sample in samples])
