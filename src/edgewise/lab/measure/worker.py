"""The measuring process: fresh for each candidate, so that nothing of another one is counted.

    import the runtime → baseline memory → load → first answer → warm-up → timed samples → peak memory
                                                              or → score every sample

Only `run` is timed; reading a sample is not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle import golden
from edgewise.bundle.manifest import TensorSpec
from edgewise.bundle.processing import Answered, postprocessor
from edgewise.bundle.steps import PostStep
from edgewise.errors import InputError
from edgewise.lab import jobs
from edgewise.lab.data import metrics
from edgewise.lab.measure import memory
from edgewise.lab.measure.store import Store

__all__ = ["Job", "Measured", "Scoring"]

WARMUP_RUNS = 5
WARMUP_SECONDS = 1.0


class Scoring(msgspec.Struct, frozen=True):
    """How to judge answers. `reference` holds the original's answers; `scores` is where to write the statistics.

    `keep`: write this run's own answers there as the reference for others (the original's run).
    """

    metric: str
    base: str
    classes: int | None
    post: tuple[PostStep, ...]
    scores: str
    reference: str | None = None
    keep: str | None = None


class Job(msgspec.Struct, frozen=True):
    """One measurement of one artifact: `timed` samples for their time, `passes` times over, or all to be scored."""

    artifact: str
    target: str
    outputs: tuple[TensorSpec, ...]
    threads: int
    store: str
    timed: int = 0
    passes: int = 1
    scoring: Scoring | None = None


class Measured(msgspec.Struct, frozen=True):
    """Times in ms per sample; load is from file to first answer; memory in bytes above the bare runtime."""

    times: tuple[float, ...]
    load: float
    memory: int
    runtime: str
    difference: golden.Difference | None = None

    def quantile(self, q: float) -> float:
        """Return a quantile of the times, in ms."""
        return float(np.quantile(self.times, q))


def measure(job: Job) -> Measured:
    """Do the job. Raises DeviceError when the artifact does not load or run."""
    module = targets.session(job.target)
    version = module.version()
    with Store(Path(job.store)) as store:
        first = store.inputs(0)
        base = memory.reset_peak()
        start = time.perf_counter()
        session = module.load(Path(job.artifact), job.outputs, threads=job.threads)
        answered = targets.timed(session, first)
        load = (time.perf_counter() - start) * 1e3
        times = _time(session, store, job.timed, job.passes) if job.timed else []
        peak = memory.peak() - base
        if isinstance(session, targets.Remote):  # a browser's start is none of the model's
            load, peak = session.load_ms + answered, session.peak()
        difference = _score(session, store, job.scoring) if job.scoring else None
        session.close()
    return Measured(tuple(times), load, max(0, peak), version, difference)


def _time(session: targets.Session, store: Store, count: int, passes: int) -> list[float]:
    """Time `count` samples, or two thirds, and warm up on the others: requests in use are new ones, too."""
    count = min(count, max(1, 2 * len(store) // 3))
    until = time.perf_counter() + WARMUP_SECONDS
    for runs, index in enumerate(range(count, len(store))):
        if runs >= WARMUP_RUNS and time.perf_counter() > until:
            break
        session.run(store.inputs(index))
    return [targets.timed(session, store.inputs(index)) for _ in range(passes) for index in range(count)]


def _score(session: targets.Session, store: Store, job: Scoring) -> golden.Difference | None:
    metric = metrics.find(job.metric, Path(job.base), job.classes)
    agreement = metrics.Agreement()
    post = postprocessor(job.post, lambda file: Path(job.base) / file)
    reference = np.load(job.reference, allow_pickle=False) if job.reference else None
    kept: dict[str, NDArray[Any]] = {}
    rows, agreed, expected, actual = [], [], [], []
    for index in range(len(store)):
        outputs = _finite(session.run(store.inputs(index)), index)
        own = _reference(reference, index) if reference is not None else outputs
        answer = post(outputs)
        whole = Answered(answer.value, answer.confidence, outputs)
        rows.append(_statistics(metric, whole, store.label(index), own, blame=reference is None))
        agreed.append(agreement.statistics(whole, None, own))
        if job.keep:
            kept |= _kept(outputs, index, full=index < COMPARED or isinstance(metric, metrics.Cosine))
        if reference is not None and index < COMPARED:
            expected.append({name: own[name] for name in outputs})
            actual.append(outputs)
    np.savez(job.scores, rows=np.array(rows), agreement=np.array(agreed))
    if job.keep:
        np.savez(job.keep, **kept)  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword
    return golden.compare(expected, actual) if reference is not None else None


def _statistics(
    metric: metrics.Metric, answer: Answered, label: Any, own: dict[str, NDArray[Any]], *, blame: bool
) -> NDArray[np.float64]:
    """Judge one answer. What the original's answers passed is no fault of the user's when another's do not."""
    try:
        return metric.statistics(answer, label, own)
    except InputError as error:
        if blame:
            raise
        raise ValueError(f"its answers cannot be judged: {error}") from error


COMPARED = 32  # samples whose whole outputs are compared with the original's


def _kept(outputs: dict[str, NDArray[Any]], index: int, *, full: bool) -> dict[str, NDArray[Any]]:
    """Keep decisions for every sample, whole outputs for the first ones: all of an OCR model's would be gigabytes."""
    decisions = {f"{index}/": metrics.top1(outputs)}
    return decisions | ({f"{index}/{name}": array for name, array in outputs.items()} if full else {})


def _reference(file: Any, index: int) -> dict[str, NDArray[Any]]:
    names = [key for key in file.files if key.startswith(f"{index}/") and key != f"{index}/"]
    if not names:
        return {"decisions": file[f"{index}/"]}
    return {name.partition("/")[2]: file[name] for name in names}


def _finite(outputs: dict[str, NDArray[Any]], index: int) -> dict[str, NDArray[Any]]:
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"output {name!r} of sample {index} holds NaN or infinity")
    return outputs


if __name__ == "__main__":
    jobs.serve(Job, measure)
