"""The fleet: tiers of devices, their share of users, and what they run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgewise.errors import InputError
from edgewise.lab import settings
from edgewise.machine import platform_name

__all__ = ["Fleet", "GoalSection", "Tier", "load", "this_machine"]


class GoalSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[goal]`, or a tier's own `[tier.goal]`, whose keys replace those of `[goal]`."""

    quality: str | None = None
    margin: float | None = None
    latency_p95: str | None = None
    size: str | None = None
    memory: str | None = None
    prefer: str | None = None


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of device. `machine = "this"` marks the tier that this machine stands for."""

    name: str
    share: float
    description: str = ""
    machine: str | None = None
    platform: str = "any"
    runtimes: tuple[str, ...] = ("onnxruntime",)
    goal: GoalSection = GoalSection()

    @property
    def here(self) -> bool:
        """Whether figures measured on this machine hold for this tier."""
        return self.machine == "this"


class Fleet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`fleet.toml`."""

    tier: tuple[Tier, ...]


def load(path: Path) -> tuple[Tier, ...]:
    """Read a fleet. Raises InputError when shares do not sum to 1, or names or machines are wrong."""
    tiers = settings.read(path, Fleet).tier
    if not tiers:
        raise InputError(f"{path} has no [[tier]]: add one, or leave [fleet] out to build for this machine")
    names = [tier.name for tier in tiers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        second = names.index(twice, names.index(twice) + 1)
        raise InputError(
            f"{settings.where(path, f'tier[{second}].name')}: two tiers are called {twice!r}: rename one"
        )
    for index, tier in enumerate(tiers):
        if not 0 <= tier.share <= 1:
            raise InputError(
                f"{settings.where(path, f'tier[{index}].share')}: {tier.share} is not between 0 and 1"
            )
        if tier.machine not in (None, "this"):
            raise InputError(
                f'{settings.where(path, f"tier[{index}].machine")}: only "this" is known, got {tier.machine!r}'
            )
        if not tier.runtimes:
            raise InputError(f"{settings.where(path, f'tier[{index}].runtimes')}: name at least one runtime")
    total = sum(tier.share for tier in tiers)
    if abs(total - 1) > 0.005:
        raise InputError(f"{path}: the tiers' shares sum to {total:g}, not 1: correct them")
    return tiers


def this_machine(runtimes: tuple[str, ...]) -> tuple[Tier, ...]:
    """Return the fleet of somebody who named none: this machine."""
    tier = Tier(name="this machine", share=1.0, machine="this", platform=platform_name(), runtimes=runtimes)
    return (tier,)
