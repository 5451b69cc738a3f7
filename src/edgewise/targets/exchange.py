"""What a lab and a place where an artifact runs hand each other: samples and answers as .npz, and a report.

An .npz holds arrays named `<sample>/<name>`, samples counted from 0. Nothing is pickled.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.atomic import write_file
from edgewise.bundle.evidence import Evidence
from edgewise.errors import InputError
from edgewise.targets import Tensors

__all__ = ["Report", "read", "write"]


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How far an artifact got in one process: `reason` says why it got no further, and is None when it did.

    `platform` is where, as "linux-arm64"; `runtime` the runtime's version. `evidence` is "none" until that
    runtime was found there, and then what running in it shows. `answered` counts samples.
    """

    platform: str
    runtime: str = ""
    evidence: Evidence = Evidence.NONE
    loads: bool = False
    answered: int = 0
    reason: str | None = None


def write(path: Path, samples: Sequence[Tensors]) -> None:
    """Write samples to an uncompressed .npz. Raises InputError for Python objects other than text."""
    named = {
        f"{index}/{name}": array for index, sample in enumerate(samples) for name, array in sample.items()
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{key: _plain(key, array) for key, array in named.items()})  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword
    write_file(path, buffer.getvalue())


def read(path: Path) -> tuple[dict[str, NDArray[Any]], ...]:
    """Read samples back; keys without a name (labels) are left out.

    Raises InputError when the file is no such .npz, or its samples are not counted from 0.
    """
    samples: dict[int, dict[str, NDArray[Any]]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                index, _, name = key.partition("/")
                sample = samples.setdefault(int(index), {})
                if name:
                    sample[name] = archive[key]
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything on a damaged file
        raise InputError(f"{path} cannot be read as .npz of <sample>/<name>: {error}") from error
    if sorted(samples) != list(range(len(samples))):
        raise InputError(f"{path}: its samples are not numbered 0 to {len(samples) - 1}")
    return tuple(samples[index] for index in range(len(samples)))


def _plain(key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as .npz can hold it: runtimes give text as arrays of Python strings."""
    if not array.dtype.hasobject:
        return array
    if not all(isinstance(value, str) for value in array.flat):
        raise InputError(f"{key}: an array of Python objects cannot be stored; give numbers or text")
    return array.astype(str)
