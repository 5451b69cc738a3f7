"""Small real torch projects: a CNN on digits and a transformer over sentences of any length, as a user keeps them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from edgewise.lab.model import export_torch

TOML = """\
[model]
path = "{model}"
[data]
samples = "samples.npz"
metric = "accuracy"
[goal]
quality = "90% of original"
[measure]
threads = 1
rounds = 1
"""

NET = '''\
"""A network as its owner keeps it: the class, its weights beside it, and how it is called."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(32, 10)

    def forward(self, image):
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(self.second(x)).mean((2, 3))
        return {"logits": self.head(self.drop(x))}


def make():
    net = Net()
    with np.load(Path(__file__).with_name("weights.npz")) as file:
        net.load_state_dict({name: torch.from_numpy(file[name]) for name in file.files})
    return net, {"image": torch.zeros(1, 1, 8, 8)}, {"image": {0: "batch"}}
'''


class Words(nn.Module):  # type: ignore[misc]
    """ids and mask (batch, length) → logits (batch, 2): one layer of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(32, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        seen = self.layer(self.table(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).float()
        return self.head((seen * weights).sum(1) / weights.sum(1))


@cache
def digits() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)


@cache
def net_class() -> Any:
    """Return the class that NET defines, as an import of it would."""
    scope: dict[str, Any] = {"__file__": "net.py", "__name__": "net"}
    exec(compile(NET, "net.py", "exec"), scope)
    return scope["Net"]


@cache
def cnn() -> nn.Module:
    images, labels = (torch.from_numpy(array) for array in digits())
    torch.manual_seed(0)
    return fitted(net_class()(), lambda net: net(images[:900])["logits"], labels[:900], steps=60)


@cache
def words() -> nn.Module:
    """Tell whether id 5 is in a sentence: fitted until it nearly always can."""
    ids, mask, labels = (torch.from_numpy(array) for array in sentences(512, 12, seed=1))
    torch.manual_seed(0)
    return fitted(Words(), lambda net: net(ids, mask), labels, steps=80)


def fitted(net: nn.Module, answer: Any, labels: Tensor, *, steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(answer(net), labels).backward()
        optimizer.step()
    return net


def sentences(count: int, length: int, seed: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    ids = random.integers(6, 32, (count, length))
    labels = np.arange(count) % 2
    ids[labels == 1, random.integers(0, length, count)[labels == 1]] = 5
    return ids, np.ones_like(ids), labels


def cnn_project(folder: Path) -> Path:
    """Write net.py with its weights and samples, and a configuration that names `net.py:make`."""
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(NET)
    np.savez(folder / "weights.npz", **{k: v.detach().numpy() for k, v in cnn().state_dict().items()})
    images, labels = digits()
    np.savez(folder / "samples.npz", image=images[900:1300], labels=labels[900:1300])
    path = folder / "edgewise.toml"
    path.write_text(TOML.format(model="net.py:make"))
    return path


def words_project(folder: Path) -> Path:
    """Write words.pt2 and a function that yields sentences of many lengths."""
    folder.mkdir(parents=True)
    ids, mask, _ = sentences(2, 7, seed=0)
    both = {0: "batch", 1: "length"}
    example = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
    export_torch(words(), example, folder / "words.pt2", dynamic={"ids": both, "mask": both})
    (folder / "samples.py").write_text(SAMPLES)
    path = folder / "edgewise.toml"
    path.write_text(TOML.format(model="words.pt2").replace("samples.npz", "samples.py:read"))
    return path


SAMPLES = """\
import numpy as np


def read():
    random = np.random.default_rng(3)
    for index in range(400):
        ids = random.integers(6, 32, (1, int(random.integers(4, 20))))
        if index % 2:
            ids[0, random.integers(0, ids.shape[1])] = 5
        yield {"ids": ids, "mask": np.ones_like(ids)}, index % 2
"""
