"""Goals as small policies of one method, that compose: `quality & size_below(5e6) & p95_below(30)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgewise.bundle.evidence import Figure
from edgewise.bundle.manifest import Verdict
from edgewise.errors import InputError
from edgewise.lab import settings
from edgewise.lab.data.interval import Floor
from edgewise.lab.fleet.tiers import GoalSection
from edgewise.lab.result import GoalKind
from edgewise.lab.units import parse_milliseconds, parse_quality, parse_size

__all__ = ["Asked", "AtMost", "Goals", "Policy", "goals_of"]

Figures = Mapping[str, Figure]
T = TypeVar("T")
Prefer = Literal["latency", "size"]
_ORDER: tuple[Verdict, ...] = ("missed", "not shown", "met")


class Policy:
    """Judges figures: met, not shown, missed, or not assessed where a figure's evidence is none."""

    def judge(self, figures: Figures) -> Verdict:
        """Return the verdict on one candidate's figures."""
        raise NotImplementedError

    def __and__(self, other: Policy) -> Policy:
        return _Both(self, other)

    def __or__(self, other: Policy) -> Policy:
        return _Either(self, other)


@dataclass(frozen=True, slots=True)
class _Both(Policy):
    first: Policy
    second: Policy

    def judge(self, figures: Figures) -> Verdict:
        assessed = [v for v in (self.first.judge(figures), self.second.judge(figures)) if v != "not assessed"]
        return min(assessed, key=_ORDER.index, default="not assessed")


@dataclass(frozen=True, slots=True)
class _Either(Policy):
    first: Policy
    second: Policy

    def judge(self, figures: Figures) -> Verdict:
        assessed = [v for v in (self.first.judge(figures), self.second.judge(figures)) if v != "not assessed"]
        return max(assessed, key=_ORDER.index, default="not assessed")


@dataclass(frozen=True, slots=True)
class AtMost(Policy):
    """A figure must not exceed `limit` (in the figure's unit), its whole interval included.

    A figure without an interval shows nothing, unless it is `exact`, as bytes are.
    """

    figure: str
    limit: float
    exact: bool = False

    def judge(self, figures: Figures) -> Verdict:  # noqa: D102
        found = figures.get(self.figure)
        if found is None or found.value is None:
            return "not assessed"
        if found.low is None and not self.exact:
            return "not shown"
        low = found.value if found.low is None else found.low
        high = found.value if found.high is None else found.high
        if high <= self.limit:
            return "met"
        return "missed" if low > self.limit else "not shown"


@dataclass(frozen=True, slots=True)
class Goals:
    """What one tier asks for: the quality floor, the limits on other figures, and what to prefer among the rest."""

    floor: Floor
    limits: dict[GoalKind, AtMost]
    asked: dict[str, str]
    prefer: Prefer


@dataclass(frozen=True, slots=True)
class Asked:
    """A section of goals, and where it was written: "goal" of edgewise.toml or "tier[1].goal" of fleet.toml."""

    section: GoalSection
    path: Path
    table: str = "goal"

    def where(self, key: str) -> str:
        """Return file, line and key, for a message."""
        return settings.where(self.path, f"{self.table}.{key}")


def goals_of(*asked: Asked, highest: float = math.inf) -> Goals:
    """Merge sections: the first that has a key decides. `highest` is the best value that the metric can have.

    Raises InputError naming file, line and key on a bad unit or an impossible goal.
    """
    limits: dict[GoalKind, AtMost] = {}
    said: dict[str, str] = {}
    for key, figure, parse in _LIMITS:
        text, place = _find(asked, key)
        if text is not None:
            limits[key] = AtMost(figure, _at(place, key, parse, text), exact=key == "size")
            said[key] = f"{key.replace('latency_', '')} ≤ {text}"
    floor = _floor(asked, highest)
    said["quality"] = f"quality ≥ {floor}"
    return Goals(floor, limits, said, _prefer(*_find(asked, "prefer")))


_LIMITS: tuple[tuple[GoalKind, str, Callable[[str], float]], ...] = (
    ("latency_p95", "p95", parse_milliseconds),
    ("size", "size", parse_size),
    ("memory", "memory", parse_size),
)


def _find(asked: tuple[Asked, ...], key: str) -> tuple[Any, Asked]:
    """Return the first value given for `key` (or None), and where it was written."""
    given = ((getattr(one.section, key), one) for one in asked)
    return next((pair for pair in given if pair[0] is not None), (None, asked[-1]))


def _floor(asked: tuple[Asked, ...], highest: float) -> Floor:
    text, place = _find(asked, "quality")
    share, absolute = _at(place, "quality", parse_quality, "99% of original" if text is None else text)
    if absolute is not None and absolute > highest:
        raise InputError(
            f"{place.where('quality')}: impossible goal {text!r}: the metric is never above {highest:g}"
        )
    margin, place = _find(asked, "margin")
    if margin is not None and not 0 <= margin < math.inf:
        raise InputError(f"{place.where('margin')}: {margin} is not a finite number of zero or more")
    return Floor(share, absolute, margin or 0.0)


def _prefer(text: str | None, place: Asked) -> Prefer:
    if text in (None, "latency"):
        return "latency"
    if text == "size":
        return "size"
    raise InputError(f"{place.where('prefer')}: {text!r} is not one of latency, size")


def _at(place: Asked, key: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{place.where(key)}: {error}") from error
