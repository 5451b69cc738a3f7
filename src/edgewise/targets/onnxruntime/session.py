"""Runs ONNX files with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Settings, Tensors, chosen, closed

__all__ = ["EVIDENCE", "FORMAT", "NATIVE", "PROVIDER", "SETTINGS", "load", "version"]

FORMAT = "onnx"
PROVIDER = "CPUExecutionProvider"
EVIDENCE = Evidence.MEASURED
NATIVE = True
SETTINGS: Settings = {
    "spinning": ("on", "off"),  # threads wait for work by spinning: quicker, at the cost of battery
    "arena": ("on", "off"),  # memory is kept between requests
    "graph": ("all", "extended", "basic"),  # "all" also changes layouts, which pays for most convolutions
}

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
        self._run = closed


def version() -> str:
    """Return ONNX Runtime's version. Raises ToolchainError when it is missing."""
    return str(_onnxruntime().__version__)


def load(
    path: Path,
    outputs: Sequence[TensorSpec],
    *,
    threads: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Session:
    """Load an ONNX file (external data lies beside it); 0 threads leaves the number to the runtime.

    Raises DeviceError when the file cannot be loaded.
    """
    runtime = _onnxruntime()
    options = _options(runtime, threads, chosen(SETTINGS, settings))
    try:
        session = runtime.InferenceSession(str(path), options, providers=[PROVIDER])
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


def _options(runtime: Any, threads: int, settings: Mapping[str, str]) -> Any:
    levels = runtime.GraphOptimizationLevel
    options = runtime.SessionOptions()
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings["arena"] == "on"
    options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{settings['graph'].upper()}")
    if settings["spinning"] == "off":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _matched(path: Path, names: Sequence[str], found: Sequence[str]) -> Sequence[str]:
    """Return the file's outputs for the original's: by name, or by position where a tool renamed them."""
    if set(names) <= set(found):
        return names
    if len(names) == len(found):
        return found
    raise DeviceError(f"{path} has outputs {', '.join(found)}; expected {', '.join(names)}: build it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
