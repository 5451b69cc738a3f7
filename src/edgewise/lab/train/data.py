"""Training samples, kept apart from those that calibrate and judge: what is in both is left out here.

The splits are `fit` (these), calibration, search and test; a student that has seen what it is judged on would be
judged too well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError
from edgewise.lab.data import samples
from edgewise.lab.data.metrics import Metric
from edgewise.lab.data.samples import MINIMUM, Dataset, Sample, Tensors
from edgewise.lab.data.splits import Splits
from edgewise.lab.train.section import TrainSection

__all__ = ["Training", "apart", "load"]

MOST_SHARED = 0.5
"""Share of the training samples that may be among the judging ones before the file is taken for the wrong one."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """The samples to train with, whether their labels are learned from, and notes on what was left out."""

    samples: tuple[Sample, ...]
    labels: bool
    notes: tuple[str, ...] = ()


def load(
    section: TrainSection,
    base: Path,
    specs: Sequence[TensorSpec],
    preprocess: Callable[[Any], Tensors] | None,
    *,
    metric: Metric,
    classes: int | None,
    splits: Splits,
) -> Training:
    """Read the samples that `[train]` names. Raises InputError as for `[data]`, and for labels of the wrong kind."""
    dataset = samples.load(section.samples, base, specs, preprocess)
    labels, notes = _labels(section, dataset, metric)
    if labels:
        _check(dataset, metric, classes)
    kept, left_out = apart(dataset, splits)
    return Training(kept, labels, (*notes, *left_out))


def apart(dataset: Dataset, splits: Splits) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the samples that no split holds, and a note on the others. Raises InputError where those are most.

    Samples are compared by content. Groups are numbered anew in each file, so they say nothing here.
    """
    contents = {s.digest() for s in (*splits.calibration, *splits.search, *splits.test)}
    kept = tuple(sample for sample in dataset.samples if sample.digest() not in contents)
    count = len(dataset.samples)
    shared = count - len(kept)
    if len(kept) < MINIMUM or shared > MOST_SHARED * count:
        raise InputError(
            f"[train] {dataset.origin}: {shared} of its {count} samples are also in [data], and students may not be "
            f"trained on what judges them: give others, at least {MINIMUM}"
        )
    if not shared:
        return kept, ()
    return kept, (
        f"{shared} samples of {dataset.origin} are also in [data]: students were not trained on them",
    )


def _labels(section: TrainSection, dataset: Dataset, metric: Metric) -> tuple[bool, tuple[str, ...]]:
    """Return whether labels are learned from, and what to say about it."""
    able = metric.of_classes
    if section.labels and not dataset.labelled:
        raise InputError(f"[train] labels = true, but {dataset.origin} has none: add 'labels'")
    if section.labels and not able:
        raise InputError(f"[train] labels = true, but {metric.name} is no metric of classes: leave it out")
    if section.labels is False:
        return False, ()
    if not dataset.labelled:
        return False, (f"{dataset.origin} has no labels: students learn from the original's answers alone",)
    return able, ()


def _check(dataset: Dataset, metric: Metric, classes: int | None) -> None:
    for index, sample in enumerate(dataset.samples):
        try:
            metric.check(sample.label, classes)
        except InputError as error:
            raise InputError(f"[train] {dataset.origin}: sample {index}: {error}") from error
