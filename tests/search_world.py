"""A world for the search to be tried in: what each candidate would be is a table, and nothing is built or run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from edgewise.bundle.golden import Difference
from edgewise.bundle.manifest import Artifact, FileRef
from edgewise.lab.choose.goals import AtMost, Goals
from edgewise.lab.compress.layers import Layer, Ranking
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.interval import Floor
from edgewise.lab.data.metrics import Accuracy
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.jobs import JobError
from edgewise.lab.measure.worker import Measured
from edgewise.lab.model import load
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.search.ladder import Ladder
from edgewise.lab.search.look import Looks
from edgewise.lab.search.screen import Screen
from edgewise.lab.search.students import teach
from edgewise.lab.train.data import Training
from edgewise.lab.train.report import Cost
from edgewise.lab.train.section import TrainSection
from edgewise.lab.train.students import AnyStudent
from edgewise.lab.train.trained import Trained
from edgewise.lab.trial import Built, Judged, Trial
from edgewise.lab.watcher import Silent
from edgewise.targets.building import Operators, Original
from models import save, tiny_cnn

SAMPLES = 600


@dataclass(frozen=True)
class Thing:
    """What one candidate would be: bytes, ms, how far from the original, how many of 1,000 right; or it fails, or is silent when judged."""

    size: int = 1000
    ms: float = 10.0
    rms: float = 0.01
    right: int = 900
    fails: bool = False
    agreement: float = 1.0
    silent: bool = False


@dataclass
class World:
    """Answers for the workshop, and notes what was asked: ids of what was built and what was judged."""

    things: Mapping[str, Thing]
    tiers: tuple[Tier, ...] = (Tier(name="here", share=1.0, machine="this"),)
    prefer: str = "latency"
    limits: Mapping[str, AtMost] = field(default_factory=dict)
    targets: tuple[str, ...] = ("onnxruntime",)
    default: Thing = Thing(size=4000, ms=100.0)
    built: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    students: tuple[AnyStudent, ...] = ()

    def __post_init__(self) -> None:
        goals = Goals(Floor(0.99), cast(Any, dict(self.limits)), {}, cast(Any, self.prefer))
        self.plan: Any = SimpleNamespace(
            config=SimpleNamespace(
                tiers=self.tiers,
                goals={tier.name: goals for tier in self.tiers},
                train=TrainSection(samples="train.npz", students=self.students),
                pre=(),
            ),
            training=Training((), labels=True),
            metric=Accuracy(),
            model=_model(),
            splits=SimpleNamespace(sizes=lambda: {"search": SAMPLES, "test": 100 * SAMPLES}),
            targets=self.targets,
        )
        self.stop, self.at_once = Event(), 2

    def thing(self, name: str) -> Thing:
        """Return what a candidate would be."""
        return self.things.get(name, self.default)

    def train(self, student: AnyStudent, source: Path, given: Any) -> Trained:
        """Train what the table does not say to fail, by the student's name."""
        self.trained.append(student.name)
        if self.thing(student.name).fails:
            raise JobError("it diverged")
        done = SimpleNamespace(before=Cost(10, 10), after=Cost(5, 5), seconds=1.0, device="cpu", notes=())
        return Trained(student, Path(student.name), cast(Any, done), cached=False)

    # What the search asks of a workshop

    def store(self, name: str, samples: Any = None) -> Path:
        """Write nothing."""
        return Path(name)

    def times(self, target: str) -> bool:
        """Say that every target is timed."""
        return True

    def build(self, candidate: Candidate, source: Path) -> Built:
        """Build what the table says."""
        self.built.append(candidate.id)
        thing = self.thing(candidate.id)
        if thing.fails:
            raise JobError("it cannot be built")
        return _built(candidate.id, thing.size)

    def look(self, built: Built, target: str, split: str, *, reference: Judged, passes: int) -> Measured:
        """Look as the table says."""
        thing = self.thing(str(built.folder))
        difference = Difference(32, thing.rms, thing.rms, thing.rms, thing.agreement)
        return Measured((thing.ms,), 1.0, 1, "fake", difference)

    def judge(self, built: Built, target: str, split: str, *, reference: Judged | None) -> Judged:
        """Judge as the table says."""
        self.judged.append(str(built.folder))
        if self.thing(str(built.folder)).silent:
            raise JobError("it answers with NaN")
        return _judged(self.thing(str(built.folder)).right)

    def rank(self, source: Path, quantized: Trial) -> Ranking:
        """Rank sixteen layers, the first worth most."""
        return Ranking(1.0, tuple(Layer((f"l{n:02}",), 1.0 / (n + 1), 10, 10.0) for n in range(16)))

    def search(self, screened: Screen | None = None, *, teaching: bool = False) -> list[Trial]:
        """Run the search, the original being right 900 times of 1,000 in 100 ms and 4,000 bytes."""
        baseline = Trial(Candidate(Original(), "onnxruntime"), "original", built=_built("original", 4000))
        baseline.judged = _judged(900)
        baseline.glance = Measured((100.0,), 1.0, 1, "fake", Difference(32, 0, 0, 0, 1.0))
        baseline.holds = {tier.name: True for tier in self.tiers}
        shop = cast(Any, self)
        looks = Looks(shop, baseline.judged, 1)
        ladder = Ladder(self.plan, shop, Path("s"), screened or Screen(), looks, baseline.judged, Silent())
        ladder.begin(baseline)
        if teaching:
            teach(ladder)
        return ladder.end()


@cache
def _model() -> OnnxModel:
    """Return a small network of convolutions, which the students' proposals look at."""
    with tempfile.TemporaryDirectory() as folder:
        return load(save(tiny_cnn(), Path(folder) / "model.onnx"))


def _built(name: str, size: int) -> Built:
    artifact = Artifact(format="onnx", files=(FileRef("model.onnx", "0" * 64, size),))
    return Built(artifact, Path(name), Operators(1, 1), 0.1, cached=False)


def _judged(right: int) -> Judged:
    rows = _rows(right)
    return Judged(Measured((), 1.0, 1, "fake", Difference(32, 0, 0, 0, 1.0)), rows, rows, Path())


def _rows(right: int) -> Any:
    """Return per-sample statistics of accuracy: right or not, and one."""
    hits = np.zeros(SAMPLES)
    hits[: right * SAMPLES // 1000] = 1
    return np.stack([hits, np.ones(SAMPLES)], axis=1)
