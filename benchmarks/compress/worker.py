"""The process of one peer: read the project as the build did, call the tool, say how long it took."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from benchmarks.compress.tools import TOOLS, Given
from edgewise.lab import config as configuration
from edgewise.lab import jobs
from edgewise.lab.plan import prepare
from edgewise.lab.quiet import quiet

__all__ = ["Job", "Made"]


class Job(msgspec.Struct, frozen=True):
    """Which peer, on which file of which project; where to put what it makes and what it leaves behind."""

    peer: str
    config: str
    source: str
    folder: str
    work: str
    olive: str


class Made(msgspec.Struct, frozen=True):
    """Seconds from the import of the tool to its file."""

    seconds: float


def make(job: Job) -> Made:
    """Do the job. Any exception is the peer's reason."""
    plan = prepare(configuration.load(job.config))
    given = Given(Path(job.source), Path(job.folder), Path(job.work), plan, job.olive)
    with quiet(given.work):
        start = time.monotonic()
        TOOLS[job.peer](given)
        return Made(time.monotonic() - start)


if __name__ == "__main__":
    jobs.serve(Job, make)
