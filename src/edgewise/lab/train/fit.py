"""Train one student: AdamW, a learning rate that rises and falls by a cosine, the best epoch by held-out samples.

The same net, samples, options and seed give the same weights on the same machine and thread count, as long as the
bound on time is not met: then the schedule is shortened to the steps that fit, and the result says so.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.errors import ToolchainError
from edgewise.lab.train.corpus import Batch, Corpus
from edgewise.lab.train.losses import Goal
from edgewise.lab.train.report import Epoch

__all__ = ["Fitted", "Settings", "fit", "outputs"]

_STEPS, _FEWEST, _MOST = 1000, 3, 30
_WARM, _DECAY, _CLIP = 0.1, 0.01, 1.0
_TRIED = 10
"""Steps after which their pace is known well enough to plan by."""
_EXPLODED = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train: passes (None: as many as make some 1,000 steps, 3 to 30), highest rate, samples a step, time."""

    epochs: int | None
    rate: float
    batch: int
    seconds: float
    seed: int
    device: str = "cpu"

    def passes(self, rows: int) -> int:
        """Return how many passes over `rows` samples are made."""
        return self.epochs or min(_MOST, max(_FEWEST, _STEPS * self.batch // max(rows, 1)))


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training was: each epoch, which was kept, steps made and planned, and whether time cut them short."""

    epochs: tuple[Epoch, ...]
    best: int
    steps: int
    planned: int
    shortened: bool


def fit(net: nn.Module, corpus: Corpus, goal: Goal, settings: Settings) -> Fitted:
    """Train `net` in place; it ends in eval mode with the weights of its best epoch.

    Raises ToolchainError saying at which step the loss left all bounds.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    training = _Training(net, goal, settings, corpus)
    epochs: list[Epoch] = []
    best, kept = 0, net.state_dict()
    while not training.finished:
        loss = training.epoch(corpus.epoch(settings.batch, generator))
        epochs.append(_judged(net, corpus, goal, settings.device, loss))
        if not math.isfinite(epochs[-1].held):
            raise training.diverged(epochs[-1].held)
        if _rank(epochs[-1]) >= max(map(_rank, epochs)):
            best, kept = len(epochs) - 1, copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)
    net.eval()
    shortened = training.total < training.planned
    return Fitted(tuple(epochs), best, training.step, training.planned, shortened)


def outputs(net: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return what `net` answers, as a tuple."""
    made = net(*inputs)
    return tuple(made) if isinstance(made, tuple | list) else (made,)


class _Training:
    """Steps of the optimizer, their schedule, and the watch over the loss."""

    def __init__(self, net: nn.Module, goal: Goal, settings: Settings, corpus: Corpus) -> None:
        self.net, self.goal, self.settings = net, goal, settings
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, settings.rate, weight_decay=_DECAY)
        a_pass = -(-corpus.rows // settings.batch)
        self.passes = settings.passes(corpus.rows)
        self.planned = self.total = self.passes * a_pass
        self.step, self.passed, self.started = 0, 0, time.monotonic()
        self.first: list[float] = []
        self.recent: deque[float] = deque(maxlen=_TRIED)

    @property
    def finished(self) -> bool:
        """Whether all passes were made, which take about the steps planned, or the steps that there is time for."""
        return self.step >= self.total or self.passed >= self.passes

    def epoch(self, steps: Any) -> float:
        """Make one pass, or what is left of the schedule; return its mean loss."""
        self.net.train()
        losses = []
        for batches in steps:
            if self.finished:
                break
            losses.append(self._step(batches))
            self._keep_to_time()
        self.passed += 1
        return sum(losses) / len(losses)

    def _step(self, batches: Sequence[Batch]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate * _shape(min(1.0, self.step / self.total))
        self.optimizer.zero_grad()
        rows, total = sum(batch.rows for batch in batches), 0.0
        for batch in batches:
            moved = batch.to(self.settings.device)
            loss = self.goal.loss(outputs(self.net, moved.inputs), moved) * (batch.rows / rows)
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
        self.optimizer.step()
        self.step += 1
        self._watch(total)
        return total

    def _watch(self, loss: float) -> None:
        """Raise ToolchainError when the loss is no number, or ten times what it began with."""
        self.recent.append(loss)
        if len(self.first) < _TRIED:
            self.first.append(loss)
        began = max(1.0, sum(self.first) / len(self.first))
        now = sum(self.recent) / len(self.recent)
        if not math.isfinite(loss) or (self.step > _TRIED and now > _EXPLODED * began):
            raise self.diverged(loss)

    def diverged(self, loss: float) -> ToolchainError:
        """Return the error that says how far training came, and what to change."""
        return ToolchainError(
            f"training diverged at step {self.step} of {self.total}: the loss went from {self.first[0]:.3g} to "
            f"{loss:.3g}; set [train] learning_rate below {self.settings.rate:g}"
        )

    def _keep_to_time(self) -> None:
        """Shorten the schedule where the pace so far would exceed the time."""
        if self.step >= _TRIED:
            pace = (time.monotonic() - self.started) / self.step
            if pace * self.total > self.settings.seconds:
                self.total = max(self.step, int(self.settings.seconds / pace))


def _shape(done: float) -> float:
    """Return the share of the highest learning rate after a share of all steps."""
    if done < _WARM:
        return (done + 0.01) / (_WARM + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM) / (1 - _WARM)))


def _judged(net: nn.Module, corpus: Corpus, goal: Goal, device: str, train: float) -> Epoch:
    net.eval()
    rows, loss, same, right, positions, labelled = 0, 0.0, 0, 0, 0, False
    with torch.no_grad():
        for batch in corpus.held_out():
            moved = batch.to(device)
            made = outputs(net, moved.inputs)
            loss += goal.loss(made, moved).item() * batch.rows
            counts = goal.agreed(made, moved)
            same, right, positions = same + counts[0], right + counts[1], positions + counts[2]
            rows, labelled = rows + batch.rows, batch.labels is not None
    if not positions:
        return Epoch(train, loss / rows)
    return Epoch(train, loss / rows, same / positions, right / positions if labelled else None)


def _rank(epoch: Epoch) -> tuple[float, float]:
    """Return what the best epoch has most of: right answers, else those of the original, else a low loss."""
    first = epoch.accuracy if epoch.accuracy is not None else epoch.agreement
    return (0.0 if first is None else first, -epoch.held)
