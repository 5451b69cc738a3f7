"""What a build knows of the model it is given, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgewise.bundle.manifest import Format, TensorSpec

__all__ = ["Model"]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that was checked. `runtime` is the target that runs a file of its `format` as it is.

    `digest` is the sha256 in hex of what was brought; `size` is in bytes.
    """

    format: ClassVar[Format]
    runtime: ClassVar[str]

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str
    size: int
