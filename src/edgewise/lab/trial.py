"""Try one candidate: build its artifact, load and run it in its own runtime, judge its answers. Cached by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.canonical import digest_document, digest_file
from edgewise.bundle.manifest import Artifact
from edgewise.bundle.store import artifact_of
from edgewise.lab import jobs, machine
from edgewise.lab.cache import Cache
from edgewise.lab.compress import worker as compressor
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.lab.measure import worker as measurer
from edgewise.lab.measure.worker import Measured
from edgewise.lab.plan import Plan
from edgewise.lab.result import Operators

__all__ = ["Built", "Judged", "Workshop"]

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact on disk."""

    artifact: Artifact
    folder: Path
    operators: Operators
    seconds: float
    cached: bool

    @property
    def main(self) -> Path:
        """The file a runtime opens."""
        return self.folder / self.artifact.files[0].name

    def sources(self) -> dict[str, Path]:
        """Where each file lies, by name."""
        return {file.name: self.folder / file.name for file in self.artifact.files}


@dataclass(frozen=True, slots=True)
class Judged:
    """What one artifact did on one split: measurements and per-sample statistics ([samples, statistics])."""

    measured: Measured
    rows: Rows = field(repr=False)
    agreement: Rows = field(repr=False)
    folder: Path


class Workshop:
    """Builds and judges candidates of one plan, each in a fresh process, through the cache.

    Builds may run side by side, until `stop` is set; whatever is timed runs alone.
    """

    def __init__(self, plan: Plan, cache: Cache, scratch: Path) -> None:
        self.plan = plan
        self.cache = cache
        self.scratch = scratch
        self.threads = plan.config.measure.threads or 1
        self.stop = Event()
        self._stores: dict[str, tuple[Path, str]] = {}

    @property
    def timeout(self) -> float:
        """Seconds allowed for one build or one judging."""
        return self.plan.config.measure.timeout_s

    def store(self, name: str, samples: Sequence[Sample] | None = None) -> Path:
        """Return the samples of a split as workers read them."""
        if name not in self._stores:
            path = self.scratch / f"{name}.npz"
            store.write(path, getattr(self.plan.splits, name) if samples is None else samples)
            self._stores[name] = (path, digest_file(path))
        return self._stores[name][0]

    def store_digest(self, name: str) -> str:
        """Return the content of a split: tensors and labels."""
        self.store(name)
        return self._stores[name][1]

    def build(self, candidate: Candidate, source: Path) -> Built:
        """Build a candidate's artifact from the ONNX file `source`. Raises JobError with the reason."""
        versions = machine.versions()
        key = {
            "source": digest_file(source),
            "candidate": msgspec.to_builtins(candidate),
            "calibration": self.store_digest("calibration"),
            "versions": versions,
        }
        entry = self.cache.entry("builds", key)
        cached = entry.exists()
        if not cached:
            with self.cache.fill(entry) as folder:
                job = compressor.Job(
                    candidate, str(source), str(self.store("calibration")), str(folder / "files")
                )
                done = jobs.run(
                    compressor.__name__,
                    job,
                    compressor.Done,
                    timeout=self.timeout,
                    scratch=self.scratch,
                    stop=self.stop,
                )
                (folder / "built.json").write_bytes(msgspec.json.encode(done))
        done = msgspec.json.decode((entry / "built.json").read_bytes(), type=compressor.Done)
        return Built(done.artifact, entry / "files", done.operators, done.seconds, cached)

    def adopt(self, path: Path, operators: Operators) -> Built:
        """Take a file as it is: the user's original."""
        return Built(artifact_of("onnx", [(path.name, path)]), path.parent, operators, 0.0, cached=False)

    def judge(self, built: Built, target: str, split: str, *, reference: Judged | None, timed: int) -> Judged:
        """Measure and score an artifact over a whole split; without a reference it becomes the reference.

        Raises JobError with the reason when it does not load, run or answer with finite numbers.
        """
        key = {
            "artifact": built.artifact.digest,
            "target": target,
            "split": self.store_digest(split),
            "reference": None if reference is None else digest_file(reference.folder / "reference.npz"),
            "timed": timed,
            "threads": self.threads,
            "machine": machine.describe(),
            "metric": self._metric_key(),
        }
        entry = self.cache.entry("judged", key)
        if not entry.exists():
            with self.cache.fill(entry) as folder:
                job = self._job(built, target, split, timed, self._scoring(folder, reference))
                measured = jobs.run(
                    measurer.__name__, job, Measured, timeout=self.timeout, scratch=self.scratch
                )
                (folder / "measured.json").write_bytes(msgspec.json.encode(measured))
        measured = msgspec.json.decode((entry / "measured.json").read_bytes(), type=Measured)
        with np.load(entry / "scores.npz", allow_pickle=False) as scores:
            return Judged(measured, scores["rows"], scores["agreement"], entry)

    def time(self, built: Built, target: str, timed: int, threads: int | None = None) -> Measured:
        """Time an artifact once on the search split, in a fresh process; never cached."""
        job = self._job(built, target, "search", timed, None, threads)
        return jobs.run(measurer.__name__, job, Measured, timeout=self.timeout, scratch=self.scratch)

    def _job(
        self,
        built: Built,
        target: str,
        split: str,
        timed: int,
        scoring: measurer.Scoring | None,
        threads: int | None = None,
    ) -> measurer.Job:
        return measurer.Job(
            artifact=str(built.main),
            target=target,
            outputs=self.plan.model.outputs,
            threads=threads or self.threads,
            store=str(self.store(split)),
            timed=timed,
            scoring=scoring,
        )

    def _scoring(self, folder: Path, reference: Judged | None) -> measurer.Scoring:
        return measurer.Scoring(
            metric=self.plan.metric_name,
            base=str(self.plan.config.base.absolute()),
            classes=self.plan.classes,
            post=self.plan.config.post,
            scores=str(folder / "scores.npz"),
            reference=str(reference.folder / "reference.npz") if reference else None,
            keep=None if reference else str(folder / "reference.npz"),
        )

    def _metric_key(self) -> dict[str, Any]:
        """Whatever decides a score: the metric, the post-processing, and the files both read."""
        config = self.plan.config
        files = [step.file for step in config.post if hasattr(step, "file")]
        if ".py:" in self.plan.metric_name:
            files.append(self.plan.metric_name.rpartition(":")[0])
        return {
            "name": self.plan.metric_name,
            "classes": self.plan.classes,
            "post": digest_document([msgspec.to_builtins(step) for step in config.post]),
            "files": [digest_file(config.find(file)) for file in files],
        }
