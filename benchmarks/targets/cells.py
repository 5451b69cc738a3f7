"""The cells that benchmarks/targets.toml lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgewise.bundle.golden import Difference
from edgewise.errors import InputError
from edgewise.targets.building import Precision

__all__ = ["FILE", "Aim", "Cell", "read"]

FILE = Path(__file__).parent.parent / "targets.toml"


class Aim(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a cell has to reach: a relative difference at most, or a share of equal decisions at least.

    `rms` is as in `golden.Difference`: the norm of the difference over that of the original's answers.
    """

    rms: float | None = None
    agreement: float | None = None

    def reached(self, found: Difference) -> bool:
        """Tell whether a difference is within it."""
        near = self.rms is None or found.rms <= self.rms
        return near and (self.agreement is None or found.agreement >= self.agreement)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One model for one target by one recipe in one place, on `samples` at most.

    `missing` says why it cannot be, `short` why it falls short of its aim.
    """

    model: str
    target: str
    column: str
    place: str
    precision: Precision
    recipe: dict[str, Any]
    aim: Aim
    samples: int
    missing: str | None = None
    short: str | None = None

    @property
    def id(self) -> str:
        """Short name, unique among cells: `ppocr/openvino/int8@x86-64`."""
        return f"{self.model}/{self.target}/{self.column}@{self.place}"


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    places: tuple[str, ...]
    columns: tuple[str, ...]


class _Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    reason: str
    target: str | None = None
    model: str | None = None
    place: str | None = None
    column: str | None = None

    def covers(self, model: str, target: str, column: str, place: str) -> bool:
        asked = (self.model or model, self.target or target, self.column or column, self.place or place)
        return asked == (model, target, column, place)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[str, ...]
    aims: dict[Precision, Aim]
    places: dict[str, dict[str, int]]
    recipes: dict[str, dict[str, Any]]
    columns: dict[str, dict[str, str | dict[str, str]]]
    cells: tuple[_Group, ...]
    missing: tuple[_Known, ...] = ()
    short: tuple[_Known, ...] = ()


def read(path: Path = FILE) -> tuple[Cell, ...]:
    """Return all cells in the order of the file. Raises InputError for a name that the file does not define."""
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
        return tuple(_cells(file))
    except (msgspec.MsgspecError, KeyError) as error:
        raise InputError(f"{path} is no list of cells: {error}") from error


def _cells(file: _File) -> Iterator[Cell]:
    for group in file.cells:
        for place in group.places:
            for column in group.columns:
                recipes = _recipes(file, group.target, column)
                yield from (
                    _cell(file, model, group.target, column, place, recipe)
                    for model, recipe in recipes.items()
                )


def _recipes(file: _File, target: str, column: str) -> dict[str, str]:
    """Return the name of each model's recipe."""
    found = file.columns[target][column]
    return dict.fromkeys(file.models, found) if isinstance(found, str) else found


def _cell(file: _File, model: str, target: str, column: str, place: str, recipe: str) -> Cell:
    options = dict(file.recipes[recipe])
    precision = options.pop("precision")

    def known(listed: tuple[_Known, ...]) -> str | None:
        return next((one.reason for one in listed if one.covers(model, target, column, place)), None)

    return Cell(
        model=model,
        target=target,
        column=column,
        place=place,
        precision=precision,
        recipe=options,
        aim=file.aims[precision],
        samples=file.places[place].get(model, file.places[place]["most"]),
        missing=known(file.missing),
        short=known(file.short),
    )
