"""Magika: which of 214 kinds of content is a file?

model       standard_v3_3 (fp32), from the package magika
samples     900 files of this machine, at most 12 for each suffix, so another machine has others and other figures; what
            the original answers is what a variant is held to, because a suffix is a poor label

make_project(folder, cache) → folder/edgewise.toml
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import making
from edgewise.demo.packages import Package, fetch, read
from edgewise.errors import ToolchainError

__all__ = ["features", "make_project"]

MAGIKA = Package(
    "magika",
    "1.0.3",
    "magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
    "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
)
MODEL = "magika/models/standard_v3_3/model.onnx"
BLOCK, EACH, PADDING, SMALLEST = 4096, 1024, 256, 8
"""As config.min.json beside the model has them: bytes read and kept of either end, what fills up, and what is asked."""
FILES, PER_SUFFIX, COMMON, SEED = 900, 12, 3, 0


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz and NOTICE.md; return the path of the first."""

    def build(staging: Path) -> None:
        (staging / "model.onnx").write_bytes(read(fetch(MAGIKA, cache / "packages"), MODEL))
        roots = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/share", "/usr/lib"]
        rows = [features(path) for path in _chosen([Path(root) for root in roots])]
        np.savez_compressed(staging / "samples.npz", bytes=np.stack(rows)[:, np.newaxis])

    return making.make(build, folder, cache, code=(__file__,))


def features(path: Path) -> NDArray[np.int32]:
    """Return both ends of a file without the white space around it: [2048], 256 where there is nothing.

    Source: magika 1.0.3, "features extraction v2".
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        first = file.read(BLOCK).lstrip()[:EACH]
        file.seek(max(0, size - BLOCK))
        last = file.read(BLOCK).rstrip()[-EACH:]
    found = np.full(2 * EACH, PADDING, np.int32)
    found[: len(first)] = np.frombuffer(first, np.uint8)
    found[2 * EACH - len(last) :] = np.frombuffer(last, np.uint8)
    return found


def _chosen(roots: list[Path]) -> list[Path]:
    """Return FILES files, as even over the suffixes as PER_SUFFIX makes them. Raises ToolchainError if there are fewer."""
    suffixes: dict[str, list[Path]] = {}
    for path in sorted({path for root in roots for path in _files(root)}):
        suffixes.setdefault(path.suffix.lower(), []).append(path)
    random = np.random.default_rng(SEED)
    found: list[Path] = []
    for suffix in sorted(suffix for suffix, paths in suffixes.items() if len(paths) >= COMMON):
        paths = suffixes[suffix]
        found += [paths[row] for row in random.permutation(len(paths))[:PER_SUFFIX]]
    if len(found) < FILES:
        raise ToolchainError(
            f"this machine has {len(found)} files of different kinds, and {FILES} are wanted"
        )
    return [found[row] for row in random.permutation(len(found))[:FILES]]


def _files(root: Path) -> Iterator[Path]:
    """Yield the readable regular files below a folder that are large enough to ask about."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and path.stat().st_size >= SMALLEST:
                yield path
