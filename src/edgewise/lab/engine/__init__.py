"""Where builds and judgements run: in processes of this machine, or on a Ray cluster.

    the workshop ── Work ──→ an engine ──→ a fresh process ──→ files where the work says, and a result

The workshop asks an engine and does not know which; what is timed never goes through one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeVar

from edgewise.lab.bounded import Bounds

__all__ = ["Engine", "Read", "Work"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Read:
    """A file that a job reads; or a folder, of which it reads these files (some may lie beside it: "../labels.json")."""

    path: Path
    files: tuple[Path, ...] = ()

    def members(self) -> dict[str, Path]:
        """Return each file by its name below `path`; a file alone has the name ""."""
        if self.path.is_file():
            return {"": self.path}
        return {Path(os.path.relpath(file, self.path)).as_posix(): file for file in self.files}


@dataclass(frozen=True, slots=True)
class Work:
    """A job for `python -m module`, the files it reads, and the folders it writes into.

    The job names them by path: an engine without this machine's disk puts them elsewhere, and changes those paths.
    `tied`: what it finds holds for this kind of processor only. `maker`: a target and its toolchain here, where that
    decides what is made.
    """

    module: str
    job: Any
    reads: tuple[Read, ...]
    writes: tuple[Path, ...] = ()
    tied: bool = False
    maker: tuple[str, str] | None = None


class Engine(Protocol):
    """Runs work, several at once if it is asked to by several threads."""

    def slots(self, model: int) -> int:
        """Return how many jobs on a model of `model` bytes may be asked for at once."""

    def run(self, work: Work, result: type[R], bounds: Bounds, scratch: Path, stop: Event) -> R:
        """Do the work within its bounds. Raises what `jobs.run` raises: a JobError is one row's reason."""

    def close(self) -> None:
        """End what the engine started."""
