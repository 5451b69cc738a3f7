"""What the converting process is asked, and what it answers."""

from __future__ import annotations

import msgspec

__all__ = ["Job", "Made"]


class Job(msgspec.Struct, frozen=True):
    """What to convert, a `.pt2` or a `file.py:function`, and the file to write."""

    source: str
    out: str


class Made(msgspec.Struct, frozen=True):
    """How the conversion went: torch's version, and how far the answers are on how many requests and sizes.

    `refused` is the reason of a framework that failed.
    """

    torch: str = ""
    requests: int = 0
    sizes: int = 0
    rms: float = 0.0
    refused: str | None = None
