"""A place runs an artifact, as `edgewise.device.probe` does on any device, and says what came of it.

    inputs → in.npz → one process in the place: load, answer all → out.npz → Executed

A place is the command that starts Python there: this machine's own, or that of an emulated device (`arm64`).
Starting it takes seconds to half a minute under an emulator, so one process answers all samples.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from edgewise.bundle.atomic import translated
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.lab import jobs
from edgewise.machine import platform_name
from edgewise.targets import Tensors, exchange
from edgewise.targets.exchange import Report

__all__ = ["HERE", "Executed", "Place", "PythonPlace"]

TIMEOUT = 1800.0
PROBE = "edgewise.device.probe"  # never imported here: the lab and the device do not know each other


@dataclass(frozen=True, slots=True)
class Executed:
    """What an artifact did in a place: how far it came, with which evidence, and what it answered.

    `answers` are its outputs by the original's names, sample by sample, up to the one that failed.
    """

    place: str
    report: Report
    answers: tuple[dict[str, NDArray[Any]], ...] = field(repr=False)

    @property
    def runs(self) -> bool:
        """Whether it answered all samples."""
        return self.report.reason is None


class Place(Protocol):
    """Where artifacts are executed: this machine, an emulated device, a browser."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets whose artifacts can be run here; none named: any that is installed."""

    def run(
        self,
        target: str,
        main: Path,
        outputs: Sequence[TensorSpec],
        inputs: Sequence[Tensors],
        *,
        timeout: float = TIMEOUT,
        stop: Event | None = None,
    ) -> Executed:
        """Load the artifact's main file with its target's session, and answer all `inputs`, in one process.

        A file that does not load, a crash and a time-out are results with their reason. Raises JobError only when
        `stop` is set, InputError when the inputs cannot be handed over.
        """


@dataclass(frozen=True, slots=True)
class PythonPlace:
    """A place with a Python of its own: `python` is the command that starts it, in this `environment`."""

    name: str
    platform: str
    python: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    targets: tuple[str, ...] = ()
    emulated: bool = False

    def run(
        self,
        target: str,
        main: Path,
        outputs: Sequence[TensorSpec],
        inputs: Sequence[Tensors],
        *,
        timeout: float = TIMEOUT,
        stop: Event | None = None,
    ) -> Executed:
        """Run `edgewise.device.probe` there, as `Place.run` says."""
        with tempfile.TemporaryDirectory(prefix="edgewise-place-") as name, translated(Path(name)):
            folder = Path(name)
            exchange.write(folder / "in.npz", inputs)
            (folder / "outputs.json").write_bytes(msgspec.json.encode(outputs))
            given = (target, main.absolute(), folder / "in.npz", folder / "out.npz")
            failure = self._start(
                folder, PROBE, *given, "--outputs", folder / "outputs.json", timeout=timeout, stop=stop
            )
            return self._executed(folder, failure)

    def verify(self, bundle: Path, *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Run `edgewise verify` on a bundle there and return what it prints as JSON.

        Raises JobError with its reason when it refuses the bundle or cannot be run.
        """
        with tempfile.TemporaryDirectory(prefix="edgewise-place-") as name, translated(Path(name)):
            folder = Path(name)
            failure = self._start(
                folder, "edgewise", "verify", bundle.absolute(), "--json", timeout=timeout, stop=None
            )
            if failure:
                raise jobs.JobError(f"{bundle} in {self.name}: {failure}")
            checked: dict[str, Any] = msgspec.json.decode((folder / "out.txt").read_bytes())
            return checked

    def _start(
        self, folder: Path, module: str, *arguments: str | Path, timeout: float, stop: Event | None
    ) -> str | None:
        """Run a module of edgewise to its end and return why it failed, or None."""
        command = [*self.python, "-m", module, *map(str, arguments)]
        environment = {**self.environment, "TMPDIR": str(folder)}
        try:
            code = jobs.execute(command, folder, timeout=timeout, environment=environment, stop=stop)
        except jobs.JobError as error:
            if stop is not None and stop.is_set():
                raise
            return str(error)
        return jobs.ending(code, folder) if code else None

    def _executed(self, folder: Path, failure: str | None) -> Executed:
        """Put together what a probe told and wrote before it ended."""
        report = _last_report(folder / "out.txt") or Report(platform=self.platform)
        answers: tuple[dict[str, NDArray[Any]], ...] = ()
        if (folder / "out.npz").exists():
            answers = exchange.read(folder / "out.npz")
        ran = report.evidence is not Evidence.NONE
        report = msgspec.structs.replace(
            report,
            evidence=Evidence.EMULATED if ran and self.emulated else report.evidence,
            reason=report.reason or failure,
        )
        return Executed(self.name, report, answers)


HERE = PythonPlace(platform_name(), platform_name(), (sys.executable, "-P"), os.environ)


def _last_report(path: Path) -> Report | None:
    for line in reversed(path.read_bytes().splitlines()):
        with suppress(msgspec.MsgspecError):  # it ended while it wrote
            return msgspec.json.decode(line, type=Report)
    return None
