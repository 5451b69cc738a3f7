"""All files of a comparison: the original in every runtime, edgewise's two choices, and what each peer made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.compress import own, worker
from benchmarks.compress.own import Built as Build
from benchmarks.compress.own import Wish
from benchmarks.compress.peers import Peer, listed
from benchmarks.compress.results import CHOICES, Prefer
from benchmarks.method import say
from edgewise import targets
from edgewise.bundle.store import artifact_of
from edgewise.cache import Cache
from edgewise.errors import EdgewiseError
from edgewise.lab import attempt, jobs
from edgewise.lab import config as configuration
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.plan import Plan, prepare
from edgewise.lab.search.screen import screen
from edgewise.lab.trial import Built, Trial
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import Original

__all__ = ["Bench", "Contender"]

BUILD_S = 900.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A file that was made in so many seconds, or the reason why it was not."""

    name: str
    by: Literal["original", "edgewise", "peer"]
    target: str
    of: str = ""
    built: Built | None = None
    made: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """One model's project after both builds, and the workshop that judges all alike."""

    builds: dict[Prefer, Build]
    plan: Plan
    shop: Workshop
    source: Path
    baseline: Trial

    @classmethod
    def of(cls, project: Path, work: Path) -> Bench:
        """Build the project for latency and for size, with the same threads. Raises InputError where it is none."""
        latency = own.build(project, Wish("latency"), work)
        threads = latency.result.threads if latency.result else 1
        size = own.build(project, Wish("size"), work, threads=threads)
        plan = prepare(configuration.load(latency.config))
        shop = Workshop(plan, Cache(work / "cache"), work)
        shop.threads = threads
        source, _ = attempt.source_of(plan, shop)
        baseline = attempt.baseline_of(plan, shop)
        return cls({"latency": latency, "size": size}, plan, shop, source, baseline)

    def contenders(self, olive: str) -> Iterator[Contender]:
        """Yield everyone, the original first; whatever fails is a contender with its reason."""
        home = self.plan.model.runtime
        yield Contender(attempt.BASELINE, "original", home, built=self.baseline.built)
        floats = {target: self._float(target) for target in self.plan.targets if target != home}
        yield from floats.values()
        for prefer in CHOICES:
            yield self._choice(prefer)
        for name, peer in listed(transformer=screen(self.plan.model).transformer).items():
            say(f"peer {name}: {peer.about}")
            yield self._peer(name, peer, floats.get(peer.target), olive)

    def _float(self, target: str) -> Contender:
        name = f"{attempt.BASELINE}-{target}"
        try:
            built = self.shop.build(Candidate(Original(), target), self.source)
        except EdgewiseError as error:
            return Contender(name, "original", target, reason=str(error))
        return Contender(name, "original", target, built=built)

    def _choice(self, prefer: Prefer) -> Contender:
        """Take the chosen artifact out of the build's cache."""
        name, build, home = CHOICES[prefer], self.builds[prefer], self.plan.model.runtime
        if build.result is None or build.chosen is None:
            return Contender(name, "edgewise", home, reason=build.reason or "it chose nothing")
        row = build.result.row(build.chosen)
        if row.id == build.result.original:
            return Contender(name, "edgewise", home, row.id, self.baseline.built, build.seconds)
        built = self.shop.build(Candidate.of(row.target, row.recipe), self.source)
        return Contender(name, "edgewise", row.target, row.id, built, build.seconds)

    def _peer(self, name: str, peer: Peer, converted: Contender | None, olive: str) -> Contender:
        """Let a peer work in a process of its own."""
        try:
            made, built = self._made(name, peer, converted, olive)
        except EdgewiseError as error:
            return Contender(name, "peer", peer.target, reason=str(error))
        return Contender(name, "peer", peer.target, built=built, made=made.seconds)

    def _made(
        self, name: str, peer: Peer, converted: Contender | None, olive: str
    ) -> tuple[worker.Made, Built]:
        folder, work = (self.shop.scratch / f"peer-{name}" / part for part in ("files", "work"))
        folder.mkdir(parents=True)
        work.mkdir()
        job = worker.Job(
            peer=name,
            config=str(self.builds["latency"].config),
            source=str(self._source(peer, converted)),
            folder=str(folder),
            work=str(work),
            olive=olive,
        )
        made = jobs.run(worker.__name__, job, worker.Made, timeout=BUILD_S, scratch=self.shop.scratch)
        builder = targets.builder(peer.target)
        main = folder / builder.MAIN
        rest = sorted(path for path in folder.iterdir() if path != main)
        artifact = artifact_of(builder.FORMAT, [(path.name, path) for path in (main, *rest)])
        return made, Built(artifact, folder, builder.operators(main), made.seconds, cached=False)

    def _source(self, peer: Peer, converted: Contender | None) -> Path:
        """Return what a peer starts from: the user's file, or the float .tflite made of it."""
        if peer.target != "litert":
            return self.baseline.artifact.main
        if converted is None:
            raise jobs.JobError("no .tflite: LiteRT and its converter are not installed")
        if converted.built is None:
            raise jobs.JobError(f"no .tflite: {converted.reason}")
        return converted.built.main
