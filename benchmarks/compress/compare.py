"""Measure all contenders of one model alike: both splits once, then interleaved rounds, then a comparison."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import contest
from benchmarks.artifacts import write_samples
from benchmarks.compress import own
from benchmarks.compress.contenders import Bench, Contender
from benchmarks.compress.results import CHOICES, Comparison, Entrant
from benchmarks.contest import Contest, Times
from benchmarks.method import ROOT, say
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.errors import EdgewiseError
from edgewise.lab import machine
from edgewise.lab.attempt import BASELINE
from edgewise.lab.data.interval import Floor, Interval, interval_of, margin_to_floor, verdict
from edgewise.lab.figures import interval_figure
from edgewise.lab.trial import Judged

__all__ = ["compare"]


def compare(name: str, project: Path, *, rounds: int, olive: str) -> Comparison:
    """Compare on the project in a folder. Raises EdgewiseError where the original itself cannot be measured."""
    os.environ["PYTHONPATH"] = str(ROOT)  # workers see only what is installed, and this package is not
    with tempfile.TemporaryDirectory(prefix=f"edgewise-{name}-") as folder:
        work = Path(folder)
        say(f"{name}: edgewise build, for latency and for size")
        bench = Bench.of(project, work)
        contenders = list(bench.contenders(olive))
        judges = _Judges(bench)
        entrants = [judges.entrant(contender) for contender in contenders]
        before = os.getloadavg()[0]
        held = _race(name, bench, contenders, entrants, rounds)
        return Comparison(
            model=name,
            metric=bench.plan.metric_name,
            floor=str(judges.floor),
            machine=machine.describe(),
            threads=bench.shop.threads,
            splits=bench.plan.splits.sizes(),
            timed=held.contest.count,
            load=(before, os.getloadavg()[0]),
            disturbed=held.disturbed,
            search=own.cost(bench.builds["latency"]),
            entrants=tuple(_timed(entrant, entrants, held) for entrant in entrants),
        )


class _Judges:
    """Judge files on both splits, paired with the original in its own runtime."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.floor: Floor = next(iter(bench.plan.config.goals.values())).floor
        artifact, runtime = bench.baseline.artifact, bench.plan.model.runtime
        self.references = {
            split: bench.shop.judge(artifact, runtime, split, reference=None) for split in ("search", "test")
        }

    def entrant(self, contender: Contender) -> Entrant:
        """Return what is known of a contender before it is timed."""
        entrant = Entrant(
            name=contender.name,
            by=contender.by,
            target=contender.target,
            of=contender.of,
            reason=contender.reason,
            made=contender.made,
        )
        if contender.built is None:
            return entrant
        artifact = contender.built.artifact
        entrant = msgspec.structs.replace(
            entrant,
            digest=artifact.digest,
            size=sum(file.size for file in artifact.files),
            operators=contender.built.operators,
        )
        say(f"judging {contender.name}")
        start = time.monotonic()
        try:
            judged = {split: self._judged(contender, split) for split in ("search", "test")}
        except EdgewiseError as error:
            return msgspec.structs.replace(entrant, reason=f"it does not answer: {error}")
        margin = self._margin(judged["test"])
        return msgspec.structs.replace(
            entrant,
            search=self._figure(interval_of(self.bench.plan.metric, judged["search"].rows), "search"),
            test=self._figure(interval_of(self.bench.plan.metric, judged["test"].rows), "test"),
            margin=self._figure(margin, "test"),
            verdict=verdict(margin),
            judged=time.monotonic() - start,
        )

    def _judged(self, contender: Contender, split: str) -> Judged:
        reference = self.references[split]
        if contender.name == BASELINE:
            return reference
        assert contender.built is not None
        return self.bench.shop.judge(contender.built, contender.target, split, reference=reference)

    def _margin(self, judged: Judged) -> Interval:
        return margin_to_floor(self.bench.plan.metric, judged.rows, self.references["test"].rows, self.floor)

    def _figure(self, interval: Interval, split: str) -> Figure:
        on, unit = machine.describe()["platform"], self.bench.plan.metric.unit
        return interval_figure(interval, unit, split, on, Evidence.MEASURED)


def _race(
    name: str, bench: Bench, contenders: Sequence[Contender], entrants: Sequence[Entrant], rounds: int
) -> Times:
    """Time every file once in each round; entrants that share one share its times."""
    files = {one.name: one.built.main for one in contenders if one.built}
    runners = _runners(entrants)
    latency = bench.builds["latency"].result
    p50 = latency.row(latency.original).figures["p50"].value if latency else None
    count = contest.count_for(p50)
    choice = runners.get(CHOICES["latency"], BASELINE)
    held = Contest(
        name=name,
        contenders={
            one.name: contest.Contender(files[one.name], one.target)
            for one in entrants
            if runners.get(one.name) == one.name
        },
        chosen=choice,
        original=BASELINE,
        samples=write_samples(bench.plan.splits.search, count, bench.shop.scratch / "timed.npz"),
        count=count,
        threads=bench.shop.threads,
    )
    return contest.hold(held, rounds)


def _runners(entrants: Sequence[Entrant]) -> Mapping[str, str]:
    """Return who runs for whom: of those with the same file in the same runtime, the first."""
    first: dict[tuple[str | None, str], str] = {}
    able = [one for one in entrants if one.digest and not one.reason]
    return {one.name: first.setdefault((one.digest, one.target), one.name) for one in able}


def _timed(entrant: Entrant, entrants: Sequence[Entrant], held: Times) -> Entrant:
    runner = _runners(entrants).get(entrant.name)
    if runner is None:
        return entrant
    if runner in held.failed:
        return msgspec.structs.replace(entrant, reason=f"it cannot be timed: {held.failed[runner]}")
    return msgspec.structs.replace(entrant, ms=tuple(held.ms[runner]))
