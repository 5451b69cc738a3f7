"""What a build found out: everything the report shows, and nothing it must compute."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.golden import Difference
from edgewise.bundle.manifest import Verdict
from edgewise.targets.building import Operators

__all__ = [
    "BuildResult",
    "CandidateRow",
    "Cell",
    "Claim",
    "Gap",
    "GoalResult",
    "Support",
    "TierResult",
]


class CandidateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate, tried.

    One that failed, or was passed over after a first look, has a `reason`, and figures whose evidence is `none`.

    Figures: `quality` (metric's unit, search split), `p50`, `p95`, `load` (ms), `memory` and `size` (bytes).
    `difference` is against the original: {"cases", "max_abs", "max_rel", "rms", "agreement"}; null when it failed.
    `holds_floor`: whether the search split leads to expect the quality floor to be met on the test split.
    """

    id: str
    target: str
    precision: str
    recipe: dict[str, Any]
    status: Literal["ok", "failed", "passed over"]
    reason: str | None = None
    artifact: str | None = None
    figures: dict[str, Figure] = {}
    difference: dict[str, float] | None = None
    operators: Operators | None = None
    holds_floor: bool = False
    pareto: bool = False
    build_seconds: float = 0.0
    cached: bool = False


GoalKind = Literal["quality", "latency_p95", "size", "memory"]


class GoalResult(msgspec.Struct, frozen=True, kw_only=True):
    """One goal of one tier: what was asked ("p95 ≤ 30 ms"), what was got, and the verdict."""

    kind: GoalKind
    asked: str
    got: Figure
    verdict: Verdict


class TierResult(msgspec.Struct, frozen=True, kw_only=True):
    """One tier and its choice. `machine` is "this" when it was measured here; `reachable` when a goal is missed."""

    name: str
    description: str
    share: float
    machine: str | None
    platform: str
    runtimes: tuple[str, ...]
    chosen: str | None
    reason: str
    goals: tuple[GoalResult, ...]
    reachable: str | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed of a chosen variant, on the test split it never met before.

    `margin` is variant − floor (signed so that ≥ 0 is good), with its paired 95 % bootstrap interval.
    """

    candidate: str
    quality: Figure
    original: Figure
    floor: float
    margin: Figure
    agreement: Figure
    verdict: Verdict


class Cell(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one artifact did in one place; `evidence` is "none" where it could not be executed at all.

    `difference` is from the original's answers. `verdict`: met, not shown, missed, or not assessed where nothing
    was executed. `reason` says why it did not load, run or answer usefully.
    """

    subject: str
    target: str
    place: str
    platform: str
    runtime: str
    evidence: Evidence
    loads: bool
    runs: bool
    verdict: Verdict
    difference: Difference | None = None
    quality: Figure | None = None
    reason: str | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Operators that are not on the accelerator for one reason, how many of each type, and their MACs."""

    where: str  # as in edgewise.targets.placement.Where
    why: str
    ops: dict[str, int]
    macs: int


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a model one accelerator of a target takes.

    `operators` = `on` it + on the `cpu` + `unsupported`, Constants left out; `macs_on` is a part of `macs`, which
    are those of one run. `sizes` are the dynamic dimensions that were fixed for this answer: none for the model
    as it is. Evidence `none` means that nothing is known, and `notes` say why.
    """

    target: str
    accelerator: str
    evidence: Evidence
    source: str = ""
    sizes: dict[str, int] = {}
    operators: int = 0
    on: int = 0
    cpu: int = 0
    unsupported: int = 0
    macs: int = 0
    macs_on: int = 0
    partitions: int = 0
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `headline` holds ratios of the main choice to the original in its own runtime."""

    name: str
    task: str
    producer: str
    metric: str
    higher_is_better: bool
    floor: str
    command: str
    machine: dict[str, str]
    threads: int
    seconds: float
    splits: dict[str, int]
    rounds: int
    original: str
    candidates: tuple[CandidateRow, ...]
    tiers: tuple[TierResult, ...]
    claims: tuple[Claim, ...]
    headline: dict[str, Figure]
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    signing: str = "unsigned"
    bundle: str = "bundle"
    profile: dict[str, Any] = {}
    support: tuple[Support, ...] = ()
    example: dict[str, str] | None = None

    def row(self, candidate: str) -> CandidateRow:
        """Return the row of a candidate by its id."""
        return next(row for row in self.candidates if row.id == candidate)

    @property
    def exit_code(self) -> int:
        """0 when every assessed goal of every tier is met, else 1."""
        assessed = [
            goal.verdict for tier in self.tiers for goal in tier.goals if goal.verdict != "not assessed"
        ]
        return 0 if all(verdict == "met" for verdict in assessed) and all(t.chosen for t in self.tiers) else 1
