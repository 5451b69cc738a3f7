"""Build, judge and time one candidate, each in a process of its own; what was built or judged is cached by content.

An engine runs builds and judgements, here or on a cluster; times are taken here, in a fresh process.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import msgspec
import numpy as np

from edgewise import targets
from edgewise.bundle.canonical import digest_document, digest_file
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.store import artifact_of
from edgewise.cache import STAGING, Cache
from edgewise.lab import jobs, machine
from edgewise.lab.bounded import Bounds
from edgewise.lab.compress import layers
from edgewise.lab.compress import worker as compressor
from edgewise.lab.compress.layers import Ranking
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.engine import Engine, Read, Work
from edgewise.lab.engine.local import Local
from edgewise.lab.measure import store
from edgewise.lab.measure import worker as measurer
from edgewise.lab.measure.worker import Measured
from edgewise.lab.plan import Plan
from edgewise.lab.train import trained
from edgewise.lab.train import worker as trainer
from edgewise.lab.train.data import Training
from edgewise.lab.train.students import AnyStudent
from edgewise.lab.train.trained import Trained
from edgewise.lab.trial import Built, Judged, Trial
from edgewise.targets.building import Operators

__all__ = ["Workshop"]

R = TypeVar("R")

LOOKED = 1_000  # samples that a look times at most: all it has
RANKED_ON = 8  # calibration samples: each layer is a session of its own


class Workshop:
    """Builds and judges candidates of one plan, each in a process of its own, through the cache.

    Building and judging may run side by side, `at_once`, until `stop` is set; whatever is timed runs alone. Without
    an engine everything starts afresh on this machine.
    """

    def __init__(self, plan: Plan, cache: Cache, scratch: Path, engine: Engine | None = None) -> None:
        self.plan = plan
        self.cache = cache
        self.scratch = scratch
        self.threads = plan.config.measure.threads or 1
        self.stop = Event()
        self.bounds = Bounds(plan.config.measure.timeout_s, plan.config.measure.memory)
        self.engine = engine or Local(plan.config.measure.workers, forked=False)
        self._stores: dict[str, tuple[Path, str]] = {}

    @property
    def at_once(self) -> int:
        """How many candidates may be built or judged side by side."""
        return self.engine.slots(self.plan.model.size)

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
        """Build a candidate's artifact from the file `source`. Raises JobError with the reason."""
        given: dict[str, Any] = {
            "source": digest_file(source),
            "calibration": self.store_digest("calibration"),
            "versions": machine.versions(),
            "toolchain": targets.builder(candidate.target).toolchain(),
        }
        entry = self.cache.entry("builds", given | {"target": candidate.target, "recipe": candidate.recipe})
        done = _built(entry)
        cached = done is not None
        if done is None:
            shutil.rmtree(entry, ignore_errors=True)  # it may be there and damaged
            kept = self.cache.shared("ranges", given)
            with self.cache.fill(entry) as folder:
                job = compressor.Job(
                    candidate.target,
                    candidate.recipe,
                    source=str(source),
                    calibration=str(self.store("calibration")),
                    folder=str(folder / "files"),
                    kept=str(kept),
                )
                done = self._engage(
                    compressor.__name__,
                    job,
                    compressor.Done,
                    source,
                    self.store("calibration"),
                    Read(kept, _files(kept)),
                    writes=(folder, kept),
                    maker=(candidate.target, given["toolchain"]),
                )
                (folder / "built.json").write_bytes(msgspec.json.encode(done))
        return Built(done.artifact, entry / "files", done.operators, done.seconds, cached)

    def train(self, student: AnyStudent, source: Path, given: Training) -> Trained:
        """Train a student of the ONNX file `source` on the samples given. Raises JobError with the reason."""
        samples, digest = self.store("fit", given.samples), self.store_digest("fit")
        kept = self.cache.shared("taught", {"source": digest_file(source), "samples": digest})
        job = trained.job_of(
            self.plan, student, given, source=source, samples=samples, folder=self.scratch, kept=kept
        )
        entry = self.cache.entry("trained", trained.key_of(job, samples=digest))
        if done := trained.read(student, entry, cached=True):
            return done
        shutil.rmtree(entry, ignore_errors=True)
        with self.cache.fill(entry) as folder:
            job, limit = msgspec.structs.replace(job, folder=str(folder.absolute())), trained.limit(job)
            told = jobs.run(
                trainer.__name__, job, trainer.Done, timeout=limit, scratch=self.scratch, stop=self.stop
            )
            trained.write(told, folder)
        done = trained.read(student, entry, cached=False)
        assert done is not None
        return done

    def adopt(self, path: Path, operators: Operators) -> Built:
        """Take a file as it is: the user's original."""
        return Built(
            artifact_of(self.plan.model.format, [(path.name, path)]),
            path.parent,
            operators,
            0.0,
            cached=False,
        )

    def judge(self, built: Built, target: str, split: str, *, reference: Judged | None) -> Judged:
        """Score an artifact over a whole split; without a reference it becomes the reference.

        Raises JobError with the reason when it does not load, run or answer with finite numbers.
        """
        key = {
            "artifact": built.artifact.digest,
            "target": target,
            "split": self.store_digest(split),
            "reference": None if reference is None else digest_file(reference.folder / "reference.npz"),
            "machine": machine.describe(),
            "metric": self._metric_key(),
        }
        entry = self.cache.entry("judged", key)
        judged = _judged(entry)
        if judged is None:
            shutil.rmtree(entry, ignore_errors=True)
            with self.cache.fill(entry) as folder:
                scoring = self._scoring(folder, reference)
                job = self._job(built, target, split, threads=1, scoring=scoring)
                measured = self._engage(
                    measurer.__name__,
                    job,
                    Measured,
                    *self._asked(built, split, reference),
                    writes=(folder,),
                    tied=True,
                )
                (folder / "measured.json").write_bytes(msgspec.json.encode(measured))
            judged = _judged(entry)
        assert judged is not None
        return judged

    def time(self, built: Built, target: str, timed: int, threads: int | None = None) -> Measured:
        """Time an artifact once on the search split; never cached. Raises JobError with the reason."""
        job = self._job(built, target, "search", threads=threads or self.threads, timed=timed)
        return self._alone(job)

    def _alone(self, job: measurer.Job) -> Measured:
        """Measure here, in a fresh process, with nothing beside it."""
        return jobs.run(
            measurer.__name__,
            job,
            Measured,
            timeout=self.bounds.seconds,
            memory=self.bounds.memory,
            scratch=self.scratch,
            stop=self.stop,
        )

    def look(self, built: Built, target: str, split: str, *, reference: Judged, passes: int) -> Measured:
        """Time an artifact once over a split, and compare its answers; never cached. Raises JobError with the reason.

        Of a target whose time says nothing here, there is none.
        """
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            scoring = self._scoring(Path(folder), reference)
            timed = LOOKED if self.times(target) else 0
            job = self._job(built, target, split, threads=self.threads, timed=timed, scoring=scoring)
            return self._alone(msgspec.structs.replace(job, passes=passes))

    def times(self, target: str) -> bool:
        """Tell whether times say anything: not an emulator's, nor a browser's where no tier measured here has one."""
        module = targets.session(target)
        wanted = module.NATIVE or any(target in tier.runtimes for tier in self.plan.config.tiers if tier.here)
        return module.EVIDENCE is Evidence.MEASURED and wanted

    def rank(self, source: Path, quantized: Trial) -> Ranking:
        """Rank the layers of a quantized ONNX file by what they cost. Raises JobError with the reason."""
        entry = self.cache.entry(
            "ranked",
            {
                "source": digest_file(source),
                "quantized": quantized.artifact.artifact.digest,
                "calibration": self.store_digest("calibration"),
                "versions": machine.versions(),
            },
        )
        path = entry / "ranking.json"
        if not path.exists():
            with self.cache.fill(entry) as folder:
                job = layers.Job(
                    str(source), str(quantized.artifact.main), str(self.store("calibration")), RANKED_ON
                )
                found = self._engage(
                    layers.__name__, job, Ranking, source, quantized.artifact.main, self.store("calibration")
                )
                (folder / path.name).write_bytes(msgspec.json.encode(found))
        return msgspec.json.decode(path.read_bytes(), type=Ranking)

    def _job(
        self,
        built: Built,
        target: str,
        split: str,
        *,
        threads: int,
        timed: int = 0,
        scoring: measurer.Scoring | None = None,
    ) -> measurer.Job:
        return measurer.Job(
            artifact=str(built.main),
            target=target,
            outputs=self.plan.model.outputs,
            threads=threads,
            store=str(self.store(split)),
            timed=timed,
            scoring=scoring,
        )

    def _engage(
        self,
        module: str,
        job: Any,
        result: type[R],
        *reads: Path | Read,
        writes: tuple[Path, ...] = (),
        tied: bool = False,
        maker: tuple[str, str] | None = None,
    ) -> R:
        read = tuple(one if isinstance(one, Read) else Read(one) for one in reads)
        work = Work(module, job, read, writes, tied, maker)
        return self.engine.run(work, result, self.bounds, self.scratch, self.stop)

    def _asked(self, built: Built, split: str, reference: Judged | None) -> tuple[Path | Read, ...]:
        """Return what a judgement reads: the artifact, the samples, the original's answers and the user's files."""
        base = self.plan.config.base.absolute()
        named = [Path(file) for file in self._own_files()]
        below = (base / file for file in named if not file.is_absolute())
        return (
            Read(built.folder, tuple(built.sources().values())),
            self.store(split),
            Read(base, tuple(below)),
            *(file for file in named if file.is_absolute()),
            *((reference.folder / "reference.npz",) if reference else ()),
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
        return {
            "name": self.plan.metric_name,
            "classes": self.plan.classes,
            "post": digest_document([msgspec.to_builtins(step) for step in config.post]),
            "files": [digest_file(config.find(file)) for file in self._own_files()],
        }

    def _own_files(self) -> list[str]:
        """The user's files that post-processing and metric read."""
        files = [step.file for step in self.plan.config.post if hasattr(step, "file")]
        if ".py:" in self.plan.metric_name:
            files.append(self.plan.metric_name.rpartition(":")[0])
        return files


def _files(folder: Path) -> tuple[Path, ...]:
    """Return the finished files of a shared folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return tuple(
        path for path in found if not any(part.startswith(STAGING) for part in path.relative_to(folder).parts)
    )


def _built(entry: Path) -> compressor.Done | None:
    """Read what a finished build says of itself; None when there is none, or its files are not what they were."""
    try:
        done = msgspec.json.decode((entry / "built.json").read_bytes(), type=compressor.Done)
        files = [(file.name, entry / "files" / file.name) for file in done.artifact.files]
        return done if artifact_of(done.artifact.format, files).digest == done.artifact.digest else None
    except (OSError, msgspec.MsgspecError):
        return None


def _judged(entry: Path) -> Judged | None:
    """Read a finished judgement; None when there is none, or it is damaged or of an older edgewise."""
    try:
        measured = msgspec.json.decode((entry / "measured.json").read_bytes(), type=Measured)
        with np.load(entry / "scores.npz", allow_pickle=False) as scores:
            return Judged(measured, scores["rows"], scores["agreement"], entry)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
