"""From a plan to trials: take the original, build every candidate, judge it, time it.

Builds and scores run side by side; times are taken one process at a time, in interleaved rounds.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from edgewise import targets
from edgewise.errors import EdgewiseError, InputError
from edgewise.lab import jobs
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.interval import Floor, Interval, margin_to_floor
from edgewise.lab.measure import rounds
from edgewise.lab.measure.worker import Measured
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.simplify import simplify
from edgewise.lab.plan import Plan
from edgewise.lab.train.students import AnyStudent
from edgewise.lab.trial import Judged, Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop
from edgewise.machine import cores
from edgewise.targets.building import Original

__all__ = [
    "BASELINE",
    "apply_floors",
    "baseline_of",
    "build_all",
    "judge_all",
    "judge_baseline",
    "race",
    "source_of",
    "tune",
]

BASELINE = "original"  # the user's own file, in its own runtime with default options
ROUND_MS = 1500.0  # how long the timed part of one round should take for the original
SLOW, HOPELESS = 1.5, 3.0  # times the fastest of a round


def source_of(plan: Plan, shop: Workshop) -> tuple[Path, tuple[str, ...]]:
    """Write the file that candidates are built from: a graph is simplified where that changes no result."""
    if not isinstance(plan.model, OnnxModel):
        path = shop.scratch / f"source.{plan.model.format}"
        shutil.copyfile(plan.model.path, path)
        return path, ()
    feeds = [sample.inputs for sample in plan.splits.calibration[:4]]
    slim = simplify(plan.model, feeds)
    path = shop.scratch / "source.onnx"
    onnx.save(slim.model, path)
    return path, (slim.note,) if slim.note else ()


def baseline_of(plan: Plan, shop: Workshop) -> Trial:
    """Take the user's file as it came (external data folded into one file)."""
    model = plan.model
    runtime = targets.builder(model.runtime)
    path = shop.scratch / "original" / runtime.MAIN
    path.parent.mkdir()
    if isinstance(model, OnnxModel) and model.size != model.path.stat().st_size:
        onnx.save(model.proto, path)
    else:
        shutil.copyfile(model.path, path)
    built = shop.adopt(path, runtime.operators(path))
    return Trial(Candidate(Original(), model.runtime), BASELINE, built=built)


def tune(shop: Workshop, baseline: Trial, watcher: Watcher) -> float:
    """Set the thread count that is quickest for the original, and return its p50 in ms."""
    counts = [shop.threads] if shop.plan.config.measure.threads else _thread_counts()
    watcher.stage("Tuning threads on the original", len(counts))
    with _runs(shop):
        # Whatever else the machine does only slows down: the best of three tells most, and they take turns.
        turns = [{count: _quick(shop, baseline, count) for count in counts} for _ in range(3)]
    p50 = {count: min(turn[count] for turn in turns) for count in counts}
    for count in counts:
        watcher.step(f"{count} thread{'s' * (count > 1)}: {p50[count]:.3g} ms")
    # More threads must earn their keep: 3 % for each step.
    shop.threads = min(counts, key=lambda count: p50[count] * 1.03 ** counts.index(count))
    return p50[shop.threads]


def _quick(shop: Workshop, baseline: Trial, threads: int) -> float:
    return shop.time(baseline.artifact, shop.plan.model.runtime, 30, threads=threads).quantile(0.5)


def _thread_counts() -> list[int]:
    most = cores()
    return sorted({1, *(2**k for k in range(1, 6) if 2**k <= most), most})


@contextmanager
def _runs(shop: Workshop) -> Iterator[None]:
    """Say that the original must run: everything is compared with it."""
    model = shop.plan.model
    try:
        yield
    except jobs.JobError as error:
        raise InputError(f"{model.path} does not run in {model.runtime}: {error}") from error


def judge_baseline(shop: Workshop, baseline: Trial) -> Judged:
    """Score the original on search: the reference of all others."""
    with _runs(shop):
        baseline.judged = shop.judge(baseline.artifact, shop.plan.model.runtime, "search", reference=None)
    return baseline.judged


def build_all(
    shop: Workshop, trials: Sequence[Trial], sources: Mapping[AnyStudent | None, Path], watcher: Watcher
) -> None:
    """Build candidates, each from the file of its student, or the original's; one that fails has its reason."""
    shop.store("calibration")

    def build(trial: Trial) -> None:
        trial.built = shop.build(trial.candidate, sources[trial.candidate.student])

    _side_by_side(shop, trials, build, "Building candidates", "built", watcher)


