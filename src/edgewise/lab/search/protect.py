"""Mixed precision by protection: as few layers in float as let a quantized file hold the floor.

    layers of a quantized file, ranked by the error each removes a byte     (a few calibration samples)
    → the first 1, 2, 4 … of them in float: how many are needed?            (bisection, on the search split)

It is tried for a target on which nothing with int8 arithmetic holds the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from edgewise.errors import EdgewiseError, InputError
from edgewise.lab import attempt
from edgewise.lab.compress.layers import Ranking
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.plan import Plan
from edgewise.lab.trial import Judged, Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import NncfPtq, Quantizer

__all__ = ["protect"]

MOST = 0.5  # of the layers: what needs more is no int8 file
RANKED_BY = "onnxruntime"  # its files are ONNX, which can be taken apart again


def protect(
    plan: Plan, shop: Workshop, source: Path, trials: Sequence[Trial], reference: Judged, watcher: Watcher
) -> list[Trial]:
    """Return what was tried beyond `trials`; each failure is a trial's reason."""
    bases = list(_bases(plan, trials))
    quantized = _rankable(trials)
    if not bases or quantized is None:
        return []
    watcher.stage("Protecting layers", len(bases))
    try:
        ranking = shop.rank(source, quantized)
    except EdgewiseError as error:
        watcher.step(f"no ranking: {error}")
        return []
    tried: list[Trial] = []
    for base in bases:
        tried += _bisected(base, ranking, _trier(plan, shop, source, reference))
        watcher.step(base.id)
    return tried


def _bases(plan: Plan, trials: Sequence[Trial]) -> Iterator[Trial]:
    """Yield, for each target whose int8 files all fall short, the one that comes nearest to the floor."""
    for target in plan.targets:
        judged = [
            trial
            for trial in trials
            if trial.judged
            and trial.candidate.target == target
            and trial.candidate.precision == "int8"
            and isinstance(trial.candidate.method, Quantizer)
        ]
        if judged and not any(any(trial.holds.values()) for trial in judged):
            yield max(judged, key=lambda trial: (max(one.value for one in trial.margins.values()), trial.id))


def _rankable(trials: Sequence[Trial]) -> Trial | None:
    """Return the ONNX file in QDQ form whose layers are ranked: NNCF's, which keeps the source's names."""
    return next(
        (
            trial
            for trial in trials
            if trial.built
            and trial.candidate.target == RANKED_BY
            and isinstance(trial.candidate.method, NncfPtq)
            and not trial.candidate.repairs
        ),
        None,
    )


def _bisected(base: Trial, ranking: Ranking, attempted: Callable[[Candidate], Trial]) -> Iterator[Trial]:
    """Find the shortest head of the ranking that holds the floor; yield all that was tried."""
    short, enough = 0, int(MOST * len(ranking.layers))
    first = attempted(_protected(base, ranking, enough))
    yield first
    while any(first.holds.values()) and enough - short > max(1, enough // 8):  # near enough
        middle = (short * enough) ** 0.5 if short else enough**0.5
        count = min(max(int(middle), short + 1), enough - 1)
        trial = attempted(_protected(base, ranking, count))
        yield trial
        if any(trial.holds.values()):
            enough = count
        else:
            short = count


def _protected(base: Trial, ranking: Ranking, count: int) -> Candidate:
    names = sorted(name for layer in ranking.layers[:count] for name in layer.names)
    assert isinstance(base.candidate.method, Quantizer)
    method = msgspec.structs.replace(base.candidate.method, protected=tuple(names))
    return msgspec.structs.replace(base.candidate, method=method)


def _trier(plan: Plan, shop: Workshop, source: Path, reference: Judged) -> Callable[[Candidate], Trial]:
    def attempted(candidate: Candidate) -> Trial:
        trial = Trial(candidate, candidate.id)
        try:
            trial.built = shop.build(candidate, source)
            trial.judged = shop.judge(trial.built, candidate.target, "search", reference=reference)
        except InputError:
            raise
        except EdgewiseError as error:
            trial.reason = str(error)
        attempt.apply_floors(plan, {trial.id: trial}, reference)
        return trial

    return attempted
