"""Make the net that a student's options describe, before it is trained. The type selects the code."""

# mypy: allow-untyped-calls
from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor, fx, nn

from edgewise.lab.model.load import OnnxModel
from edgewise.lab.train.aware import rounded
from edgewise.lab.train.corpus import Batch, Corpus
from edgewise.lab.train.fit import outputs
from edgewise.lab.train.layers import keep_layers
from edgewise.lab.train.losses import Goal
from edgewise.lab.train.named import named
from edgewise.lab.train.prune import pruned
from edgewise.lab.train.static import occurring, static
from edgewise.lab.train.students import AnyStudent, Aware, FewerLayers, Named, Pruned, StaticEmbedding

__all__ = ["Material", "make", "training"]

_SEEN = 512
"""Samples that channels are ranked on."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a net is made from: the original and its import, the samples, folders of the user and of what is kept."""

    model: OnnxModel
    module: fx.GraphModule
    corpus: Corpus
    goal: Goal
    base: Path
    kept: Path

    def first(self) -> Batch:
        """Return a sample or two, to try a net on."""
        batch = self.corpus.batches[0]
        return batch.take(self.corpus.train[0][:2])


def make(student: AnyStudent, given: Material) -> nn.Module:
    """Return the untrained net. Raises InputError where the options do not fit, ToolchainError where a tool fails."""
    match student:
        case Pruned():
            return pruned(
                copy.deepcopy(given.module),
                given.first().inputs,
                share=student.share,
                align=student.align,
                backward=partial(_backward, given),
            )
        case FewerLayers():
            return keep_layers(copy.deepcopy(given.module), student.keep)
        case StaticEmbedding():
            return static(student, given.model, given.module, given.corpus, given.kept / "tokens.npy")
        case Named():
            batch = given.first()
            return named(student.function, given.base, given.model, batch.inputs, batch.answers)
        case Aware():
            return copy.deepcopy(given.module)


def training(student: AnyStudent, net: nn.Module, given: Material) -> AbstractContextManager[None]:
    """Return what holds while the net is trained."""
    match student:
        case Aware():
            return rounded(net, student.bits)
        case StaticEmbedding():
            return occurring(student, given.model, net, given.corpus)
    return nullcontext()


def _backward(given: Material, module: nn.Module) -> None:
    """Leave the gradients of the loss over some samples in `module`."""
    module.zero_grad()
    seen = 0
    for batch, rows in zip(given.corpus.batches, given.corpus.train, strict=True):
        if seen >= _SEEN:
            return
        if len(rows):
            taken = batch.take(rows[: _SEEN - seen])
            made: tuple[Tensor, ...] = outputs(module, taken.inputs)
            given.goal.loss(made, taken).backward()
            seen += taken.rows
