"""Runs ONNX files with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Tensors

__all__ = ["EVIDENCE", "FORMAT", "PROVIDER", "load", "version"]

FORMAT = "onnx"
PROVIDER = "CPUExecutionProvider"
EVIDENCE = Evidence.MEASURED

_ERROR = 3  # ONNX Runtime's log severity: silent about what does not stop it


class OnnxRuntimeSession:
    """A loaded ONNX file. All is looked up beforehand: `run` adds 1 µs to `InferenceSession.run`."""

    __slots__ = ("_fetch", "_names", "_run")

    def __init__(self, session: Any, names: Sequence[str], fetch: Sequence[str]) -> None:
        self._run = session.run
        self._names = tuple(names)
        self._fetch = list(fetch)

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order; each array is fresh."""
        return dict(zip(self._names, self._run(self._fetch, inputs), strict=True))

    def close(self) -> None:
        """Free the model's memory. A closed session can't run."""
        self._run = _closed


def version() -> str:
    """Return ONNX Runtime's version. Raises ToolchainError when it is missing."""
    return str(_onnxruntime().__version__)


def load(path: Path, outputs: Sequence[TensorSpec], *, threads: int = 0) -> Session:
    """Load an ONNX file (external data lies beside it); 0 threads leaves the number to the runtime.

    Raises DeviceError when the file cannot be loaded.
    """
    runtime = _onnxruntime()
    settings = _settings(runtime, threads)
    try:
        session = runtime.InferenceSession(str(path), settings, providers=[PROVIDER])
    except Exception as error:  # the runtime raises a dozen unrelated types
        raise DeviceError(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from error
    found = [output.name for output in session.get_outputs()]
    names = [spec.name for spec in outputs] or found
    return OnnxRuntimeSession(session, names, _matched(path, names, found))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:  # a base dependency: its wheel may not exist for this platform
        raise missing_extra("onnxruntime", "lab") from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_ERROR)
    return onnxruntime


def _settings(runtime: Any, threads: int) -> Any:
    settings = runtime.SessionOptions()
    settings.log_severity_level = _ERROR
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    return settings


def _matched(path: Path, names: Sequence[str], found: Sequence[str]) -> Sequence[str]:
    """Return the file's outputs for the original's: by name, or by position where a tool renamed them."""
    if set(names) <= set(found):
        return names
    if len(names) == len(found):
        return found
    raise DeviceError(f"{path} has outputs {', '.join(found)}; expected {', '.join(names)}: build it again")


def _closed(*_: object) -> NoReturn:
    raise DeviceError("this session is closed: load the model again")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
