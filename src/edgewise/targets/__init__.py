"""Targets: one folder per framework, found by the entry point group `edgewise.targets`.

A target's `session.py` runs on the device and needs only that framework's runtime; its `build.py` runs in the
lab. Every session is presented with the original's names, shapes, dtypes and layout, whatever the converter did.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, InputError

if TYPE_CHECKING:
    from edgewise.targets.building import BuildModule
    from edgewise.targets.placement import SupportModule

__all__ = [
    "Remote",
    "Session",
    "SessionModule",
    "Settings",
    "Tensors",
    "builder",
    "chosen",
    "closed",
    "names",
    "session",
    "support",
    "timed",
]

GROUP = "edgewise.targets"
Tensors = Mapping[str, NDArray[Any]]
Settings = Mapping[str, tuple[str, ...]]


class Session(Protocol):
    """A loaded artifact. `run` takes and returns arrays by the original's names.

    `run` may be called by several threads at once; they may have to wait for each other. `close` may not be
    called while another thread is in `run`.
    """

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


@runtime_checkable
class Remote(Protocol):
    """A session whose model runs in another process, as in a browser: it tells what cannot be seen from here."""

    last_ms: float  # what the last `run` took there, without the way there and back
    load_ms: float  # what loading the model took, the runtime being there already

    def peak(self) -> int:
        """Return the most resident bytes so far, above the runtime without a model."""


class SessionModule(Protocol):
    """What a target's `session.py` offers. Everything a device needs, and nothing of the lab."""

    FORMAT: str  # of the artifacts it runs: one of edgewise.bundle.manifest.FORMATS
    PROVIDER: str  # where it runs them, e.g. "CPUExecutionProvider"
    SETTINGS: Settings  # what `load` may be asked for, by name: the values it takes, the default first
    NATIVE: bool  # whether it runs here as on a device: `edgewise.open` may then choose it by itself
    EVIDENCE: Evidence  # what running here shows: "measured", or "emulated" where devices run another program

    def version(self) -> str:
        """Return the runtime's version. Raises ToolchainError, naming the pip command, when it is missing."""

    def load(
        self,
        path: Path,
        outputs: Sequence[TensorSpec],
        *,
        threads: int = 0,
        settings: Mapping[str, str] | None = None,
    ) -> Session:
        """Load the artifact's main file; 0 threads leaves the number to the runtime.

        `settings` are the device's own choice among SETTINGS (`edgewise tune`), never a bundle's: runtimes have
        some that write files, and a bundle is somebody else's. Raises DeviceError when the file cannot be loaded.
        """


def chosen(allowed: Settings, settings: Mapping[str, str] | None) -> dict[str, str]:
    """Return a value for every setting of a target: the one asked for, else the default.

    Raises InputError for a setting or a value that it does not have.
    """
    given = dict(settings or {})
    for name, value in given.items():
        if value not in allowed.get(name, ()):
            known = "; ".join(f"{key}: {', '.join(values)}" for key, values in allowed.items()) or "none"
            raise InputError(f"no setting {name} = {value}: known are {known}")
    return {name: given.get(name, values[0]) for name, values in allowed.items()}


def closed(*_: object) -> NoReturn:
    """Stand in for what a session no longer has after `close`. Raises DeviceError."""
    raise DeviceError("this model is closed: load it again")


def timed(session: Session, inputs: Tensors) -> float:
    """Run once, and return the ms it took: by this clock, or by the session's own where the model is elsewhere."""
    start = perf_counter()
    session.run(inputs)
    taken = (perf_counter() - start) * 1e3
    return session.last_ms if isinstance(session, Remote) else taken


@cache
def names() -> tuple[str, ...]:
    """Return the names of all targets found, built-ins and third parties' alike."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def session(name: str) -> SessionModule:
    """Return a target's device side. Raises InputError for a name nobody registered."""
    module: SessionModule = _module(name, "session")
    return module


def builder(name: str) -> BuildModule:
    """Return a target's lab side. Raises InputError for a name nobody registered."""
    module: BuildModule = _module(name, "build")
    return module


def support(name: str) -> SupportModule | None:
    """Return what a target says of its operators, None where it declares nothing. Raises InputError like `builder`."""
    try:
        module: SupportModule = _module(name, "support")
    except ModuleNotFoundError as error:
        if not str(error.name).endswith(".support"):
            raise
        return None
    return module


@cache
def _module(name: str, side: str) -> Any:
    for point in entry_points(group=GROUP):
        if point.name == name:
            return importlib.import_module(f"{point.value}.{side}")
    raise InputError(f"unknown runtime {name!r}: known are {', '.join(names())}")
