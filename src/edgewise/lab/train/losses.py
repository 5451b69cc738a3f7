"""What a student is taught: the original's scores, softened, and the labels; or the original's values as they are.

Where the output is scores of classes, KL divergence at temperature 2 from the original's distribution (Hinton et
al., 2015), averaged with cross entropy where there are labels. Else the squared error, as a share of the variance
of the original's values, so that outputs of any unit count alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgewise.lab.train.corpus import Batch, Corpus

__all__ = ["Goal", "goal_of", "scored"]

_TEMPERATURE = 2.0
_TINY = 1e-9


class Goal:
    """The loss of one batch, and how many of its decisions agree with the original and with the labels."""

    def __init__(self, *, classes: bool, probabilities: bool, scales: Sequence[float], place: int) -> None:
        self.classes, self.probabilities, self.scales, self.place = classes, probabilities, scales, place

    def loss(self, outputs: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the mean loss over the rows of a batch."""
        total = outputs[self.place].new_zeros(())
        for index, (ours, theirs) in enumerate(zip(outputs, batch.answers, strict=True)):
            if self.classes and index == self.place:
                total = total + self._taught(ours, theirs, batch.labels)
            elif theirs.is_floating_point():
                total = total + functional.mse_loss(ours, theirs) / self.scales[index]
        return total

    def agreed(self, outputs: Sequence[Tensor], batch: Batch) -> tuple[int, int, int]:
        """Return positions that agree with the original, that are right by the labels, and all."""
        if not self.classes:
            return 0, 0, 0
        ours = outputs[self.place].argmax(-1)
        same = int((ours == batch.answers[self.place].argmax(-1)).sum())
        right = 0 if batch.labels is None else int((ours == batch.labels).sum())
        return same, right, ours.numel()

    def _taught(self, ours: Tensor, theirs: Tensor, labels: Tensor | None) -> Tensor:
        mine, original = self._logs(ours), self._logs(theirs)
        soft = functional.kl_div(
            functional.log_softmax(mine / _TEMPERATURE, -1).flatten(0, -2),
            functional.log_softmax(original / _TEMPERATURE, -1).flatten(0, -2),
            reduction="batchmean",
            log_target=True,
        )
        soft = soft * _TEMPERATURE**2
        if labels is None:
            return soft
        return (soft + functional.cross_entropy(mine.flatten(0, -2), labels.flatten())) / 2

    def _logs(self, scores: Tensor) -> Tensor:
        return scores.clamp(min=_TINY).log() if self.probabilities else scores


def goal_of(corpus: Corpus, *, classes: bool) -> Goal:
    """Return the goal for these answers: `classes` where the judged output is scores over its last axis."""
    first = corpus.batches[0].answers
    place = scored(first)
    wide = first[place].dim() > 0 and first[place].shape[-1] > 1
    values = [torch.cat([batch.answers[i].flatten() for batch in corpus.batches]) for i in range(len(first))]
    scales = [float(value.var()) + _TINY if value.is_floating_point() else 1.0 for value in values]
    judged = [batch.answers[place] for batch in corpus.batches]
    return Goal(
        classes=classes and wide,
        probabilities=classes and wide and all(map(_distributed, judged)),
        scales=scales,
        place=place,
    )


def scored(outputs: Sequence[Tensor]) -> int:
    """Return which output is judged, as the metrics do: the first of floating type."""
    return next((index for index, item in enumerate(outputs) if item.is_floating_point()), 0)


def _distributed(scores: Tensor) -> bool:
    """Tell whether scores are probabilities: none negative, and they sum to 1."""
    return bool((scores >= 0).all() and ((scores.sum(-1) - 1).abs() < 1e-3).all())
