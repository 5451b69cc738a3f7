"""A candidate: one thing to try. Its recipe is data; the type of the method selects the code that applies it."""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from edgewise import targets
from edgewise.bundle.canonical import digest_document
from edgewise.errors import InputError
from edgewise.targets.building import Method, Precision

__all__ = ["Candidate", "Repair"]

Repair = Literal["equalised"]
"""What is done to the graph before any method, for any target: the function stays what it was."""


class Candidate(msgspec.Struct, frozen=True):
    """A method, for a target, after repairs of the source."""

    method: Method
    target: str
    repairs: tuple[Repair, ...] = ()

    @classmethod
    def of(cls, target: str, recipe: dict[str, Any]) -> Candidate:
        """Return the candidate of a recipe. Raises InputError for one that the target does not have."""
        known: Any = Union[targets.builder(target).METHODS]  # noqa: UP007 - its members are known at run time only
        method = {key: value for key, value in recipe.items() if key != "repairs"}
        try:
            repairs = msgspec.convert(recipe.get("repairs", ()), tuple[Repair, ...])
            return cls(msgspec.convert(method, known), target, repairs)
        except msgspec.ValidationError as error:
            raise InputError(f"{target} has no such method: {recipe}: {error}") from error

    @property
    def recipe(self) -> dict[str, Any]:
        """The method and the repairs as plain data."""
        recipe: dict[str, Any] = msgspec.to_builtins(self.method) | {"repairs": self.repairs}
        lists = {key: list(value) for key, value in recipe.items() if isinstance(value, tuple)}
        return {key: value for key, value in (recipe | lists).items() if value not in ([], None)}

    @property
    def id(self) -> str:
        """Short name, unique among candidates: `openvino/openvino-ptq-mixed`."""
        options = self.recipe
        name = options.pop("method")
        options.pop("version")
        repairs = options.pop("repairs", ())
        parts = [name, *(_word(key, value) for key, value in options.items()), *repairs]
        return f"{self.target}/" + "-".join(part for part in parts if part)

    @property
    def precision(self) -> Precision:
        """The coarse class of arithmetic, for tables."""
        return self.method.precision


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
