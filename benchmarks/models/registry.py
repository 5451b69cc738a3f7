"""What models there are. A model is a module with `make_project(folder, cache) → folder/edgewise.toml`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.cache import default_folder
from edgewise.errors import InputError, missing_extra

__all__ = ["MODELS", "Model", "make"]


@dataclass(frozen=True, slots=True)
class Model:
    """What it is, the module that makes its project, and whether it comes with `train.npz` to train with."""

    about: str
    module: str
    trains: bool = False


MODELS: Mapping[str, Model] = {
    "sentiment": Model("MiniLM sentence classifier; accuracy", "edgewise.demo.sentiment", trains=True),
    "recogniser": Model("PP-OCRv4 text recogniser; CER", "edgewise.demo.ocr"),
    "detector": Model("PP-OCRv4 text detector; F1 of boxes", "benchmarks.models.detector"),
    "magika": Model("Magika v3.3 on this machine's files; agreement", "benchmarks.models.magika"),
    "fashion": Model("depthwise-separable CNN; accuracy", "benchmarks.models.fashion", trains=True),
    "imbalanced": Model(
        "its twin of unequal channels; accuracy", "benchmarks.models.imbalanced", trains=True
    ),
    "cifar": Model("residual CNN on CIFAR-10; accuracy", "benchmarks.models.cifar", trains=True),
    "silero": Model("silero-vad in noise; AUC over frames", "benchmarks.models.silero"),
    "whisper": Model("Whisper tiny.en encoder; agreement of decoded tokens", "benchmarks.models.whisper"),
}


def make(name: str, folder: Path) -> Path:
    """Write the project of a model into `folder` and return the path of its `edgewise.toml`.

    Raises InputError for an unknown name or a folder that holds something else, ToolchainError when a library or a
    package cannot be had, TrustError when a package is not the one that was pinned.
    """
    if name not in MODELS:
        raise InputError(f"no model {name!r}: known are {', '.join(MODELS)}")
    try:
        module = importlib.import_module(MODELS[name].module)
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "torch" if error.name == "torch" else "demo") from error
    path: Path = module.make_project(folder, default_folder() / "demo")
    return path
