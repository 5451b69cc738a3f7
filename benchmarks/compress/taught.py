"""With training: edgewise's choice among students against its own int8 file without training, on one project.

edgewise build                   → the fastest int8 file that holds the floor: the teacher's own
edgewise build with train.npz    → the choice, a student or not
both and the original            → judged on the test split, timed in interleaved rounds of fresh processes
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import contest
from benchmarks.artifacts import write_samples
from benchmarks.compress import own
from benchmarks.compress.own import Wish
from benchmarks.contest import Contender, Contest, Times
from benchmarks.method import ROOT, NotMeasuredError, median, place, ratios, say
from edgewise.bundle.atomic import write_file
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.manifest import Verdict
from edgewise.cache import Cache
from edgewise.errors import InputError
from edgewise.lab import attempt, machine
from edgewise.lab import config as configuration
from edgewise.lab.attempt import BASELINE
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.interval import interval_of, margin_to_floor, verdict
from edgewise.lab.figures import interval_figure
from edgewise.lab.plan import prepare
from edgewise.lab.result import BuildResult, CandidateRow
from edgewise.lab.train.report import Cost
from edgewise.lab.trial import Built
from edgewise.lab.workshop import Workshop

__all__ = ["FLOORS", "INT8", "STUDENT", "Taught", "read", "teach", "write"]

FLOORS: Mapping[str, str] = {
    "fashion": "98% of original",
    "cifar": "98% of original",
    "sentiment": "97% of original",
}
"""The models that are taught, and what a student must hold of the original."""
INT8, STUDENT = "int8 without training", "with training"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One file: edgewise's candidate, its bytes, quality and margin on test, and the p50 of each round."""

    of: str
    size: int
    test: Figure
    margin: Figure
    verdict: Verdict
    ms: tuple[float, ...]


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """One run over one model. `before` and `after` are the original's cost and that of the net that was chosen."""

    model: str
    metric: str
    floor: str
    machine: dict[str, str]
    threads: int
    splits: dict[str, int]
    timed: int
    load: tuple[float, float]
    disturbed: int
    before: Cost
    after: Cost
    trained: tuple[str, ...]
    seconds: float
    files: dict[str, Judgement]

    def quicker(self, than: str) -> Figure:
        """Return how many times quicker the choice with training is, over the rounds."""
        return median(ratios(self.files[than].ms, self.files[STUDENT].ms), "ratio", place(self.threads))


def teach(name: str, project: Path, *, rounds: int) -> Taught:
    """Compare on the project in a folder. Raises EdgewiseError where a build failed, or nothing can be compared."""
    os.environ["PYTHONPATH"] = str(ROOT)  # workers see only what is installed, and this package is not
    with tempfile.TemporaryDirectory(prefix=f"edgewise-{name}-") as folder:
        work = Path(folder)
        say(f"{name}: edgewise build, without training and with it")
        plain = own.build(project, Wish("latency", FLOORS[name]), work)
        threads = _result(plain).threads
        taught = own.build(project, Wish("latency", FLOORS[name], trained=True), work, threads=threads)
        bench = _Bench.of(taught, work, threads)
        rows = {
            BASELINE: _result(taught).row(BASELINE),
            INT8: _fastest_int8(_result(plain)),
            STUDENT: _result(taught).row(taught.chosen or BASELINE),
        }
        files = {key: bench.built(row) for key, row in rows.items()}
        before = os.getloadavg()[0]
        held = bench.race(name, rows, files, rounds)
        return Taught(
            model=name,
            metric=bench.shop.plan.metric_name,
            floor=FLOORS[name],
            machine=machine.describe(),
            threads=threads,
            splits=bench.shop.plan.splits.sizes(),
            timed=held.contest.count,
            load=(before, os.getloadavg()[0]),
            disturbed=held.disturbed,
            before=bench.cost(rows[BASELINE]),
            after=bench.cost(rows[STUDENT]),
            trained=tuple(dict.fromkeys(_students(_result(taught)))),
            seconds=taught.seconds,
            files={key: bench.judged(row, files[key], held.ms[key]) for key, row in rows.items()},
        )


