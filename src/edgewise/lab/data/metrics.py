"""Metrics as sums of per-sample statistics, so that any of them can be resampled in pairs.

A metric turns each answer into a small vector, and the sum of those vectors into its value: accuracy from
(right, 1), WER from (edits, words), macro F1 from per-class counts, perplexity from (log-loss, tokens).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.processing import Answered, load_function
from edgewise.errors import InputError

__all__ = ["Metric", "find", "kind", "names", "top1"]

Outputs = dict[str, NDArray[Any]]
Vector = NDArray[np.float64]


class Metric:
    """Base: one method per sample, one for the sum."""

    name: ClassVar[str] = ""
    unit: ClassVar[str] = "share"
    higher_is_better: ClassVar[bool] = True
    highest: ClassVar[float] = math.inf
    needs_labels: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    is_agreement: ClassVar[bool] = False
    of_classes: ClassVar[bool] = False
    """Whether labels are class numbers and the output their scores, so that a net can be trained on them."""

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        """Return this sample's statistics. `reference` holds the original's outputs for the sample."""
        raise NotImplementedError

    def value(self, sums: Vector) -> Vector:
        """Return the metric of summed statistics, over the last axis: [..., k] → [...]."""
        return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1e-12))

    def lost(self, length: float) -> tuple[Vector, Vector] | None:
        """Return the statistics of a sample in which a variant has one mistake and the original none, in this order.

        `length`: positions of the sample. None where mistakes have no unit.
        """
        return None

    def check(self, label: Any, classes: int | None) -> None:
        """Raise InputError when `label` cannot be one of this metric's."""


class _ShareMetric(Metric):
    """A share of positions: (right, positions)."""

    highest = 1.0

    def lost(self, length: float) -> tuple[Vector, Vector] | None:
        return np.array([length - 1, length]), np.array([length, length])


class _ClassMetric(Metric):
    highest = 1.0
    of_classes = True

    def check(self, label: Any, classes: int | None) -> None:
        if isinstance(label, np.ndarray) and label.dtype.kind in "biu":
            values = label.ravel()
        elif isinstance(label, int | np.integer):
            values = np.array([label])
        else:
            raise InputError(
                f"{self.name} needs class numbers as labels, got {type(label).__name__} {label!r}"
            )
        for value in values:
            if value < 0 or (classes and value >= classes):
                upper = f"0 to {classes - 1}" if classes else "0 or more"
                raise InputError(f"label {value} is out of range: the model's classes are {upper}")

    def truth(self, label: Any, positions: int) -> NDArray[Any]:
        """Return the label, one class for each position that the model decides."""
        truth = np.asarray(label).ravel()
        if truth.size != positions:
            raise InputError(
                f"{self.name}: the model decides {positions} positions, the label has {truth.size}"
            )
        return truth


class Accuracy(_ClassMetric, _ShareMetric):
    """Share of top-1 answers equal to the label."""

    name = "accuracy"

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        guess = top1(answer.outputs).ravel()
        hits = guess == self.truth(label, guess.size)
        return np.array([hits.sum(), hits.size], np.float64)


@dataclass(frozen=True)
class TopK(_ClassMetric, _ShareMetric):
    """Share of samples whose label is among the k highest scores."""

    k: int
    name: ClassVar[str] = "top-k"

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        scores = main_output(answer.outputs)
        if scores.ndim == 0 or scores.shape[-1] < self.k:
            raise InputError(
                f"top-{self.k} needs at least {self.k} scores, the model gives shape {list(scores.shape)}"
            )
        scores = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
        best = np.argpartition(-scores, self.k - 1, axis=-1)[:, : self.k]
        hits = (best == self.truth(label, len(scores)).reshape(-1, 1)).any(axis=-1)
        return np.array([hits.sum(), hits.size], np.float64)


