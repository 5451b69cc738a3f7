"""Runs .tflite files with LiteRT on the CPU: XNNPACK's kernels where it has them, LiteRT's own elsewhere.

A file is presented by the names of its signature, or by its tensors' names where it has none. What edgewise
builds holds the original's names, types and layout in itself (see `convert.py`), so nothing lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Tensors

__all__ = ["EVIDENCE", "FORMAT", "PROVIDER", "load", "version"]

FORMAT = "tflite"
PROVIDER = "XNNPACK"
EVIDENCE = Evidence.MEASURED


class _Port(NamedTuple):
    """An input or output: its place in the file, and the type that it is set or answered in."""

    index: int
    dtype: np.dtype[Any]


class LiteRtSession:
    """A loaded file. Its one set of tensors serves one thread at a time."""

    __slots__ = ("_inputs", "_interpreter", "_lock", "_outputs", "_shapes")

    def __init__(self, interpreter: Any, inputs: Mapping[str, _Port], outputs: Mapping[str, _Port]) -> None:
        self._interpreter = interpreter
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._lock = Lock()

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order and types; each array is fresh."""
        with self._lock:
            interpreter = self._open()
            self._shape(interpreter, inputs)
            for name, port in self._inputs.items():
                interpreter.set_tensor(port.index, np.asarray(inputs[name], port.dtype))
            interpreter.invoke()
            return {
                name: interpreter.get_tensor(port.index).astype(port.dtype, copy=False)
                for name, port in self._outputs.items()
            }

    def close(self) -> None:
        """Free the model's memory. A closed session can't run."""
        self._interpreter = None

    def _open(self) -> Any:
        if self._interpreter is None:
            raise DeviceError("this session is closed: load the model again")
        return self._interpreter

    def _shape(self, interpreter: Any, inputs: Tensors) -> None:
        """Plan the memory of all tensors again where an input's shape is not that of the last call."""
        shapes = {name: np.shape(inputs[name]) for name in self._inputs}
        if shapes != self._shapes:
            self._shapes = {}  # a plan that fails must not be taken for made
            for name, port in self._inputs.items():
                interpreter.resize_tensor_input(port.index, shapes[name])
            interpreter.allocate_tensors()
            self._shapes = shapes


def version() -> str:
    """Return LiteRT's version. Raises ToolchainError when it is missing."""
    return str(_litert().__version__)


def load(path: Path, outputs: Sequence[TensorSpec], *, threads: int = 0) -> Session:
    """Load a .tflite; 0 threads leaves the number to the runtime.

    Raises DeviceError when the file cannot be loaded, or has operators that this runtime does not.
    """
    _litert()
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads or None)
        if not any(-1 in one["shape_signature"] for one in interpreter.get_input_details()):
            interpreter.allocate_tensors()
    except Exception as error:  # ValueError for a file it cannot read, RuntimeError for one it cannot plan
        raise DeviceError(f"LiteRT cannot load {path}: {_first_line(error)}") from error
    inputs, found = _signature(interpreter)
    ports = {name: _Port(one["index"], np.dtype(one["dtype"])) for name, one in inputs.items()}
    return LiteRtSession(interpreter, ports, _answers(path, found, outputs))


def _litert() -> Any:
    try:
        import ai_edge_litert
    except ImportError as error:
        raise missing_extra("ai-edge-litert", "litert") from error
    return ai_edge_litert


def _signature(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what LiteRT knows of the main graph's inputs and outputs, by name.

    A file may have a signature per graph: the one wanted is that of the first graph.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    main = {one["index"] for one in inputs}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        named = runner.get_input_details()
        if {one["index"] for one in named.values()} == main:
            return named, runner.get_output_details()
    return {one["name"]: one for one in inputs}, {one["name"]: one for one in outputs}


def _answers(path: Path, found: Mapping[str, Any], wanted: Sequence[TensorSpec]) -> dict[str, _Port]:
    """Return the file's outputs for the original's: by name, or by position where a tool renamed them."""
    if not wanted:
        return {name: _Port(one["index"], np.dtype(one["dtype"])) for name, one in found.items()}
    names = [spec.name for spec in wanted]
    if set(names) <= set(found):
        order = [found[name]["index"] for name in names]
    elif len(names) == len(found):
        order = [one["index"] for one in found.values()]
    else:
        raise DeviceError(
            f"{path} has outputs {', '.join(found)}; expected {', '.join(names)}: build it again"
        )
    return {spec.name: _Port(at, np.dtype(spec.dtype)) for spec, at in zip(wanted, order, strict=True)}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
