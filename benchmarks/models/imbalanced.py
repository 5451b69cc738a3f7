"""The imbalanced twin of `fashion`: the same function, the channels spread over three decades (imbalance.py).

make_project(folder, cache) → folder/edgewise.toml
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from benchmarks.models import fashion, imbalance, making, training
from edgewise.errors import ToolchainError

__all__ = ["make_project"]

SEED = 1
PAIRS = 8
"""Convolutions after the first: each of them is paired with the one before."""


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, train.npz and NOTICE.md; return the path of the first."""

    def build(staging: Path) -> None:
        with tempfile.TemporaryDirectory() as aside:
            twin = fashion.make_project(Path(aside) / "fashion", cache).parent
            model = onnx.load(twin / "model.onnx")
            if (spread := imbalance.spread(model, SEED)) != PAIRS:
                raise ToolchainError(f"the exporter wrote {spread} pairs of convolutions instead of {PAIRS}")
            onnx.save(model, staging / "model.onnx")
            for name in ("samples.npz", "train.npz"):
                (twin / name).replace(staging / name)

    code = (__file__, fashion.__file__, imbalance.__file__, training.__file__)
    return making.make(build, folder, cache, code=code, libraries=making.TORCH)