@dataclass(frozen=True)
class F1(_ClassMetric):
    """Macro-averaged F1 over the classes that occur; for two classes, F1 of class 1."""

    classes: int
    name: ClassVar[str] = "f1"

    def check(self, label: Any, classes: int | None) -> None:
        super().check(label, self.classes)

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        guess = top1(answer.outputs).ravel()
        truth = self.truth(label, guess.size)
        if guess.size and not 0 <= guess.min() <= guess.max() < self.classes:
            raise InputError(
                f"f1 knows the classes 0 to {self.classes - 1}, the model decides {guess.tolist()}"
            )
        counts = np.zeros((3, self.classes))
        np.add.at(counts[0], truth[guess == truth], 1)
        np.add.at(counts[1], guess[guess != truth], 1)
        np.add.at(counts[2], truth[guess != truth], 1)
        return counts.ravel()

    def value(self, sums: Vector) -> Vector:
        hits, false, missed = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, self.classes), -2, 0)
        present = hits + false + missed > 0
        scores = np.where(present, 2 * hits / np.maximum(2 * hits + false + missed, 1e-12), 0)
        if self.classes == 2:
            return np.asarray(scores[..., 1])
        return np.asarray(scores.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


class _NumberMetric(Metric):
    unit = "number"
    higher_is_better = False

    def check(self, label: Any, classes: int | None) -> None:
        number = isinstance(label, int | float | np.number | np.ndarray)
        array = np.asarray(label if number else "")
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise InputError(f"{self.name} needs finite numbers as labels, got {label!r}")

    def errors(self, answer: Answered, label: Any) -> Vector:
        """Differences between the main output and the label."""
        guess = main_output(answer.outputs).astype(np.float64).ravel()
        truth = np.asarray(label, np.float64).ravel()
        if guess.size != truth.size:
            raise InputError(f"{self.name}: the model gives {guess.size} numbers, the label has {truth.size}")
        return guess - truth


class Mae(_NumberMetric):
    """Mean absolute error, in the label's unit."""

    name = "mae"

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        errors = self.errors(answer, label)
        return np.array([np.abs(errors).sum(), errors.size], np.float64)


class Rmse(_NumberMetric):
    """Root mean square error, in the label's unit."""

    name = "rmse"

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        errors = self.errors(answer, label)
        return np.array([np.square(errors).sum(), errors.size], np.float64)

    def value(self, sums: Vector) -> Vector:
        return np.asarray(np.sqrt(super().value(sums)))


class Perplexity(_ClassMetric):
    """exp of the mean negative log-likelihood of the label tokens; outputs are logits [..., classes]."""

    name = "perplexity"
    unit = "number"
    higher_is_better = False
    highest = math.inf

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        logits = np.atleast_1d(main_output(answer.outputs)).astype(np.float64)
        logits = logits.reshape(-1, logits.shape[-1])
        truth = self.truth(label, len(logits))
        if (truth >= logits.shape[-1]).any():
            raise InputError(
                f"label {truth.max()} is out of range: the model scores {logits.shape[-1]} tokens"
            )
        peak = logits.max(axis=-1)
        log_total = peak + np.log(np.exp(logits - peak[:, np.newaxis]).sum(axis=-1))
        return np.array([(log_total - logits[np.arange(len(truth)), truth]).sum(), len(truth)], np.float64)

    def value(self, sums: Vector) -> Vector:
        return np.asarray(np.exp(super().value(sums)))


class _TextMetric(Metric):
    higher_is_better = False

    def check(self, label: Any, classes: int | None) -> None:
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"{self.name} needs non-empty text as labels, got {label!r}")

    def lost(self, length: float) -> tuple[Vector, Vector] | None:
        return np.array([1.0, length]), np.array([0.0, length])

    def units(self, text: str) -> list[str]:
        """Split text into what is counted."""
        raise NotImplementedError

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        from rapidfuzz.distance import Levenshtein

        if answer.value is None:
            raise InputError(
                f"{self.name} needs text: declare a [[post]] step that decodes it (for example op = 'ctc')"
            )
        truth = self.units(label)
        return np.array([Levenshtein.distance(truth, self.units(answer.value)), len(truth)], np.float64)