def _result(built: own.Built) -> BuildResult:
    if built.result is None:
        raise NotMeasuredError(f"edgewise build: {built.reason}")
    return built.result


def _students(result: BuildResult) -> Iterator[str]:
    for row in result.candidates:
        if "student" in row.recipe:
            yield row.id.partition("~")[2]


def _fastest_int8(result: BuildResult) -> CandidateRow:
    able = [
        row for row in result.candidates if row.status == "ok" and row.holds_floor and row.precision == "int8"
    ]
    if not able:
        raise NotMeasuredError("no int8 file without training holds the floor on the search split")
    return min(able, key=lambda row: row.figures["p50"].value or float("inf"))


@dataclass(frozen=True, slots=True)
class _Bench:
    """The workshop of the build with training, whose cache holds all files."""

    shop: Workshop
    source: Path
    baseline: Built

    @classmethod
    def of(cls, taught: own.Built, work: Path, threads: int) -> _Bench:
        plan = prepare(configuration.load(taught.config))
        shop = Workshop(plan, Cache(work / "cache"), work)
        shop.threads = threads
        source, _ = attempt.source_of(plan, shop)
        return cls(shop, source, attempt.baseline_of(plan, shop).artifact)

    def built(self, row: CandidateRow) -> Built:
        """Return a row's file: out of the cache, or built again."""
        if row.id == BASELINE:
            return self.baseline
        candidate = Candidate.of(row.target, row.recipe)
        return self.shop.build(candidate, self._source(candidate))

    def _source(self, candidate: Candidate) -> Path:
        if candidate.student is None:
            return self.source
        assert self.shop.plan.training
        return self.shop.train(candidate.student, self.source, self.shop.plan.training).source

    def cost(self, row: CandidateRow) -> Cost:
        """Return parameters and multiplications of the net behind a row."""
        from edgewise.lab.model.load import load
        from edgewise.lab.profile import profile

        candidate = Candidate.of(row.target, row.recipe)
        found = profile(load(self._source(candidate)), feeds=dict(self.shop.plan.splits.search[0].inputs))
        return Cost(found.parameters, found.macs)

    def race(
        self, name: str, rows: Mapping[str, CandidateRow], files: Mapping[str, Built], rounds: int
    ) -> Times:
        count = contest.count_for(rows[BASELINE].figures["p50"].value)
        samples = write_samples(self.shop.plan.splits.search, count, self.shop.scratch / "timed.npz")
        contenders = {key: Contender(files[key].main, row.target) for key, row in rows.items()}
        held = Contest(name, contenders, STUDENT, BASELINE, samples, count, self.shop.threads)
        return contest.hold(held, rounds)

    def judged(self, row: CandidateRow, built: Built, ms: list[float]) -> Judgement:
        plan, on = self.shop.plan, machine.describe()["platform"]
        reference = self.shop.judge(self.baseline, plan.model.runtime, "test", reference=None)
        mine = reference
        if row.id != BASELINE:
            mine = self.shop.judge(built, row.target, "test", reference=reference)
        floor = next(iter(plan.config.goals.values())).floor
        margin = margin_to_floor(plan.metric, mine.rows, reference.rows, floor)

        return Judgement(
            of=row.id,
            size=built.artifact.size,
            test=interval_figure(
                interval_of(plan.metric, mine.rows), plan.metric.unit, "test", on, Evidence.MEASURED
            ),
            margin=interval_figure(margin, plan.metric.unit, "test", on, Evidence.MEASURED),
            verdict=verdict(margin),
            ms=tuple(ms),
        )


def write(taught: Taught, folder: Path) -> None:
    """Keep a run as `folder/<model>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(
        folder / f"{taught.model}.json", msgspec.json.format(msgspec.json.encode(taught), indent=2) + b"\n"
    )


def read(folder: Path) -> Iterator[Taught]:
    """Yield the runs kept in a folder, by name. Raises InputError for a file that holds something else."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Taught)
        except msgspec.MsgspecError as error:
            raise InputError(f"{path} is no run of this version: {error}; remove it") from error
