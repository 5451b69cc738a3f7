"""Training samples as torch tensors: those of one shape together, each with the original's answer and its label.

Nothing is padded, because what a pad is, only the model knows: a batch holds samples of one shape. Where the model
takes one sample at a time, a batch is made of batches of one.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError
from edgewise.lab.measure.store import Store
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.runtime import open_session

__all__ = ["Batch", "Corpus", "read"]

Arrays = dict[str, NDArray[Any]]

_AT_ONCE = 64
_SHARE_HELD, _MOST_HELD = 0.1, 2000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one shape, stacked on the first axis: inputs and answers in the graph's order."""

    inputs: tuple[Tensor, ...]
    answers: tuple[Tensor, ...]
    labels: Tensor | None
    rows: int

    def take(self, rows: Tensor) -> Batch:
        """Return these rows; all of them where the batch is one sample, which may have no axis to choose from."""
        if self.rows == 1:
            return self
        labels = None if self.labels is None else self.labels[rows]
        return Batch(
            tuple(x[rows] for x in self.inputs), tuple(y[rows] for y in self.answers), labels, len(rows)
        )

    def to(self, device: str) -> Batch:
        """Return the batch on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(
            tuple(x.to(device) for x in self.inputs),
            tuple(y.to(device) for y in self.answers),
            labels,
            self.rows,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Samples in batches of one shape each, and which rows of them are trained on and held out."""

    batches: tuple[Batch, ...]
    train: tuple[Tensor, ...]
    held: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        """How many samples are trained on."""
        return sum(map(len, self.train))

    def epoch(self, size: int, generator: torch.Generator) -> Iterator[list[Batch]]:
        """Yield steps of about `size` samples in a random order, each a list of batches."""
        pieces = [
            (index, piece)
            for index, rows in enumerate(self.train)
            for piece in rows[torch.randperm(len(rows), generator=generator)].split(size)
            if len(piece)
        ]
        step: list[Batch] = []
        for place in torch.randperm(len(pieces), generator=generator).tolist():
            index, rows = pieces[place]
            step.append(self.batches[index].take(rows))
            if sum(batch.rows for batch in step) >= size:
                yield step
                step = []
        if step:
            yield step

    def held_out(self) -> Iterator[Batch]:
        """Yield the samples that are not trained on."""
        for batch, rows in zip(self.batches, self.held, strict=True):
            for piece in rows.split(_AT_ONCE):
                if len(piece):
                    yield batch.take(piece)


def read(path: Path, model: OnnxModel, *, labels: bool, seed: int, kept: Path | None = None) -> Corpus:
    """Read a store of samples and ask the original for its answers; `kept` is a file that keeps them for the next.

    Labels are left out where the judged output is no scores of several classes.

    Raises InputError naming the sample whose label does not fit the answer.
    """
    with Store(path) as store:
        feeds = [store.inputs(index) for index in range(len(store))]
        given = [store.label(index) if labels else None for index in range(len(store))]
    alike = _alike(feeds, model)
    answers = _answers(model, feeds, alike, kept)
    found = [_batch(model, rows, feeds, own, given) for rows, own in zip(alike, answers, strict=True)]
    train, held = _divided([batch.rows for batch in found], seed)
    return Corpus(tuple(found), train, held)


def _alike(feeds: Sequence[Arrays], model: OnnxModel) -> list[list[int]]:
    """Return samples by shape, in the order of their first; each alone where they cannot be stacked."""
    stackable = all(
        spec.shape and not isinstance(spec.shape[0], int) for spec in (*model.inputs, *model.outputs)
    )
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, feed in enumerate(feeds):
        one = stackable and all(array.shape[0] == 1 for array in feed.values())
        shape = tuple(feed[spec.name].shape for spec in model.inputs)
        groups[shape if one else (index, shape)].append(index)
    return list(groups.values())


def _answers(
    model: OnnxModel, feeds: Sequence[Arrays], alike: Sequence[Sequence[int]], kept: Path | None
) -> list[tuple[NDArray[Any], ...]]:
    """Return for each group of samples what the original answers, stacked."""
    names = [spec.name for spec in model.outputs]
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return [tuple(file[f"{i}/{name}"] for name in names) for i in range(len(alike))]
    session = open_session(model.proto)
    found = []
    for rows in alike:
        pieces = [
            session.run(names, _stacked(feeds, rows[start : start + _AT_ONCE], model.inputs))
            for start in range(0, len(rows), _AT_ONCE)
        ]
        found.append(tuple(_joined([piece[i] for piece in pieces]) for i in range(len(names))))
    if kept is not None:
        arrays = {f"{i}/{n}": a for i, group in enumerate(found) for n, a in zip(names, group, strict=True)}
        fresh = kept.with_name(f"{os.getpid()}-{kept.name}")  # another training may read meanwhile
        np.savez(fresh, **arrays)  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword
        fresh.replace(kept)
    return found


def _joined(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def _stacked(feeds: Sequence[Arrays], rows: Sequence[int], specs: Sequence[TensorSpec]) -> Arrays:
    if len(rows) == 1:
        return feeds[rows[0]]
    return {spec.name: np.concatenate([feeds[row][spec.name] for row in rows]) for spec in specs}


def _batch(
    model: OnnxModel,
    rows: Sequence[int],
    feeds: Sequence[Arrays],
    answers: tuple[NDArray[Any], ...],
    given: Sequence[Any],
) -> Batch:
    stacked = _stacked(feeds, rows, model.inputs)
    inputs = tuple(torch.from_numpy(np.array(stacked[spec.name])) for spec in model.inputs)
    scored = _scored(answers)
    labels = None
    if given[rows[0]] is not None and scored.ndim and scored.shape[-1] > 1:
        wanted = scored.shape[:-1] if len(rows) == 1 else (1, *scored.shape[1:-1])
        one = [_label(given[row], wanted, scored.shape[-1], row) for row in rows]
        labels = torch.from_numpy(np.concatenate(one) if len(one) > 1 else one[0])
    return Batch(inputs, tuple(torch.from_numpy(np.array(y)) for y in answers), labels, len(rows))


def _scored(answers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the output that is judged, as the metrics do: the first of floating type."""
    return next((array for array in answers if array.dtype.kind == "f"), answers[0])


def _label(label: Any, wanted: tuple[int, ...], classes: int, row: int) -> NDArray[np.int64]:
    """Return a label as class numbers of the shape of the answer without its last axis."""
    array = np.asarray(label)
    size = int(np.prod(wanted))
    if array.dtype.kind not in "biu" or array.size != size:
        raise InputError(
            f"training sample {row}: its label {_short(label)} does not fit: give {size} class number"
            + ("s, one for each position" if size != 1 else "")
        )
    if array.min() < 0 or array.max() >= classes:
        raise InputError(f"training sample {row}: its label {_short(label)} is no class of 0 … {classes - 1}")
    return array.astype(np.int64).reshape(wanted)


def _short(label: Any) -> str:
    text = str(label).replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:39]}…"


def _divided(sizes: Sequence[int], seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return for each batch the rows to train on and those held out: a tenth of all, at most 2,000."""
    total = sum(sizes)
    held = np.zeros(total, bool)
    count = min(_MOST_HELD, max(1, int(total * _SHARE_HELD)))
    held[np.random.default_rng(seed).permutation(total)[:count]] = True
    parts = np.split(held, np.cumsum(sizes)[:-1])
    return (
        tuple(torch.from_numpy(np.flatnonzero(~part)) for part in parts),
        tuple(torch.from_numpy(np.flatnonzero(part)) for part in parts),
    )
