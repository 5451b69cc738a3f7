"""The one door for models: a path in, the `Model` of its format out."""

from __future__ import annotations

from pathlib import Path

from edgewise.cache import Cache, default_folder
from edgewise.lab.model import tflite
from edgewise.lab.model.base import Model
from edgewise.lab.model.load import OnnxModel, load
from edgewise.lab.model.torch_program import bring, is_torch

__all__ = ["take", "take_graph"]


def take(path: Path, cache: Cache | None = None) -> Model:
    """Read and check the model at `path`: a .tflite by its suffix, all else as a graph.

    Raises InputError saying what is wrong and what to do, ToolchainError when what converts it is missing or fails.
    """
    return tflite.load(path) if path.suffix.lower() == ".tflite" else take_graph(path, cache)


def take_graph(path: Path, cache: Cache | None = None) -> OnnxModel:
    """Read and check what is, or becomes, an ONNX model: .onnx, .pt2, or `file.py:function`. Raises as `take` does."""
    return bring(path, cache or Cache(default_folder())) if is_torch(path) else load(path)
