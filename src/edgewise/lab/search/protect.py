"""Mixed precision by protection: as few layers in float as let a quantized file hold the floor.

Of a file with four bits, the protected layers have eight.

layers of a quantized file, ranked by the error each removes a byte, or a microsecond  (a few calibration samples)
→ the first 1, 2, 4 … of them in float: how many are needed?                            (bisection, on the search split)
→ without each of these again: which were needed only because of others?                (a look, then the search split)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgewise.errors import EdgewiseError
from edgewise.lab.compress.layers import Cost, Layer, Ranking
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.trial import Trial
from edgewise.targets.building import NncfPtq, Quantizer, WeightInt4

if TYPE_CHECKING:
    from edgewise.lab.search.ladder import Ladder

__all__ = ["bisected", "protect"]

MOST = 0.5  # of the layers: what needs more is no int8 file
RANKED_BY = Candidate(NncfPtq(), "onnxruntime")  # its files are ONNX and keep the source's names
ABLATED = 4  # of the protected layers, the costliest, tried without
NEARER = 1.05  # a file without one of them may be this much further from the original
FOR_ABLATION = 2  # evaluations kept

Attempt = Callable[[Candidate], Trial]


def protect(ladder: Ladder, base: Trial, budget: int) -> None:
    """Try `base` with layers in float, asking the real metric `budget` times at most."""
    ladder.watcher.stage(f"Protecting layers of {base.id}", budget)
    ranking = _ranking(ladder, base)
    if ranking is None:
        return
    cost: Cost = "microseconds" if any(one.by_speed for one in ladder.standings) else "bytes"
    order = ranking.by(cost)

    def attempted(candidate: Candidate) -> Trial:
        trial = ladder.try_one(candidate)
        ladder.judge([trial] if trial.glance else [])
        return trial

    tried = list(bisected(base, order, attempted, budget - FOR_ABLATION))
    held = [trial for trial in tried if any(trial.holds.values())]
    if held:
        _ablate(ladder, min(held, key=_protected_count), ranking, cost, attempted)


def _ranking(ladder: Ladder, base: Trial) -> Ranking | None:
    """Rank the layers; None, with the reason as a step, where there is no file to rank them by.

    A file that keeps the source's names is ranked by itself, all others by NNCF's.
    """
    student = base.candidate.student
    by = RANKED_BY
    if isinstance(base.candidate.method, WeightInt4):
        by = Candidate(WeightInt4(), base.candidate.target)
    quantized = ladder.try_one(msgspec.structs.replace(by, student=student))
    try:
        if quantized.built:
            return ladder.shop.rank(ladder.sources[student], quantized)
        ladder.watcher.step(f"no ranking of layers: {quantized.reason}")
    except EdgewiseError as error:
        ladder.watcher.step(f"no ranking of layers: {error}")
    return None


def bisected(base: Trial, order: Sequence[Layer], attempted: Attempt, budget: int) -> Iterator[Trial]:
    """Find the shortest head of the ranking that holds the floor; yield all that was tried, `budget` at most."""
    short, enough = 0, int(MOST * len(order))
    if not enough or budget < 1:
        return
    first = attempted(protecting(base, order[:enough]))
    yield first
    while any(first.holds.values()) and enough - short > max(1, enough // 8) and budget > 1:  # near enough
        budget -= 1
        middle = (short * enough) ** 0.5 if short else enough**0.5
        count = min(max(int(middle), short + 1), enough - 1)
        trial = attempted(protecting(base, order[:count]))
        yield trial
        if any(trial.holds.values()):
            enough = count
        else:
            short = count


def _ablate(ladder: Ladder, held: Trial, ranking: Ranking, cost: Cost, attempted: Attempt) -> None:
    """Quantize again what is protected for nothing: without each of the costliest, who is as near without it?"""
    layers = _layers_of(held, ranking)
    if len(layers) < 2:
        return
    costliest = sorted(layers, key=lambda one: (-getattr(one, cost), one.names))[:ABLATED]
    without = {
        layer.names: ladder.try_one(protecting(held, [one for one in layers if one != layer]))
        for layer in costliest
    }
    needless = [names for names, trial in without.items() if trial.distance <= NEARER * held.distance]
    for drop in (needless, needless[:1]):
        kept = [one for one in layers if one.names not in drop]
        if drop and kept and any(attempted(protecting(held, kept)).holds.values()):
            return


def _layers_of(trial: Trial, ranking: Ranking) -> list[Layer]:
    assert isinstance(trial.candidate.method, Quantizer)
    names = set(trial.candidate.method.protected)
    return [layer for layer in ranking.layers if not names.isdisjoint(layer.names)]


def protecting(base: Trial, layers: Sequence[Layer]) -> Candidate:
    """Return a trial's candidate with these layers, and no others, in float."""
    names = sorted(name for layer in layers for name in layer.names)
    assert isinstance(base.candidate.method, Quantizer)
    method = msgspec.structs.replace(base.candidate.method, protected=tuple(names))
    return msgspec.structs.replace(base.candidate, method=method)


def _protected_count(trial: Trial) -> int:
    assert isinstance(trial.candidate.method, Quantizer)
    return len(trial.candidate.method.protected)
