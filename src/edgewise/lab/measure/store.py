"""Samples on disk for workers: read one at a time, so that a big split does not count as a model's memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.lab.data.samples import Sample

__all__ = ["Store", "write"]

Tensors = dict[str, NDArray[Any]]


def write(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples (tensors and label) to an uncompressed .npz."""
    arrays: dict[str, NDArray[Any]] = {}
    for index, sample in enumerate(samples):
        arrays |= {f"{index}/{name}": array for name, array in sample.inputs.items()}
        if sample.label is not None:
            arrays[f"{index}/"] = np.asarray(sample.label)
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword


class Store:
    """Reads what `write` wrote, sample by sample."""

    def __init__(self, path: Path) -> None:
        self._file = np.load(path, allow_pickle=False)
        self._names: dict[int, list[str]] = {}
        for key in self._file.files:
            index, _, name = key.partition("/")
            self._names.setdefault(int(index), []).append(name)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._names)

    def inputs(self, index: int) -> Tensors:
        """Return the tensors of one sample."""
        return {name: self._file[f"{index}/{name}"] for name in self._names[index] if name}

    def label(self, index: int) -> Any:
        """Return the label of one sample, or None."""
        if "" not in self._names[index]:
            return None
        label = self._file[f"{index}/"]
        return label.item() if label.ndim == 0 else label
