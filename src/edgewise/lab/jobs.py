"""Run work in fresh processes: each may crash, hang or leak, and costs one row, never the run.

The job and its result are JSON files; bulk arrays go through .npz beside them. A worker module calls `serve`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import msgspec

from edgewise.bundle.atomic import DISK_FULL, translated
from edgewise.errors import InputError
from edgewise.lab import bounded
from edgewise.lab.bounded import Bounds, JobError, Process

__all__ = ["JobError", "Launch", "converted", "ending", "execute", "fresh", "run", "serve", "side_by_side"]

J = TypeVar("J")
R = TypeVar("R")
T = TypeVar("T")

Launch = Callable[[str, Path], Process]
"""Start `python -m module folder`, the leader of a group of its own; it prints to `out.txt` and `log.txt` there."""


def run(
    module: str,
    job: Any,
    result: type[R],
    *,
    timeout: float,
    scratch: Path,
    stop: Event | None = None,
    memory: int | None = None,
    launch: Launch | None = None,
) -> R:
    """Run `python -m module` on `job` and return its result.

    Raises JobError with a one-line reason when the worker raises, crashes, takes longer than `timeout` seconds or
    more than `memory` bytes, or `stop` is set, InputError when the reason is the user's input (their metric, their
    data), and the worker's OSError when the disk is full: the next worker would fare no better.
    """
    with translated(scratch):
        folder = Path(tempfile.mkdtemp(dir=scratch, prefix="job-"))
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
    process = (launch or fresh)(module, folder)
    with bounded.guarded(process):
        code = bounded.attend(process, Bounds(timeout, memory), stop)
    return _result(folder, code, result)


def fresh(module: str, folder: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Start a worker in a Python of its own."""
    return _started([sys.executable, "-P", "-m", module, str(folder)], folder, environment)


def execute(
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    stop: Event | None = None,
) -> int:
    """Run a command and return its exit code; what it prints goes to `out.txt` and `log.txt` in `folder`.

    Its environment is this process's where none is given. Raises JobError when it takes longer than `timeout`
    seconds or `stop` is set; it and whatever it started have ended then.
    """
    process = _started(command, folder, environment)
    with bounded.guarded(process):
        return bounded.attend(process, Bounds(timeout), stop)


def _started(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None) -> Process:
    with (folder / "out.txt").open("wb") as out, (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env={**(os.environ if environment is None else environment), "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )


def ending(code: int, folder: Path) -> str:
    """Say on one line how a command that `execute` ran in `folder` came to end with `code`."""
    log = (folder / "log.txt").read_text(errors="replace")
    lines = [line for line in log.splitlines() if line.strip()]
    last = f": {lines[-1][:200]}" if lines else ""
    if code < 0:
        names = {one.value: one.name for one in signal.Signals}
        return f"crashed with {names.get(-code, f'signal {-code}')}{last}"
    return f"its process ended with exit code {code}{last}"


def side_by_side(
    work: Callable[[T], None],
    items: Sequence[T],
    *,
    at_once: int,
    stop: Event,
    done: Callable[[T], None],
) -> None:
    """Do `work` on every item, `at_once` at a time, and call `done` here as each ends.

    The first error (or Ctrl-C) sets `stop`, waits for what runs, and is raised.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        futures = {pool.submit(work, item): item for item in items}
        for future in as_completed(futures):
            future.result()
            done(futures[future])
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def serve(kind: type[J], work: Callable[[J], Any]) -> None:
    """Be the worker: read the job in the folder given as argument, do it, write the result or the reason."""
    folder = Path(sys.argv[1])
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=kind)
    try:
        document = {"result": msgspec.to_builtins(work(job))}
    except InputError as error:
        document = {"input_error": str(error)}
    except Exception as error:  # noqa: BLE001 - any failure of any toolchain is one row with its reason
        document = {"error": _first_line(error), "disk_full": _disk_full(error)}
        sys.excepthook(type(error), error, error.__traceback__)
    (folder / "result.json").write_bytes(msgspec.json.encode(document))


def _result(folder: Path, code: int, kind: type[R]) -> R:
    path = folder / "result.json"
    if not path.exists():
        raise JobError(ending(code, folder))
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:  # it ended while it wrote
        raise JobError(ending(code, folder)) from error
    if "input_error" in document:
        raise InputError(document["input_error"])
    if number := document.get("disk_full"):
        raise OSError(number, os.strerror(number))
    if "error" in document:
        raise JobError(document["error"])
    return converted(document["result"], kind)


def converted(result: Any, kind: type[R]) -> R:
    """Return what a worker gave as what it should be. Raises JobError where it is not that."""
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:  # such as infinity, which JSON does not have
        raise JobError(f"its result cannot be used: {error}") from error


def _disk_full(error: BaseException | None) -> int | None:
    """Return the number of the system's refusal to store more, where one is behind `error`."""
    while error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
