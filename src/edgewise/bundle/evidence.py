"""How edgewise knows a figure, and the rule that no figure appears without its word."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Evidence", "Figure"]


class Evidence(StrEnum):
    """The six evidence words. A weaker word is never shown as a stronger one."""

    MEASURED = "measured"  # this artifact, that device class
    EMULATED = "emulated"  # executed in an emulator or interpreter: numerics only
    COMPILED = "compiled"  # built and statically checked
    PREDICTED = "predicted"  # with an interval
    PUBLISHED = "published"  # with its source
    NONE = "none"  # not known, and said so


_SPEED = frozenset({"s", "ms", "us", "µs", "ns"})


class Figure(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One number with its unit, its interval and how it is known.

    `on` is where it was obtained ("linux-x86_64, 2 threads"); `split` the data it was computed on.
    Raises ValueError when a figure claims more than its evidence word allows.
    """

    evidence: Evidence
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    split: str | None = None
    on: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.evidence is Evidence.NONE and (self.low is not None or self.high is not None):
            raise ValueError("a figure whose evidence is 'none' has no interval")
        if (self.value is None) != (self.evidence is Evidence.NONE):
            raise ValueError(f"evidence {self.evidence} with value {self.value}: only 'none' has no value")
        if self.evidence is Evidence.PREDICTED and (self.low is None or self.high is None):
            raise ValueError("a predicted figure needs an interval: give low and high")
        if self.evidence is Evidence.EMULATED and self.unit in _SPEED:
            raise ValueError(f"an emulator shows numerics, never speed: no emulated figure in {self.unit}")
        if self.evidence is Evidence.PUBLISHED and not self.source:
            raise ValueError("a published figure needs its source")

    @classmethod
    def none(cls, unit: str, *, on: str | None = None) -> Figure:
        """Return the figure that says: not known."""
        return cls(evidence=Evidence.NONE, unit=unit, on=on)
