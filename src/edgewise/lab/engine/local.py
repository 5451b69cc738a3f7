"""This machine: each job in a process of its own, forked where the system allows it, else started."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TypeVar

from edgewise.lab import jobs, machine
from edgewise.lab.bounded import Bounds
from edgewise.lab.engine import Work
from edgewise.lab.engine.forks import POSSIBLE, Forks, ServerLostError

__all__ = ["Local"]

R = TypeVar("R")


class Local:
    """Processes of this machine, `workers` at once (0: as cores and memory allow)."""

    def __init__(self, workers: int = 0, *, forked: bool = POSSIBLE) -> None:
        self._workers = workers
        self._forks = Forks() if forked else None

    def slots(self, model: int) -> int:
        """Return the number asked for, or what this machine takes."""
        return self._workers or machine.builders(model)

    def run(self, work: Work, result: type[R], bounds: Bounds, scratch: Path, stop: Event) -> R:
        """Do the work in a process; once more in one started afresh, should the server of forks be lost."""

        def run(launch: jobs.Launch) -> R:
            return jobs.run(
                work.module,
                work.job,
                result,
                timeout=bounds.seconds,
                memory=bounds.memory,
                scratch=scratch,
                stop=stop,
                launch=launch,
            )

        if self._forks is None:
            return run(jobs.fresh)
        try:
            return run(self._forks.launch)
        except ServerLostError:
            return run(jobs.fresh)

    def close(self) -> None:
        """End the server of forks."""
        if self._forks:
            self._forks.close()
