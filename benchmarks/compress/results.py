"""What one model's comparison found: everything that the tables need, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.method import median, place
from edgewise.bundle.atomic import write_file
from edgewise.bundle.evidence import Figure
from edgewise.bundle.manifest import Verdict
from edgewise.errors import InputError
from edgewise.targets.building import Operators

__all__ = ["CHOICES", "Comparison", "Entrant", "Prefer", "Search", "read", "write"]

Prefer = Literal["latency", "size"]
CHOICES: dict[Prefer, str] = {"latency": "edgewise", "size": "edgewise-size"}
"""What a build is asked to prefer: the entrant that is its choice."""


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """One file in one runtime; a `reason` says why there is no more of it.

    `of` names edgewise's candidate. `search` and `test` are its quality on these splits; `margin` is that above the
    floor on test, paired with the original, and `verdict` what it shows. `ms` holds the p50 of each round. `made`
    and `judged` are seconds: to make the file, and to judge it once on both splits.
    """

    name: str
    by: Literal["original", "edgewise", "peer"]
    target: str
    of: str = ""
    reason: str | None = None
    digest: str | None = None
    size: int | None = None
    operators: Operators | None = None
    search: Figure | None = None
    test: Figure | None = None
    margin: Figure | None = None
    verdict: Verdict = "not assessed"
    ms: tuple[float, ...] = ()
    made: float = 0.0
    judged: float = 0.0


class Search(msgspec.Struct, frozen=True):
    """What a build cost: candidates tried, evaluations of the real metric, seconds of wall clock."""

    tried: int
    evaluations: int
    seconds: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One run over one model.

    `load` is the system's load average before and after the timing, and `disturbed` how many readings others had
    disturbed: times are to be taken seriously only where both are low.
    """

    model: str
    metric: str
    floor: str
    machine: dict[str, str]
    threads: int
    splits: dict[str, int]
    timed: int
    load: tuple[float, float]
    disturbed: int
    search: Search | None
    entrants: tuple[Entrant, ...]

    def entrant(self, name: str) -> Entrant:
        """Return an entrant by its name."""
        return next(one for one in self.entrants if one.name == name)

    def p50(self, entrant: Entrant) -> Figure:
        """Return the median over an entrant's rounds, which must be there."""
        return median(entrant.ms, "ms", place(self.threads))


def write(comparison: Comparison, folder: Path) -> None:
    """Keep a comparison as `folder/<model>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
    write_file(folder / f"{comparison.model}.json", document)


def read(folder: Path) -> Iterator[Comparison]:
    """Yield the comparisons kept in a folder, by name. Raises InputError for a file that holds something else."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Comparison)
        except msgspec.MsgspecError as error:
            raise InputError(f"{path} is no comparison of this version: {error}; remove it") from error
