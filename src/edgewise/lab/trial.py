"""A candidate on its way: its artifact, what it answered, how fast, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import Artifact
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.interval import Interval
from edgewise.lab.measure.worker import Measured
from edgewise.targets.building import Operators

__all__ = ["Built", "Judged", "Trial"]

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


@dataclass(slots=True)
class Trial:
    """A candidate with what is known of it so far. `glance`: one look at its speed and answers, before it is judged."""

    candidate: Candidate
    id: str
    built: Built | None = None
    glance: Measured | None = None
    judged: Judged | None = None
    reason: str | None = None
    passed_over: bool = False
    seconds: float = 0.0
    rounds: list[Measured] = field(default_factory=list)
    margins: dict[str, Interval] = field(default_factory=dict)
    holds: dict[str, bool] = field(default_factory=dict)

    @property
    def evidence(self) -> Evidence:
        """What running it on this machine shows."""
        return targets.session(self.candidate.target).EVIDENCE

    @property
    def distance(self) -> float:
        """How far it answers from the original, as rms, on the few calibration samples that it was looked at on."""
        seen = self.glance.difference if self.glance else None
        return seen.rms if seen else float("inf")

    @property
    def tolerance(self) -> float:
        """How far answers may be from the original's anywhere, as rms: twice what was accepted here."""
        difference = self.judged.measured.difference if self.judged else None
        return 1e-3 + 2 * (difference.rms if difference else 0.0)

    @property
    def artifact(self) -> Built:
        """What was built, where that is known to have gone well."""
        assert self.built is not None
        return self.built
