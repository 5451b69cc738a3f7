"""What runs on a node of a cluster: says what is installed there, and does one parcel in a fresh process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from edgewise import targets
from edgewise.errors import EdgewiseError, InputError
from edgewise.lab import jobs, machine
from edgewise.lab.engine.parcel import THREADS, Answer, Parcel, files_of, unpack

__all__ = ["describe", "perform"]


def describe() -> dict[str, str]:
    """Return platform, processor and versions of this node."""
    return machine.describe()


def perform(parcel: bytes, digests: tuple[str, ...], *contents: bytes) -> bytes:
    """Do a job whose files have these contents, by digest. Nothing of it stays here."""
    asked = msgspec.msgpack.decode(parcel, type=Parcel)
    with tempfile.TemporaryDirectory(prefix="edgewise-") as name:
        answer = _answer(asked, dict(zip(digests, contents, strict=True)), Path(name))
    return msgspec.msgpack.encode(answer)


def _answer(parcel: Parcel, contents: dict[str, bytes], folder: Path) -> Answer:
    if differs := _differs(parcel.maker):
        return Answer(differs=differs)
    try:
        job, places = unpack(parcel, contents, folder)
        result: Any = jobs.run(
            parcel.module,
            job,
            Any,
            timeout=parcel.bounds.seconds,
            memory=parcel.bounds.memory,
            scratch=folder,
            launch=lambda module, at: jobs.fresh(module, at, _environment(parcel)),
        )
        return Answer(result, tuple(files_of(parcel, places)))
    except InputError as error:
        return Answer(input_error=str(error))
    except jobs.JobError as error:
        return Answer(reason=str(error))
    except OSError as error:  # a full disk, mostly: it is this node's, and another may have room
        return Answer(reason=f"{os.uname().nodename}: {error.strerror or error}")


def _differs(maker: tuple[str, str] | None) -> str | None:
    """Return the toolchain of a target here, where it is not the same."""
    if maker is None:
        return None
    target, wanted = maker
    try:
        here = targets.builder(target).toolchain()
    except EdgewiseError as error:
        return str(error)
    return here if here != wanted else None


def _environment(parcel: Parcel) -> dict[str, str]:
    """Return this process's variables with the asker's numbers of threads: Ray sets its own, and sums differ by it."""
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    return kept | parcel.threads
