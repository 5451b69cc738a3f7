"""What is told of a training."""

from __future__ import annotations

import msgspec

__all__ = ["Cost", "Epoch"]


class Cost(msgspec.Struct, frozen=True):
    """Parameters, and multiplications of one sample."""

    parameters: int
    macs: int


class Epoch(msgspec.Struct, frozen=True):
    """One pass: the mean loss on what was trained on and on what was held out; shares that agree and are right."""

    train: float
    held: float
    agreement: float | None = None
    accuracy: float | None = None
