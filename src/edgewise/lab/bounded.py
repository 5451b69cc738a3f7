"""A process within bounds: of time, of memory, and of whether its work is still wanted.

Memory is what the process and all that it started hold together (resident set sizes), looked at several times a
second: a limit of the system's on one process (setrlimit) counts addresses, which runtimes reserve by the gigabyte,
and does not see children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any, Protocol

import msgspec

from edgewise.errors import EdgewiseError
from edgewise.lab import reaper

__all__ = ["Bounds", "JobError", "Process", "attend", "guarded", "kill"]

TICK_S = 0.2
WHOLE_TREE_S = 1.0  # looking for children reads the whole process table


class JobError(EdgewiseError):
    """A worker failed; the message is the reason that its row shows."""


class Bounds(msgspec.Struct, frozen=True):
    """What one job may take: seconds, and bytes of memory (None: as much as there is)."""

    seconds: float
    memory: int | None = None


class Process(Protocol):
    """What is asked of a started process: `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None: ...  # noqa: D102

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102


@contextmanager
def guarded(process: Process) -> Iterator[None]:
    """End the process, which leads its group, with all that it started, however the block ends."""
    reaper.started(process.pid)
    try:
        yield
    finally:
        kill(process)
        reaper.ended(process.pid)


def attend(process: Process, bounds: Bounds, stop: Event | None) -> int:
    """Wait for a process and return its exit code. Raises JobError when it leaves its bounds or `stop` is set."""
    until = time.monotonic() + bounds.seconds
    meter = _Meter(process.pid)
    while (code := process.poll()) is None:
        if time.monotonic() > until:
            raise JobError(f"took longer than {bounds.seconds:g} s and was stopped")
        if stop is not None and stop.is_set():
            raise JobError("stopped, as another failed or the build was interrupted")
        if bounds.memory is not None and meter.read() > bounds.memory:
            raise JobError(f"took more than {_words(bounds.memory)} of memory and was stopped")
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(TICK_S, max(0.01, until - time.monotonic())))
    return code


def kill(process: Process) -> None:
    """Stop a process and whatever it started, which may outlive it and disturb what is timed next."""
    with_group = getattr(os, "killpg", None)
    with suppress(ProcessLookupError, PermissionError):  # all gone; macOS says it of a group of the dead
        with_group(process.pid, signal.SIGKILL) if with_group else os.kill(process.pid, signal.SIGTERM)
    process.wait()


class _Meter:
    """The memory of a process at every look, of its children at some."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._children: list[Any] = []
        self._looked = 0.0

    def read(self) -> int:
        import psutil

        total = 0
        with suppress(psutil.Error):  # it has just ended
            process = psutil.Process(self._pid)
            if time.monotonic() - self._looked > WHOLE_TREE_S:
                self._children = process.children(recursive=True)
                self._looked = time.monotonic()
            total = process.memory_info().rss
        for child in self._children:
            with suppress(psutil.Error):
                total += child.memory_info().rss
        return total


def _words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