class Wer(_TextMetric):
    """Word error rate: word edits over words of the reference."""

    name = "wer"

    def units(self, text: str) -> list[str]:
        return text.split()


class Cer(_TextMetric):
    """Character error rate: character edits over characters of the reference."""

    name = "cer"

    def units(self, text: str) -> list[str]:
        return list(text)


class Agreement(_ShareMetric):
    """Share of top-1 positions equal to the original's. Never called accuracy: the original may be wrong."""

    name = "agreement"
    needs_labels = False
    needs_reference = True
    is_agreement = True

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        assert reference is not None
        mine, wanted = top1(answer.outputs).ravel(), top1(reference).ravel()
        equal = int((mine == wanted).sum()) if mine.size == wanted.size else 0
        return np.array([equal, wanted.size], np.float64)


class Cosine(Metric):
    """Mean cosine between the main output and the original's, flattened."""

    name = "cosine"
    unit = "number"
    highest = 1.0
    needs_labels = False
    needs_reference = True
    is_agreement = True

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        assert reference is not None
        first = main_output(answer.outputs).astype(np.float64).ravel()
        second = main_output(reference).astype(np.float64).ravel()
        norm = float(np.linalg.norm(first) * np.linalg.norm(second))
        alike = first @ second / norm if norm else float(not first.any() and not second.any())
        return np.array([alike, 1.0])


@dataclass(frozen=True)
class UserMetric(Metric):
    """The user's `function(outputs, label) -> float` per sample, averaged; higher is better."""

    function: Callable[[Outputs, Any], float]
    reference: str
    name: ClassVar[str] = "user"
    unit: ClassVar[str] = "number"

    def statistics(self, answer: Answered, label: Any, reference: Outputs | None) -> Vector:
        try:
            score = float(self.function(answer.outputs, label))
        except (Exception, SystemExit) as error:  # the user's code may raise anything, and call sys.exit
            raise InputError(f"metric {self.reference} raised {type(error).__name__}: {error}") from error
        if not np.isfinite(score):
            raise InputError(
                f"metric {self.reference} returned {score} for label {label!r}: return a finite number"
            )
        return np.array([score, 1.0])


_KINDS: dict[str, type[Metric]] = {
    cls.name: cls for cls in (Accuracy, F1, Mae, Rmse, Perplexity, Wer, Cer, Agreement, Cosine)
}


def names() -> list[str]:
    """Return what `[data] metric` may say."""
    return sorted([*_KINDS, "top-5 (any top-k)", "file.py:function"])


def find(name: str, base: Path, classes: int | None) -> Metric:
    """Return the metric that `[data] metric` names. Raises InputError listing the known ones."""
    found = kind(name)
    if found is UserMetric:
        file, _, function = name.rpartition(":")
        return UserMetric(load_function(base / file, function), name)
    if found is TopK:
        return TopK(int(name.removeprefix("top-")))
    return F1(classes or 2) if found is F1 else found()


def kind(name: str) -> type[Metric]:
    """Return the class of the metric that `name` means, without importing a user's file."""
    if ".py:" in name:
        return UserMetric
    if re.fullmatch(r"top-[1-9][0-9]{0,8}", name):
        return TopK
    if name in _KINDS:
        return _KINDS[name]
    raise InputError(f"unknown metric {name!r}: known are {', '.join(names())}")


def main_output(outputs: Outputs) -> NDArray[Any]:
    """Return the output that is judged: the first of floating type, else the first."""
    return next(
        (array for array in outputs.values() if array.dtype.kind == "f"), next(iter(outputs.values()))
    )


def top1(outputs: Outputs) -> NDArray[np.int64]:
    """Return the decisions: an integer first output as it is, else argmax over the last axis of the main one.

    A single score per position is a decision at 0.5.
    """
    first = next(iter(outputs.values()))
    if first.dtype.kind in "iub":
        return first.astype(np.int64)
    scores = main_output(outputs)
    if scores.ndim and scores.shape[-1] > 1:
        return np.asarray(scores.argmax(axis=-1))
    return (scores.reshape(-1) >= 0.5).astype(np.int64)
