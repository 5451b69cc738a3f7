"""Runs OpenVINO IR (an .xml with its .bin beside it) on the CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Settings, Tensors, chosen, closed

__all__ = ["EVIDENCE", "FORMAT", "NATIVE", "PROVIDER", "SETTINGS", "load", "version"]

FORMAT = "openvino-ir"
PROVIDER = "CPU"
EVIDENCE = Evidence.MEASURED
NATIVE = True
SETTINGS: Settings = {
    "hint": ("LATENCY", "THROUGHPUT"),
    "pinning": ("auto", "YES", "NO"),  # of threads to cores
    "hyper_threading": ("auto", "YES", "NO"),
}

# On a CPU with bfloat16 instructions OpenVINO runs fp32 models in bfloat16 unless told otherwise. A variant
# must compute on every device what was verified, so the precision is pinned; int8 operators stay int8.
_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
_PROPERTIES = {
    "hint": "PERFORMANCE_HINT",
    "pinning": "ENABLE_CPU_PINNING",
    "hyper_threading": "ENABLE_HYPER_THREADING",
}


class OpenVinoSession:
    """A compiled model and its one request, which serves one thread at a time."""

    __slots__ = ("_infer", "_lock", "_ports")

    def __init__(self, request: Any, ports: Sequence[tuple[str, int, np.dtype[Any]]]) -> None:
        self._infer = request.infer
        self._ports = tuple(ports)
        self._lock = Lock()

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order and types; each array is fresh.

        Inputs are read in place (`share_inputs`), outputs are copied out of the request (`share_outputs`).
        """
        with self._lock:
            answer = self._infer(inputs, True, False)
        return {name: answer[port].astype(dtype, copy=False) for name, port, dtype in self._ports}

    def close(self) -> None:
        """Free the model's memory. A closed session can't run."""
        self._infer = closed


def version() -> str:
    """Return OpenVINO's version and build. Raises ToolchainError when it is missing."""
    return str(_openvino().get_version())


def load(
    path: Path,
    outputs: Sequence[TensorSpec],
    *,
    threads: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Session:
    """Compile an .xml for this CPU; 0 threads leaves the number to the runtime.

    Raises DeviceError when the file cannot be loaded. Nothing is cached on disk.
    """
    properties = _properties(threads, chosen(SETTINGS, settings))
    core = _openvino().Core()
    try:
        model = core.read_model(str(path))
        compiled = core.compile_model(model, PROVIDER, properties)
        request = compiled.create_infer_request()
    except Exception as error:  # OpenVINO raises RuntimeError for everything, and others from its bindings
        raise DeviceError(f"OpenVINO cannot load {path}: {_reason(error)}") from error
    return OpenVinoSession(request, _ports(path, compiled.outputs, outputs))


def _properties(threads: int, settings: Mapping[str, str]) -> dict[str, int | str]:
    asked = {_PROPERTIES[name]: value for name, value in settings.items() if value != "auto"}
    return _PRECISION | asked | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino", "openvino") from error
    return openvino


def _ports(
    path: Path, found: Sequence[Any], wanted: Sequence[TensorSpec]
) -> list[tuple[str, int, np.dtype[Any]]]:
    """Return name, position and dtype of each of the original's outputs: by name, else by position."""
    if not wanted:
        return [
            (port.get_any_name(), i, np.dtype(port.get_element_type().to_dtype()))
            for i, port in enumerate(found)
        ]
    positions = {name: index for index, port in enumerate(found) for name in port.get_names()}
    if all(spec.name in positions for spec in wanted):
        order = [positions[spec.name] for spec in wanted]
    elif len(wanted) == len(found):
        order = list(range(len(found)))
    else:
        names = ", ".join(spec.name for spec in wanted)
        raise DeviceError(f"{path} has {len(found)} outputs; expected {names}: build it again")
    return [(spec.name, index, np.dtype(spec.dtype)) for spec, index in zip(wanted, order, strict=True)]


def _reason(error: Exception) -> str:
    """Return OpenVINO's words on one line, without the places in its C++ sources that come first."""
    words = re.sub(r"Exception from \S+|Check '.*?' failed at \S+", "", str(error))
    return " ".join(words.split())[:200] or type(error).__name__
