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

import msgspec

from benchmarks.targets import reference, trial
from benchmarks.targets.cells import Cell
from benchmarks.targets.reference import Reference
from benchmarks.targets.trial import Outcome
from edgewise import targets
from edgewise.bundle.manifest import Verdict
from edgewise.errors import EdgewiseError, ToolchainError
from edgewise.lab import jobs
from edgewise.lab.compress import worker as compressor
from edgewise.targets.building import Operators

__all__ = ["Row", "run"]

ROOT = Path(__file__).parent.parent.parent
ZOO = ROOT / "tests" / "targets" / "zoo.py"
BUILD_S, RUN_S = 1800.0, 3600.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cell. `reason` says why it got no further, or what is wrong with what it answered."""

    cell: Cell
    built: bool = False
    size: int | None = None
    operators: Operators | None = None
    outcome: Outcome = Outcome()
    reason: str | None = None

    @property
    def executed(self) -> bool:
        """Whether its artifact was built, loaded, and answered every sample."""
        return self.built and self.outcome.ran

    @property
    def verdict(self) -> Verdict:
        """Whether the aim was reached; a cell that was not executed is not assessed."""
        if not self.executed:
            return "not assessed"
        found = self.outcome.difference
        return "met" if found and not self.reason and self.cell.aim.reached(found) else "missed"


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
    return _Bench(zoo / name, scratch, taken)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Builds and executes the artifacts of one model, each in a process of its own."""

    zoo: Path
    scratch: Path
    reference: Reference
    stop: Event = field(default_factory=Event)

    def run(self, cells: Sequence[Cell], at_once: int, finish: Callable[[Row], None]) -> None:
        artifacts: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            artifacts.setdefault((cell.target, cell.column), []).append(cell)

        def work(group: Sequence[Cell]) -> None:
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                for row in self._rows(group, Path(folder)):
                    finish(row)

        jobs.side_by_side(
            work, list(artifacts.values()), at_once=at_once, stop=self.stop, done=lambda group: None
        )

    def _rows(self, cells: Sequence[Cell], folder: Path) -> list[Row]:
        """Build the one artifact of these cells, and execute it in the place of each."""
        try:
            built = self._build(cells[0], folder)
        except EdgewiseError as error:
            return [Row(cell=cell, reason=str(error)) for cell in cells]
        main = folder / "files" / built.artifact.files[0].name
        return [_row(cell, built, self._execute(cell, main, folder)) for cell in cells]

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

    def _execute(self, cell: Cell, main: Path, folder: Path) -> Outcome:
        job = trial.Job(
            cell.target,
            str(main),
            cell.place,
            self.reference.outputs,
            samples=str(self.zoo / "eval.npz"),
            answers=str(self.scratch / "answers.npz"),
            count=cell.samples,
        )
        try:
            return jobs.run(trial.__name__, job, Outcome, timeout=RUN_S, scratch=folder, stop=self.stop)
        except EdgewiseError as error:
            return Outcome(reason=str(error))


def _row(cell: Cell, built: compressor.Done, outcome: Outcome) -> Row:
    reason = outcome.reason
    if cell.precision not in ("fp32", "fp16") and not built.operators.quantized:
        reason = reason or f"none of its {built.operators.total} operators with weights is quantized"
    size = sum(file.size for file in built.artifact.files)
    return Row(cell=cell, built=True, size=size, operators=built.operators, outcome=outcome, reason=reason)
