"""Small real projects for the tests of the main job: a model that was fitted, and data it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from edgewise.lab.model.sklearn import export_sklearn

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
rounds = 2
"""


def digits(folder: Path, *, metric: str = "accuracy", goal: str = 'quality = "95% of original"') -> Path:
    """Fit a small network on scikit-learn's digits; write the project; return its edgewise.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    network = MLPClassifier((32,), max_iter=60, random_state=0).fit(images[:897], labels[:897])
    export_sklearn(network, folder / "model.onnx", features=64)
    np.savez(folder / "samples.npz", **{input_name(folder): images[897:], "labels": labels[897:]})
    path = folder / "edgewise.toml"
    path.write_text(TOML.format(metric=metric, goal=goal))
    return path


def input_name(folder: Path) -> str:
    """Return the name of the model's only input."""
    from edgewise.lab.model.load import load

    return load(folder / "model.onnx").inputs[0].name
