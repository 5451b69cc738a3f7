"""Nothing outlives a build: one small process waits until this one is gone, and then clears up after it.

Who is killed (`kill -9`, or by the system for want of memory) clears up nothing. So the numbers of the process
groups that run, and the folders that nobody keeps, go down a pipe to a process that does nothing but read it; the
system closes the pipe when this process ends, in whatever way. PR_SET_PDEATHSIG would be nearer at hand, but it
follows the thread that started a worker, reaches no grandchild and is Linux alone.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock

__all__ = ["cleared", "clears", "ended", "started"]

_pipe: int | None = None
_owner = 0
_lock = Lock()


def started(group: int) -> None:
    """Have the process group killed should this process be gone before `ended` is called."""
    _say(f"+{group}")


def ended(group: int) -> None:
    """Forget a process group: it has ended, and its number may be another's soon."""
    _say(f"-{group}")


def clears(folder: Path) -> None:
    """Have the folder removed should this process be gone before `cleared` is called."""
    _say(f">{folder.absolute()}")


def cleared(folder: Path) -> None:
    """Forget a folder."""
    _say(f"<{folder.absolute()}")


def _say(line: str) -> None:
    global _pipe, _owner
    if not hasattr(os, "killpg"):
        return
    with _lock:
        if _pipe is None or _owner != os.getpid():  # a fork has one of its own
            _pipe, _owner = _begun(), os.getpid()
        with suppress(BrokenPipeError):  # somebody killed it: work goes on without
            os.write(_pipe, f"{line}\n".encode(errors="surrogateescape"))


def _begun() -> int:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not meant for it
        cwd="/",
    )
    os.close(reading)
    atexit.register(_end, writing, process)
    return writing


def _end(pipe: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for it where this process ends as it should: then nothing at all is left."""
    if _owner == os.getpid():
        os.close(pipe)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)


def _wait() -> None:
    """Read until everybody who could write is gone, then end what was started and not ended."""
    left: dict[str, None] = {}
    closing = {"-": "+", "<": ">"}
    for raw in sys.stdin.buffer:
        line = os.fsdecode(raw.rstrip(b"\n"))
        if line[0] in closing:
            left.pop(closing[line[0]] + line[1:], None)
        else:
            left[line] = None
    for line in left:
        if line[0] == "+":
            with suppress(OSError):
                os.killpg(int(line[1:]), signal.SIGKILL)
    for line in left:
        if line[0] == ">":
            import shutil

            shutil.rmtree(line[1:], ignore_errors=True)


if __name__ == "__main__":
    _wait()
