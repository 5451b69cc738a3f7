"""For whom a headline figure holds, and what everybody else gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.lab.result import BuildResult, TierResult
from edgewise.report import format as fmt
from edgewise.report import view

__all__ = ["Share", "caption", "others"]

_NAMED = 3


@dataclass(frozen=True)
class Share:
    """Tiers that get the same thing and know the same of it: who they are, what it is, and what is known."""

    who: str
    users: str
    variant: str
    known: str


def caption(result: BuildResult, name: str) -> str:
    """Say which users a headline figure holds for; empty where there is only one tier, and it holds there.

    Size and quality go with the file; a speed is known only for the tiers that this machine is one of.
    """
    main = view.main_tier(result)
    if main is None:
        return ""
    same = [tier for tier in result.tiers if tier.chosen == main.chosen]
    if name == "p50" and main.machine != "this":
        return f"on this machine, not one of: {_names(same)}"
    if len(result.tiers) == 1:
        return ""
    return _who([tier for tier in same if tier.machine == "this"] if name == "p50" else same)


def others(result: BuildResult) -> tuple[Share, ...]:
    """What the tiers get that the headline does not speak of, or whose speed it does not know."""
    main = view.main_tier(result)
    groups: dict[tuple[str, str | None], list[TierResult]] = {}
    for tier in result.tiers:
        if main and tier.chosen and (tier.chosen, tier.machine) != (main.chosen, main.machine):
            groups.setdefault((tier.chosen, tier.machine), []).append(tier)
    return tuple(
        Share(
            _names(tiers),
            _users(tiers),
            variant,
            _known(result, variant, machine, same=bool(main and variant == main.chosen)),
        )
        for (variant, machine), tiers in groups.items()
    )


def _known(result: BuildResult, variant: str, machine: str | None, *, same: bool) -> str:
    said = ["the same variant"] if same else [_ratio(result, variant, "size", "the original's size")]
    if machine is None:
        said.append("speed there is not known")
    if not same and variant != result.original:
        said.append(_ratio(result, variant, "p50", "the original's time"))
    return "; ".join(part for part in said if part)


def _ratio(result: BuildResult, variant: str, name: str, what: str) -> str:
    """`0.27× the original's size (measured)`; a time says that it is of this machine."""
    if variant == result.original:
        return "the original itself"
    ratio = view.ratio_to_original(result, result.row(variant), name)
    if ratio.value is None:
        return "" if name == "p50" else "its size against the original is not assessed (none)"
    here = "on this machine " if name == "p50" else ""
    return f"{here}{fmt.ratio(ratio.value)} {what} ({ratio.evidence})"


def _who(tiers: Sequence[TierResult]) -> str:
    """`laptop, 40 % of users`; `laptop; phone: 80 % of users`."""
    comma = "," if len(tiers) == 1 else ":"
    return f"{_names(tiers)}{comma} {_users(tiers)}"


def _users(tiers: Sequence[TierResult]) -> str:
    return f"{fmt.share(sum(tier.share for tier in tiers))} of users"


def _names(tiers: Sequence[TierResult]) -> str:
    names = [tier.name for tier in tiers]
    if len(names) > _NAMED:
        return f"{names[0]} and {len(names) - 1} other tiers"
    return "; ".join(names)
