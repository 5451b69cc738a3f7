"""The one door for models: a path in, the `Model` of its format out."""

from __future__ import annotations

from pathlib import Path

from edgewise.lab.model import tflite
from edgewise.lab.model.base import Model
from edgewise.lab.model.load import load

__all__ = ["take"]


def take(path: Path) -> Model:
    """Read and check the model at `path`: a .tflite by its suffix, everything else as ONNX.

    Raises InputError saying what is wrong and what to do.
    """
    return tflite.load(path) if path.suffix.lower() == ".tflite" else load(path)
