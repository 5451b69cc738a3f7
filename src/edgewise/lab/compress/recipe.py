"""A candidate: one thing to try. Its recipe is data; the type of the method selects the code that applies it."""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from edgewise import targets
from edgewise.bundle.canonical import digest_document
from edgewise.errors import InputError
from edgewise.lab.train.students import AnyStudent
from edgewise.targets.building import Method, Precision

__all__ = ["Candidate", "Repair"]

Repair = Literal["equalised"]
"""What is done to the graph before any method, for any target: the function stays what it was."""


_AROUND = ("repairs", "student")
"""What a recipe holds beside the method."""


class Candidate(msgspec.Struct, frozen=True):
    """A method, for a target, after repairs of the source: the original, or the student trained in its place."""

    method: Method
    target: str
    repairs: tuple[Repair, ...] = ()
    student: AnyStudent | None = None

    @classmethod
    def of(cls, target: str, recipe: dict[str, Any]) -> Candidate:
        """Return the candidate of a recipe. Raises InputError for one that the target does not have."""
        known: Any = Union[targets.builder(target).METHODS]  # noqa: UP007 - its members are known at run time only
        method = {key: value for key, value in recipe.items() if key not in _AROUND}
        try:
            repairs = msgspec.convert(recipe.get("repairs", ()), tuple[Repair, ...])
            student = msgspec.convert(recipe.get("student"), AnyStudent | None)
            return cls(msgspec.convert(method, known), target, repairs, student)
        except msgspec.ValidationError as error:
            raise InputError(f"{target} has no such method: {recipe}: {error}") from error

    @property
    def recipe(self) -> dict[str, Any]:
        """The method, the repairs and the student as plain data."""
        recipe: dict[str, Any] = msgspec.to_builtins(self.method) | {"repairs": self.repairs}
        lists = {key: list(value) for key, value in recipe.items() if isinstance(value, tuple)}
        if self.student is not None:
            recipe["student"] = msgspec.to_builtins(self.student)
        return {key: value for key, value in (recipe | lists).items() if value not in ([], None)}

    @property
    def id(self) -> str:
        """Short name, unique among candidates: `openvino/openvino-ptq-mixed`, of a student `…~pruned-50`."""
        options = self.recipe
        name = options.pop("method")
        options.pop("version")
        repairs = options.pop("repairs", ())
        options.pop("student", None)
        student = f"~{self.student.name}" if self.student else ""
        usual = {one.name: one.default for one in msgspec.structs.fields(self.method)}
        words = (_word(key, value) for key, value in options.items() if not _silent(key, value, usual))
        parts = [name, *words, *repairs]
        return f"{self.target}/" + "-".join(part for part in parts if part) + student

    @property
    def precision(self) -> Precision:
        """The coarse class of arithmetic, for tables."""
        return self.method.precision


def _silent(key: str, value: object, usual: dict[str, object]) -> bool:
    """Tell whether an option goes without saying: a level that needs two words, and is the usual one."""
    return isinstance(value, int) and not isinstance(value, bool) and "_" in key and value == usual.get(key)


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key.replace("_", "-") if value else ""
    if isinstance(value, list):
        return f"{key}-{len(value)}-{digest_document(value)[:6]}"
    if isinstance(value, float):
        return f"{key}-{value:g}"
    if isinstance(value, int) and "_" in key:
        return f"{key.replace('_', '-')}-{value}"
    return str(value)
