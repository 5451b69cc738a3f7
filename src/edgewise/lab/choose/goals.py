"""Goals as small policies of one method, that compose: `quality & size_below(5e6) & p95_below(30)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from edgewise.bundle.evidence import Figure
from edgewise.bundle.manifest import Verdict
from edgewise.errors import InputError
from edgewise.lab import settings
from edgewise.lab.data.interval import Floor
from edgewise.lab.fleet.tiers import GoalSection, Tier
from edgewise.lab.result import GoalKind
from edgewise.lab.units import parse_milliseconds, parse_quality, parse_size

__all__ = ["AtLeast", "AtMost", "Goals", "Policy", "goals_of"]

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
    """A figure must not exceed `limit` (in the figure's unit), its whole interval included."""

    figure: str
    limit: float

    def judge(self, figures: Figures) -> Verdict:  # noqa: D102
        found = figures.get(self.figure)
        if found is None or found.value is None:
            return "not assessed"
        low = found.value if found.low is None else found.low
        high = found.value if found.high is None else found.high
        if high <= self.limit:
            return "met"
        return "missed" if low > self.limit else "not shown"


@dataclass(frozen=True, slots=True)
class AtLeast(Policy):
    """A figure must reach `limit`, its whole interval included."""

    figure: str
    limit: float

    def judge(self, figures: Figures) -> Verdict:  # noqa: D102
        found = figures.get(self.figure)
        if found is None or found.value is None:
            return "not assessed"
        low = found.value if found.low is None else found.low
        high = found.value if found.high is None else found.high
        if low >= self.limit:
            return "met"
        return "missed" if high < self.limit else "not shown"


@dataclass(frozen=True, slots=True)
class Goals:
    """What one tier asks for: the quality floor, the limits on other figures, and what to prefer among the rest."""

    floor: Floor
    limits: dict[GoalKind, AtMost]
    asked: dict[str, str]
    prefer: Prefer


def goals_of(common: GoalSection, tier: Tier, path: Path) -> Goals:
    """Merge `[goal]` with the tier's own. Raises InputError naming key and line on a bad unit or goal."""
    limits: dict[GoalKind, AtMost] = {}
    asked: dict[str, str] = {}
    for key, figure, parse in _LIMITS:
        text = getattr(tier.goal, key) or getattr(common, key)
        if text:
            limits[key] = AtMost(figure, _at(path, key, parse, text))
            asked[key] = f"{key.replace('latency_', '')} ≤ {text}"
    floor = _floor(common, tier, path)
    asked["quality"] = f"quality ≥ {floor}"
    return Goals(floor, limits, asked, _prefer(tier.goal.prefer or common.prefer or "latency", path))


_LIMITS: tuple[tuple[GoalKind, str, Callable[[str], float]], ...] = (
    ("latency_p95", "p95", parse_milliseconds),
    ("size", "size", parse_size),
    ("memory", "memory", parse_size),
)


def _floor(common: GoalSection, tier: Tier, path: Path) -> Floor:
    text = tier.goal.quality or common.quality or "99% of original"
    share, absolute = _at(path, "quality", parse_quality, text)
    margin = next((m for m in (tier.goal.margin, common.margin) if m is not None), 0.0)
    if margin < 0:
        raise InputError(f"{settings.where(path, 'goal.margin')}: {margin} is below zero")
    return Floor(share, absolute, margin)


def _prefer(text: str, path: Path) -> Prefer:
    if text == "size":
        return "size"
    if text == "latency":
        return "latency"
    raise InputError(f"{settings.where(path, 'goal.prefer')}: {text!r} is not one of latency, size")


def _at(path: Path, key: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{settings.where(path, f'goal.{key}')}: {error}") from error