def judge_all(shop: Workshop, trials: Sequence[Trial], reference: Judged, watcher: Watcher) -> None:
    """Score files that were built, on search and in their own runtimes."""

    def judge(trial: Trial) -> None:
        target = trial.candidate.target
        trial.judged = shop.judge(trial.artifact, target, "search", reference=reference)

    _side_by_side(shop, trials, judge, "Judging on the search split", "answers", watcher)


def _side_by_side(
    shop: Workshop,
    trials: Sequence[Trial],
    work: Callable[[Trial], None],
    title: str,
    well: str,
    watcher: Watcher,
) -> None:
    if not trials:
        return
    watcher.stage(title, len(trials))

    def one(trial: Trial) -> None:
        with _reasoned(trial):
            work(trial)

    jobs.side_by_side(
        one,
        trials,
        at_once=shop.at_once,
        stop=shop.stop,
        done=lambda trial: watcher.step(f"{trial.id}: {trial.reason or well}"),
    )


@contextmanager
def _reasoned(trial: Trial) -> Iterator[None]:
    """Make a failure the trial's reason, and add up the time; the user's own mistakes stop the build."""
    start = time.monotonic()
    try:
        yield
    except InputError:
        raise
    except EdgewiseError as error:
        trial.reason = str(error)
    trial.seconds += time.monotonic() - start


def apply_floors(plan: Plan, trials: Iterable[Trial], reference: Judged) -> None:
    """Ask of every candidate, per floor: will test show it met, with nine chances in ten?"""
    sizes = plan.splits.sizes()
    factor = sizes["test"] / sizes["search"]
    floors = {tier.name: plan.config.goals[tier.name].floor for tier in plan.config.tiers}
    for trial in trials:
        if trial.judged is None:
            continue
        known: dict[Floor, Interval] = {}
        for name, floor in floors.items():
            if floor not in known:
                known[floor] = margin_to_floor(plan.metric, trial.judged.rows, reference.rows, floor)
            trial.margins[name] = known[floor]
            trial.holds[name] = known[floor].expected_low(factor) >= 0


def race(plan: Plan, shop: Workshop, trials: Mapping[str, Trial], p50: float, watcher: Watcher) -> None:
    """Time, in interleaved rounds, the original and those that a tier measured here may choose for their speed.

    `p50` is the original's, in ms: it tells how many samples make a round.
    """
    timed = int(min(200, max(20, ROUND_MS / p50)))

    def once(name: str) -> Measured | None:
        trial = trials[name]
        try:
            measured = shop.time(trial.artifact, trial.candidate.target, timed)
        except jobs.JobError as error:
            if name == BASELINE:
                raise
            trial.reason, trial.judged = f"failed while it was timed: {error}", None
            watcher.step(f"{name}: {trial.reason}")
            return None
        watcher.step(f"{name}: {measured.quantile(0.5):.3g} ms")
        return measured

    count = plan.config.measure.rounds
    glances = {
        trial.id: [trial.glance]
        for trial in trials.values()
        if trial.judged and trial.glance and shop.times(trial.candidate.target)
    }

    def beaten(results: rounds.Results) -> set[str]:
        return _beaten(plan, trials, {name: [*glances[name], *times] for name, times in results.items()})

    found = rounds.interleave(
        [name for name in glances if name not in _beaten(plan, trials, glances) or name == BASELINE],
        count,
        once,
        begin=lambda number, several: watcher.stage(f"Timing, round {number} of {count}", several),
        beaten=beaten,
    )
    for name, measured in found.items():
        trials[name].rounds = measured


def _beaten(plan: Plan, trials: Mapping[str, Trial], results: rounds.Results) -> set[str]:
    """Name those that no tier measured here would choose: below its floor, or clearly slower than its fastest."""
    kept: set[str] = set()
    for tier in plan.config.tiers:
        if tier.here:
            able = {
                name: times
                for name, times in results.items()
                if trials[name].candidate.target in tier.runtimes
            }
            held = {name: times for name, times in able.items() if trials[name].holds[tier.name]}
            kept |= _fast(held or able)
    return results.keys() - kept - ({BASELINE} if kept else set())


def _fast(results: rounds.Results) -> set[str]:
    """Keep who was never much slower than the fastest of a round, and slower in one round at most."""
    count = max((len(times) for times in results.values()), default=0)
    fastest = [
        min(times[number].quantile(0.5) for times in results.values() if len(times) > number)
        for number in range(count)
    ]
    kept = set()
    for name, times in results.items():
        ratios = [one.quantile(0.5) / best for one, best in zip(times, fastest, strict=False)]
        if max(ratios) <= HOPELESS and sum(ratio > SLOW for ratio in ratios) < 2:
            kept.add(name)
    return kept
