"""The seam to where artifacts are executed: one function, from a place's name to the answers given there.

"x86-64"                      the target's own session in this process
"chromium"                    the same: a web target's session drives the browser
"chromium-webgpu"             no target offers it yet
"cortex-a53", "cortex-a76"    an emulated processor: `edgewise.lab.places`, not there yet
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import ToolchainError
from edgewise.targets.building import Samples

__all__ = ["Executed", "execute"]

HERE = ("x86-64", "chromium")


@dataclass(frozen=True, slots=True)
class Executed:
    """What an artifact did in a place: `reason` is None when it answered all samples."""

    runtime: str
    evidence: Evidence
    loaded: bool
    answers: Sequence[dict[str, NDArray[Any]]]
    reason: str | None = None


def execute(place: str, target: str, main: Path, outputs: Sequence[TensorSpec], samples: Samples) -> Executed:
    """Load an artifact's main file in a place, and answer all samples there.

    A file that does not load or run is a result with its reason. Raises ToolchainError when the place is not here.
    """
    if place in HERE:
        return _here(target, main, outputs, samples)
    raise ToolchainError(f"the place {place} is not part of edgewise yet")


def _here(target: str, main: Path, outputs: Sequence[TensorSpec], samples: Samples) -> Executed:
    module = targets.session(target)
    runtime, answers, loaded = module.version(), list[dict[str, NDArray[Any]]](), False
    try:
        session = module.load(main, outputs, threads=1)
        loaded = True
        for sample in samples:
            answers.append(session.run(sample))
        session.close()
    except Exception as error:  # noqa: BLE001 - runtimes raise a dozen unrelated types
        reason = " ".join(str(error).split())[:240] or type(error).__name__
        where = f"sample {len(answers)}: " if loaded else ""
        return Executed(runtime, module.EVIDENCE, loaded, answers, where + reason)
    return Executed(runtime, module.EVIDENCE, loaded, answers)
