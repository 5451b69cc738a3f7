"""A .tflite that the user brings: LiteRT says what it takes and gives, and runs it as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgewise.bundle.canonical import digest_file
from edgewise.bundle.manifest import Format
from edgewise.errors import DeviceError, InputError
from edgewise.lab.model.base import Model
from edgewise.targets.litert import session

__all__ = ["TfliteModel", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class TfliteModel(Model):
    """A .tflite that LiteRT opens."""

    format: ClassVar[Format] = "tflite"
    runtime: ClassVar[str] = "litert"


def load(path: Path) -> TfliteModel:
    """Read the signature of the .tflite at `path`.

    Raises InputError when LiteRT cannot open it, ToolchainError when LiteRT is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: check the path of the model.")
    session.version()
    try:
        inputs, outputs = session.signature(path)
    except DeviceError as error:
        raise InputError(f"{error}: copy or export the model again.") from error
    for kind, specs in (("input", inputs), ("output", outputs)):
        if not specs:
            raise InputError(f"{path} has no {kind}s, so there is nothing to run. Export the model again.")
        for spec in specs:
            if np.dtype(spec.dtype).kind not in "biufc":
                raise InputError(
                    f"{path}: {kind} {spec.name!r} holds {spec.dtype}; edgewise takes numbers only."
                )
    return TfliteModel(path, inputs, outputs, digest_file(path), path.stat().st_size)
