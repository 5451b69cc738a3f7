"""A candidate: one thing to try. Its recipe is data; the type of the method selects the code that applies it."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from edgewise import targets
from edgewise.errors import InputError
from edgewise.targets.building import Method, Precision

__all__ = ["Candidate"]


class Candidate(msgspec.Struct, frozen=True):
    """A method, for a target."""

    method: Method
    target: str

    @classmethod
    def of(cls, target: str, recipe: dict[str, Any]) -> Candidate:
        """Return the candidate of a recipe. Raises InputError for one that the target does not have."""
        known: Any = Union[targets.builder(target).METHODS]  # noqa: UP007 - its members are known at run time only
        try:
            return cls(msgspec.convert(recipe, known), target)
        except msgspec.ValidationError as error:
            raise InputError(f"{target} has no such method: {recipe}: {error}") from error

    @property
    def recipe(self) -> dict[str, Any]:
        """The method as plain data."""
        recipe: dict[str, Any] = msgspec.to_builtins(self.method)
        return recipe

    @property
    def id(self) -> str:
        """Short name, unique among candidates: `openvino/openvino-ptq-mixed`."""
        options = self.recipe
        name = options.pop("method")
        options.pop("version")
        parts = [name, *(_word(key, value) for key, value in options.items())]
        return f"{self.target}/" + "-".join(part for part in parts if part)

    @property
    def precision(self) -> Precision:
        """The coarse class of arithmetic, for tables."""
        return self.method.precision


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key.replace("_", "-") if value else ""
    return str(value)
