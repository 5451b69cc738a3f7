"""Go through the cells: each artifact is built once and executed in each of its places; every cell becomes a row."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.targets import places, reference
from benchmarks.targets.cells import Cell
from benchmarks.targets.reference import Reference
from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.golden import Difference
from edgewise.bundle.manifest import Verdict
from edgewise.errors import EdgewiseError, ToolchainError
from edgewise.lab import jobs, matrix
from edgewise.lab.compress import worker as compressor
from edgewise.lab.matrix import Exam, Subject
from edgewise.lab.measure.store import Store
from edgewise.lab.result import Cell as Verified
from edgewise.targets.building import Operators

__all__ = ["Row", "run"]

ROOT = Path(__file__).parent.parent.parent
ZOO = ROOT / "tests" / "targets" / "zoo.py"
BUILD_S, RUN_S = 1800.0, 3600.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cell: what its artifact is, and what it did in its place; `reason` says what is wrong."""

    cell: Cell
    size: int | None = None
    operators: Operators | None = None
    verified: Verified | None = None
    reason: str | None = None

    @property
    def built(self) -> bool:
        """Whether there is an artifact."""
        return self.operators is not None

    @property
    def difference(self) -> Difference | None:
        """How far its answers are from the original's, where it answered every sample."""
        return self.verified.difference if self.verified else None

    @property
    def executed(self) -> bool:
        """Whether its artifact was built, loaded, and answered every sample."""
        return self.difference is not None

    @property
    def evidence(self) -> Evidence:
        """What running it showed."""
        return self.verified.evidence if self.verified else Evidence.NONE

    @property
    def verdict(self) -> Verdict:
        """Whether the aim was reached; a cell that was not executed is not assessed."""
        if self.difference is None:
            return "not assessed"
        return "met" if self.cell.aim.reached(self.difference) and not self.reason else "missed"


def run(
    cells: Sequence[Cell], zoo: Path, *, at_once: int = 1, done: Callable[[Row], None] = lambda row: None
) -> tuple[Row, ...]:
    """Return the row of each cell, in their order; `done` hears of each as it ends.

    Models that are not in the folder `zoo` are made there. Whatever fails is a row; only Ctrl-C and a full disk
    end the run.
    """
    os.environ["PYTHONPATH"] = str(ROOT)  # workers see only what is installed, and this package is not
    rows: dict[str, Row] = {}

    def finish(row: Row) -> None:
        rows[row.cell.id] = row
        done(row)

    for name, group in groupby(sorted(cells, key=lambda cell: cell.model), key=lambda cell: cell.model):
        of_model = list(group)
        with tempfile.TemporaryDirectory(prefix=f"edgewise-{name}-") as scratch:
            try:
                bench = _bench(name, zoo.absolute(), Path(scratch))
            except EdgewiseError as error:
                for cell in of_model:
                    finish(Row(cell=cell, reason=f"the original: {error}"))
                continue
            bench.run(of_model, at_once, finish)
    return tuple(rows[cell.id] for cell in cells)


def _bench(name: str, zoo: Path, scratch: Path) -> _Bench:
    """Make the model where it is not there yet, and take the original's answers."""
    command = [sys.executable, str(ZOO), str(zoo), name]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise ToolchainError(f"{name} cannot be made: {made.stderr.strip().splitlines()[-1][:240]}")
    job = reference.Job(str(zoo / name), str(scratch))
    taken = jobs.run(reference.__name__, job, Reference, timeout=RUN_S, scratch=scratch)
    (scratch / "kept").mkdir()
    with Store(zoo / name / "eval.npz") as inputs, Store(scratch / "answers.npz") as answers:
        samples = [(inputs.inputs(index), answers.inputs(index)) for index in range(len(inputs))]
    return _Bench(zoo / name, scratch, taken, samples)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Builds and executes the artifacts of one model, each in a process of its own.

    `samples` are pairs of inputs and what the original answers to them.
    """

    zoo: Path
    scratch: Path
    reference: Reference
    samples: Sequence[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = field(repr=False)
    stop: Event = field(default_factory=Event)

    def run(self, cells: Sequence[Cell], at_once: int, finish: Callable[[Row], None]) -> None:
        artifacts: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            artifacts.setdefault((cell.target, cell.column), []).append(cell)

        def work(group: Sequence[Cell]) -> None:
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                self._rows(group, Path(folder), finish)

        jobs.side_by_side(
            work, list(artifacts.values()), at_once=at_once, stop=self.stop, done=lambda group: None
        )

    def _rows(self, cells: Sequence[Cell], folder: Path, finish: Callable[[Row], None]) -> None:
        """Build the one artifact of these cells, and execute it in the place of each."""
        try:
            built = self._build(cells[0], folder)
        except EdgewiseError as error:
            for cell in cells:
                finish(Row(cell=cell, reason=str(error)))
            return
        main = folder / "files" / built.artifact.files[0].name
        for cell in cells:
            finish(self._row(cell, built, main))

    def _build(self, cell: Cell, folder: Path) -> compressor.Done:
        if cell.target not in targets.names():
            raise ToolchainError(f"edgewise has no target {cell.target} yet")
        job = compressor.Job(
            cell.target,
            cell.recipe,
            source=str(self.scratch / "source.onnx"),
            calibration=str(self.zoo / "calibration.npz"),
            folder=str(folder / "files"),
            kept=str(self.scratch / "kept"),
        )
        return jobs.run(
            compressor.__name__, job, compressor.Done, timeout=BUILD_S, scratch=folder, stop=self.stop
        )

    def _row(self, cell: Cell, built: compressor.Done, main: Path) -> Row:
        size = sum(file.size for file in built.artifact.files)
        row = Row(cell=cell, size=size, operators=built.operators)
        try:
            verified = self._execute(cell, main)
        except EdgewiseError as error:
            return msgspec.structs.replace(row, reason=str(error))
        reason = verified.reason
        if cell.precision not in ("fp32", "fp16") and not built.operators.quantized:
            reason = reason or f"none of its {built.operators.total} operators with weights is quantized"
        return msgspec.structs.replace(row, verified=verified, reason=reason)

    def _execute(self, cell: Cell, main: Path) -> Verified:
        """Run an artifact over samples that are spread evenly, as many as its place has time for."""
        rows = np.linspace(0, len(self.samples) - 1, min(cell.samples, len(self.samples)))
        inputs, expected = zip(*(self.samples[int(row)] for row in rows), strict=True)
        done = places.find(cell.place).run(
            cell.target, main, self.reference.outputs, inputs, timeout=RUN_S, stop=self.stop
        )
        exam = Exam(self.reference.outputs, inputs, expected)
        return matrix.cell(Subject(cell.id, cell.target, main, tolerance=0.0), done, exam)
