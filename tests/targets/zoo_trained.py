"""Three classifiers of scikit-learn's digits, trained here in seconds from fixed seeds and exported by torch.

Two exporters, as users have files of both: the current one (`dynamo=True`, opset 18 and newer) writes the CNN and the
transformer, the older one (TorchScript, opset 17) the depthwise CNN.

The 1,797 digits are 8×8 pixels with 16 levels of ink. 1,257 are trained on, 64 of which calibrate; 540 are held
out, and 300 of those are evaluated.
"""

# mypy: allow-subclassing-any
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from zoo import Made

from benchmarks.models.training import export, export_scripted, fit
from edgewise.targets.building import Samples

__all__ = ["cnn", "depthwise", "transformer"]

HELD_OUT, EVALUATED, CALIBRATION = 540, 300, 64
TOKENS, LEVELS, CLASSES = 72, 4, 10
PAD_TO = 16
"""Every fourth sequence is padded to a multiple of this, so that the mask has work to do."""


def cnn(_: Path) -> Made:
    """Three convolutions with batch norm, two poolings, two linear layers; image [batch, 1, 28, 28]."""
    images, labels = _digits()
    pictures = functional.pad(_resized(images, 24), (2, 2, 2, 2))
    network = _fitted(_Cnn, [pictures], labels, rounds=12, rate=2e-3)
    model = export(network, (pictures[:2],), {"image": {0: "batch"}})
    return _made("CNN on digits, 1×28×28", model, _rows("image", pictures), labels)


def depthwise(_: Path) -> Made:
    """Inverted residuals with squeeze-excite; image [batch, 3, 32, 32], digits in random colours."""
    images, labels = _digits()
    ink, paper = _colours(len(images))
    pictures = paper + (ink - paper) * functional.pad(_resized(images, 28), (2, 2, 2, 2))
    network = _fitted(_Depthwise, [pictures], labels, rounds=20, rate=3e-3)
    model = export_scripted(network, (pictures[:2],), {"image": {0: "batch"}})
    return _made(
        "depthwise-separable CNN on coloured digits, 3×32×32", model, _rows("image", pictures), labels
    )


def transformer(_: Path) -> Made:
    """Three layers of width 64 over the inked pixels of a digit; ids and mask int64 [batch, tokens], 14 to 64."""
    images, labels = _digits()
    sequences = [_tokens(image) for image in images]
    ids, mask = _padded(sequences)
    network = _fitted(_Transformer, [ids, mask], labels, rounds=30, rate=3e-3)
    axes = {name: {0: "batch", 1: "tokens"} for name in ("ids", "mask")}
    model = export(network, (ids[:2], mask[:2]), axes)
    samples = [_sample(sequence, padded=row % 4 == 0) for row, sequence in enumerate(sequences)]
    return _made("pre-LN transformer over a digit's inked pixels, dynamic length", model, samples, labels)


class _Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))


class _Excite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = (
            nn.Conv2d(channels, channels // 4, 1),
            nn.Conv2d(channels // 4, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))
        return x * functional.hardsigmoid(self.excite(inner))


class _Inverted(nn.Module):
    """Widen, convolve each channel on its own, weigh the channels, narrow; added to the input where it fits."""

    def __init__(self, channels: int, wide: int, out: int, stride: int, active: type[nn.Module]) -> None:
        super().__init__()
        self.residual = stride == 1 and channels == out
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), active()),
            *(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), active()),
            *(_Excite(wide), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class _Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()),
            _Inverted(16, 32, 16, 1, nn.ReLU6),
            _Inverted(16, 64, 24, 2, nn.ReLU6),
            _Inverted(24, 96, 24, 1, nn.Hardswish),
            _Inverted(24, 96, 40, 2, nn.Hardswish),
            *(nn.Conv2d(40, 160, 1, bias=False), nn.BatchNorm2d(160), nn.Hardswish()),
        )
        self.head = nn.Linear(160, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(functional.adaptive_avg_pool2d(self.features(image), 1).flatten(1))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.mix(self.before(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.join(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.feed(self.between(x))


class _Transformer(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(64 * LEVELS + 1, width), nn.Embedding(TOKENS, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = mask.to(torch.float32)
        if self.training:  # a digit can be told with some of its ink missing
            kept = kept * (torch.rand_like(kept) > 0.2)
        bias = (1.0 - kept[:, None, None, :]) * -1e4
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers:
            x = layer(x, bias)
        kept = kept.unsqueeze(-1)
        return self.head((self.norm(x) * kept).sum(1) / kept.sum(1))


@cache
def _digits() -> tuple[Tensor, NDArray[np.int64]]:
    """Return the images [1797, 1, 8, 8] in 0..1 and their labels, the held-out ones first."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return torch.from_numpy((images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)), labels[order]


def _resized(images: Tensor, side: int) -> Tensor:
    return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)


def _colours(count: int) -> tuple[Tensor, Tensor]:
    """Return light ink and dark paper, [count, 3, 1, 1] each."""
    rng = np.random.default_rng(1)
    ink, paper = rng.uniform(0.5, 1.0, (count, 3, 1, 1)), rng.uniform(0.0, 0.35, (count, 3, 1, 1))
    return torch.from_numpy(ink.astype(np.float32)), torch.from_numpy(paper.astype(np.float32))


def _tokens(image: Tensor) -> NDArray[np.int64]:
    """Return one id per inked pixel, in reading order: its place, and how dark it is."""
    ink = np.ceil(image.numpy().ravel() * LEVELS).astype(np.int64)
    places = np.flatnonzero(ink)
    return np.asarray(places * LEVELS + ink[places], np.int64)


def _sample(sequence: NDArray[np.int64], *, padded: bool) -> dict[str, NDArray[np.int64]]:
    extra = -len(sequence) % PAD_TO if padded else 0
    mask = np.pad(np.ones_like(sequence), (0, extra))
    return {"ids": np.pad(sequence, (0, extra))[np.newaxis], "mask": mask[np.newaxis]}


def _padded(sequences: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    ids = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return torch.from_numpy(ids), torch.from_numpy((ids > 0).astype(np.int64))


def _rows(name: str, images: Tensor) -> Samples:
    return [{name: image[np.newaxis]} for image in images.numpy()]


def _fitted(
    network: type[nn.Module], inputs: Sequence[Tensor], labels: NDArray[np.int64], *, rounds: int, rate: float
) -> nn.Module:
    """Train on all that is not held out."""
    given = [x[HELD_OUT:] for x in inputs]
    return fit(network, given, torch.from_numpy(labels[HELD_OUT:]), rounds=rounds, rate=rate)


def _made(about: str, model: bytes, samples: Samples, labels: NDArray[np.int64]) -> Made:
    calibration = samples[HELD_OUT : HELD_OUT + CALIBRATION]
    return Made(about, model, calibration, samples[:EVALUATED], labels[:EVALUATED].tolist())
