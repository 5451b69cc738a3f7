"""The artifacts of a finished build, rebuilt from the recipes in its report; the cache hands out what it still has.

Each must have the digest that the report names: what is timed again is what was chosen among.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.demos import Finished
from benchmarks.method import NotMeasuredError
from edgewise.bundle.store import artifact_of
from edgewise.cache import Cache, default_folder
from edgewise.lab import config as configuration
from edgewise.lab.attempt import source_of
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.plan import Plan, prepare
from edgewise.lab.result import CandidateRow
from edgewise.lab.workshop import Workshop

__all__ = ["Artifacts", "distinct", "write_samples"]


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Finds the files of one build's candidates, and its search samples."""

    found: Finished
    plan: Plan
    shop: Workshop
    source: Path

    @classmethod
    def of(cls, found: Finished, scratch: Path) -> Artifacts:
        """Read the project as the build did."""
        plan = prepare(configuration.load(found.config))
        shop = Workshop(plan, Cache(default_folder()), scratch)
        source, _ = source_of(plan, shop)
        return cls(found, plan, shop, source)

    def file(self, row: CandidateRow) -> Path:
        """Return the file a runtime opens. Raises NotMeasuredError when it is not the one that was judged."""
        if row.id == self.found.result.original:
            path = self.plan.model.path
            digest = artifact_of("onnx", [(path.name, path)]).digest
        else:
            candidate = Candidate.of(row.target, row.recipe)
            built = self.shop.build(candidate, self.source)
            path, digest = built.main, built.artifact.digest
        if digest != row.artifact:
            raise NotMeasuredError(
                f"{row.id} rebuilds to other bytes than the report names: build the demo again"
            )
        return path

    def samples(self, count: int, path: Path) -> Path:
        """Write search samples to time `count` of them: see `write_samples`."""
        return write_samples(self.plan.splits.search, count, path)


def write_samples(search: Sequence[Sample], count: int, path: Path) -> Path:
    """Write twice `count` search samples, spread evenly over the split: every other one is timed."""
    picked = [search[int(i)] for i in np.linspace(0, len(search) - 1, min(2 * count, len(search)))]
    arrays = {f"{i}/{name}": a for i, sample in enumerate(picked) for name, a in sample.inputs.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword
    return path


def distinct(rows: Sequence[CandidateRow], first: str) -> tuple[list[CandidateRow], dict[str, str]]:
    """Return one row per file and target, `first` before its like, and who is the twin of whom."""
    seen: dict[tuple[str | None, str], str] = {}
    kept, twins = [], {}
    for row in sorted(rows, key=lambda row: row.id != first):
        twin = seen.setdefault((row.artifact, row.target), row.id)
        if twin == row.id:
            kept.append(row)
        else:
            twins[row.id] = twin
    return kept, twins
