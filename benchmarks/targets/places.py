"""The places of the list, by name: this machine, an emulated processor, a browser with a setting of its own.

"x86-64", "chromium"          this machine: a web target's session drives the browser
"chromium-webgpu"             the same, asked for WebGPU
"cortex-a53", "cortex-a76"    `edgewise.lab.places.arm64`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError
from edgewise.lab.places import arm64
from edgewise.lab.places.place import HERE, TIMEOUT, Executed, Place
from edgewise.machine import platform_name
from edgewise.targets import Tensors
from edgewise.targets.exchange import Report

__all__ = ["find"]


def find(name: str) -> Place:
    """Return a place. Raises InputError for an unknown one, ToolchainError with the command that installs it."""
    if name in ("x86-64", "chromium"):
        return HERE
    if name == "chromium-webgpu":
        return _Asked(name, {"provider": "webgpu"}, ("onnxruntime-web",))
    if name in arm64.CPUS:
        return arm64.emulated(name)
    raise InputError(f"{name} is no place to execute in: benchmarks/targets/places.py knows them")


@dataclass(frozen=True, slots=True)
class _Asked:
    """This machine, with settings that a device may choose; the session runs in this process."""

    name: str
    settings: dict[str, str] = field(repr=False)
    targets: tuple[str, ...] = ()

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
        """Load the artifact's main file and answer all `inputs`; whatever fails is a result with its reason."""
        module = targets.session(target)
        known = {"platform": platform_name(), "runtime": module.version(), "evidence": module.EVIDENCE}
        answers: list[dict[str, NDArray[Any]]] = []
        loads = False
        try:
            session = module.load(main, outputs, settings=self.settings)
            loads = True
            answers.extend(session.run(sample) for sample in inputs)
            session.close()
        except Exception as error:  # noqa: BLE001 - runtimes raise a dozen unrelated types
            reason = " ".join(str(error).split())[:240] or type(error).__name__
            report = Report(**known, loads=loads, answered=len(answers), reason=reason)  # type: ignore[arg-type]
            return Executed(self.name, report, tuple(answers))
        report = Report(**known, loads=True, answered=len(answers))  # type: ignore[arg-type]
        return Executed(self.name, report, tuple(answers))
