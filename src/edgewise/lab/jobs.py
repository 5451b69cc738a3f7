"""Run one piece of work in a fresh process: it may crash, hang or leak, and costs one row, never the run.

The job and its result are JSON files; bulk arrays go through .npz beside them. A worker module calls `serve`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgewise.errors import EdgewiseError, InputError

__all__ = ["JobError", "run", "serve"]

J = TypeVar("J")
R = TypeVar("R")


class JobError(EdgewiseError):
    """A worker failed; the message is the reason that its row shows."""


def run(module: str, job: Any, result: type[R], *, timeout: float, scratch: Path) -> R:
    """Run `python -m module` on `job` and return its result.

    Raises JobError with a one-line reason when the worker raises, crashes or takes longer than `timeout` seconds,
    and InputError when the reason is the user's input (their metric, their data).
    """
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix="job-"))
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise JobError(f"took longer than {timeout:.0f} s and was stopped") from error
        finally:
            _kill(process)
    return _result(folder, process.returncode, result)


def serve(kind: type[J], work: Callable[[J], Any]) -> None:
    """Be the worker: read the job in the folder given as argument, do it, write the result or the reason."""
    folder = Path(sys.argv[1])
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=kind)
    try:
        document = {"result": msgspec.to_builtins(work(job))}
    except InputError as error:
        document = {"input_error": str(error)}
    except Exception as error:  # noqa: BLE001 - any failure of any toolchain is one row with its reason
        document = {"error": _first_line(error)}
        sys.excepthook(type(error), error, error.__traceback__)
    (folder / "result.json").write_bytes(msgspec.json.encode(document))


def _result(folder: Path, code: int, kind: type[R]) -> R:
    path = folder / "result.json"
    if not path.exists():
        raise JobError(_crash(code, folder / "log.txt"))
    document = json.loads(path.read_bytes())
    if "input_error" in document:
        raise InputError(document["input_error"])
    if "error" in document:
        raise JobError(document["error"])
    return msgspec.convert(document["result"], kind)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with_group = getattr(os, "killpg", None)
        with suppress(ProcessLookupError):
            with_group(process.pid, signal.SIGKILL) if with_group else process.kill()
        process.wait()


def _crash(code: int, log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = f": {lines[-1][:200]}" if lines else ""
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}{last}"
    return f"its process ended with exit code {code}{last}"


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
