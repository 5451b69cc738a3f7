"""Small real projects for the tests of the main job: a model that was fitted, and data it has not seen."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from edgewise.lab.model.sklearn import export_sklearn
from models import model, save, tensor

TOML = """\
[model]
path = "model.onnx"
task = "image-classification"
license = "Apache-2.0"
[data]
samples = "samples.npz"
metric = "{metric}"
license = "CC-BY-4.0"
[goal]
{goal}
[measure]
threads = 1
rounds = 6
"""
FITTED_ON = 897


def digits(folder: Path, *, metric: str = "accuracy", goal: str = 'quality = "95% of original"') -> Path:
    """Fit a small network on scikit-learn's digits; write the project; return its edgewise.toml.

    The network is plain ONNX, x (batch, 64) → probabilities (batch, 10), so every runtime takes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save(_plain(_network()), folder / "model.onnx")
    images, labels = _digits()
    np.savez(folder / "samples.npz", x=images[FITTED_ON:], labels=labels[FITTED_ON:])
    path = folder / "edgewise.toml"
    path.write_text(TOML.format(metric=metric, goal=goal))
    return path


def digits_as_scikit_learn_exports_them(folder: Path) -> Path:
    """Write the same project with skl2onnx's graph, whose ai.onnx.ml operators only ONNX Runtime has."""
    path = digits(folder)
    export_sklearn(_network(), folder / "model.onnx", features=64)
    return path


@dataclass(frozen=True)
class Project:
    """A project on disk, for tests that break it."""

    config: Path

    @property
    def folder(self) -> Path:
        return self.config.parent

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"

    def copy(self, folder: Path) -> Project:
        """Return a copy that may be broken."""
        shutil.copytree(self.folder, folder)
        return Project(folder / self.config.name)

    def write(self, name: str, text: str) -> None:
        """Write a file beside the configuration."""
        (self.folder / name).write_text(text)

    def set(self, old: str, new: str) -> None:
        """Replace a line, or part of one, in the configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def change(self, **changes: Callable[[Any], Any]) -> None:
        """Put each named array through a function; one that returns None removes it."""
        with np.load(self.samples) as file:
            arrays = dict(file)
        for name, function in changes.items():
            arrays[name] = function(arrays.get(name))
        np.savez(self.samples, **{name: array for name, array in arrays.items() if array is not None})


@cache
def _digits() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


@cache
def _network() -> MLPClassifier:
    images, labels = _digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 60 rounds are enough here, and it says that they are not
        return MLPClassifier((32,), max_iter=60, random_state=0).fit(images[:FITTED_ON], labels[:FITTED_ON])


def _plain(network: MLPClassifier) -> onnx.ModelProto:
    first, second = (weights.astype(np.float32) for weights in network.coefs_)
    one, two = (biases.astype(np.float32) for biases in network.intercepts_)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"], "first"),
        helper.make_node("Relu", ["hidden"], ["active"], "relu"),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["scores"], "second"),
        helper.make_node("Softmax", ["scores"], ["probabilities"], "softmax", axis=-1),
    ]
    weights = {"w1": first, "b1": one, "w2": second, "b2": two}
    return model(nodes, [tensor("x", ["batch", 64])], [tensor("probabilities", ["batch", 10])], weights)
