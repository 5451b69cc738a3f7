"""Runs .tflite files with LiteRT on the CPU: XNNPACK's kernels where it has them, LiteRT's own elsewhere.

A file is presented by the names of its signature, or by its tensors' names where it has none. What edgewise
builds holds the original's names, types and layout in itself; `io.json` beside it, where there is one, names the
inputs that became constants (see `convert.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Settings, Tensors, chosen, closed

__all__ = ["EVIDENCE", "FORMAT", "NATIVE", "PROVIDER", "SETTINGS", "feeds", "load", "signature", "version"]

FORMAT = "tflite"
PROVIDER = "XNNPACK"
EVIDENCE = Evidence.MEASURED
NATIVE = True
SETTINGS: Settings = {"kernels": ("xnnpack", "builtin")}  # LiteRT's own are quicker for some int8 models

_RESOLVERS = {"xnnpack": "BUILTIN", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}


class _Port(NamedTuple):
    """An input or output: its tensor, the type it has for the caller, and whether that is a single number."""

    tensor: int
    dtype: np.dtype[Any]
    scalar: bool


class LiteRtSession:
    """A loaded file. Its one set of tensors serves one thread at a time."""

    __slots__ = ("_constants", "_inputs", "_interpreter", "_lock", "_outputs", "_shapes")

    def __init__(
        self,
        interpreter: Any,
        inputs: Mapping[str, _Port],
        outputs: Mapping[str, _Port],
        constants: Mapping[str, Any],
    ) -> None:
        self._interpreter = interpreter
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._constants = dict(constants)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._lock = Lock()

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order and types; each array is fresh."""
        for name, value in self._constants.items():
            if np.any(inputs[name] != value):
                raise DeviceError(f"this file answers {name} = {value} only: use the original for others")
        arrays = {name: _fed(inputs[name], port) for name, port in self._inputs.items()}
        with self._lock:
            interpreter = self._open()
            self._plan(interpreter, {name: array.shape for name, array in arrays.items()})
            for name, port in self._inputs.items():
                interpreter.set_tensor(port.tensor, arrays[name])
            interpreter.invoke()
            return {
                name: _answered(interpreter.get_tensor(port.tensor), port)
                for name, port in self._outputs.items()
            }

    def close(self) -> None:
        """Free the model's memory. A closed session can't run."""
        self._interpreter = None

    def _open(self) -> Any:
        if self._interpreter is None:
            closed()
        return self._interpreter

    def _plan(self, interpreter: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        """Place all tensors in memory again where an input's shape is not that of the last call."""
        if shapes != self._shapes:
            self._shapes = {}  # a plan that fails must not be taken for made
            for name, port in self._inputs.items():
                interpreter.resize_tensor_input(port.tensor, shapes[name], strict=True)
            interpreter.allocate_tensors()
            self._shapes = shapes


def version() -> str:
    """Return LiteRT's version. Raises ToolchainError when it is missing."""
    return str(_litert().__version__)


def load(
    path: Path,
    outputs: Sequence[TensorSpec],
    *,
    threads: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Session:
    """Load a .tflite; 0 threads leaves the number to the runtime.

    Raises DeviceError when the file cannot be loaded, or has operators that this runtime does not.
    """
    _litert()
    kernels = _RESOLVERS[chosen(SETTINGS, settings)["kernels"]]
    interpreter = _opened(path, threads, kernels)
    constants = _constants(path)
    _, inputs, found = _signature(interpreter)
    return LiteRtSession(
        interpreter,
        {name: _port(one) for name, one in inputs.items()},
        _wanted(path, found, outputs),
        constants,
    )


def signature(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and the outputs of a .tflite; a free dimension has no name there.

    Raises DeviceError when the file cannot be loaded.
    """
    _, inputs, outputs = _signature(_opened(path, 1, "BUILTIN"))
    return _specs(inputs), _specs(outputs)


def feeds(path: Path, samples: Sequence[Tensors]) -> tuple[str, list[dict[str, NDArray[Any]]]]:
    """Return the name of the file's signature, and the samples as its tensors take them.

    Raises DeviceError for a file without a signature.
    """
    key, inputs, _ = _signature(_interpreter(path, 1, "BUILTIN"))
    if not key:
        raise DeviceError(f"{path} has no signature: convert it again with one")
    ports = {name: _port(one) for name, one in inputs.items()}
    return key, [{name: _fed(sample[name], port) for name, port in ports.items()} for sample in samples]


def _litert() -> Any:
    try:
        import ai_edge_litert
    except ImportError as error:
        raise missing_extra("ai-edge-litert", "litert") from error
    return ai_edge_litert


def _opened(path: Path, threads: int, kernels: str) -> Any:
    try:
        return _interpreter(path, threads, kernels)
    except Exception as error:  # ValueError for a file it cannot read, RuntimeError for one it cannot plan
        raise DeviceError(f"LiteRT cannot load {path}: {_first_line(error)}") from error


def _interpreter(path: Path, threads: int, kernels: str) -> Any:
    """Open the file. Where its shapes are free, its tensors are placed when the first input is known."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        num_threads=threads or None,
        experimental_op_resolver_type=OpResolverType[kernels],
    )
    if not any(-1 in one["shape_signature"] for one in interpreter.get_input_details()):
        interpreter.allocate_tensors()
    return interpreter


def _signature(interpreter: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name of the main graph's signature, and what LiteRT knows of its inputs and outputs by name."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    main = {one["index"] for one in inputs}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        named = runner.get_input_details()
        if {one["index"] for one in named.values()} == main:
            return key, named, runner.get_output_details()
    return "", {one["name"]: one for one in inputs}, {one["name"]: one for one in outputs}


def _specs(ports: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name,
            np.dtype(one["dtype"]).name,
            tuple(None if size < 0 else int(size) for size in one["shape_signature"]),
        )
        for name, one in ports.items()
    )


def _port(details: Mapping[str, Any]) -> _Port:
    return _Port(details["index"], np.dtype(details["dtype"]), len(details["shape"]) == 0)


def _wanted(path: Path, found: Mapping[str, Any], wanted: Sequence[TensorSpec]) -> dict[str, _Port]:
    """Return the file's outputs for the original's: by name, or by position where a tool renamed them."""
    if not wanted:
        return {name: _port(one) for name, one in found.items()}
    names = [spec.name for spec in wanted]
    if set(names) <= set(found):
        order = [found[name]["index"] for name in names]
    elif len(names) == len(found):
        order = [one["index"] for one in found.values()]
    else:
        raise DeviceError(
            f"{path} has outputs {', '.join(found)}; expected {', '.join(names)}: build it again"
        )
    pairs = zip(wanted, order, strict=True)
    return {spec.name: _Port(index, np.dtype(spec.dtype), not spec.shape) for spec, index in pairs}


def _fed(value: Any, port: _Port) -> NDArray[Any]:
    """Return an input as its tensor takes it; a single number may be a vector of one there."""
    array = np.asarray(value, port.dtype)
    return array if array.ndim or port.scalar else array.reshape(1)


def _answered(array: NDArray[Any], port: _Port) -> NDArray[Any]:
    array = array.astype(port.dtype, copy=False)
    return array.reshape(()) if port.scalar else array


def _constants(path: Path) -> dict[str, Any]:
    known = path.with_name("io.json")
    if not known.exists():
        return {}
    document = json.loads(known.read_text(encoding="utf-8"))
    return {name: one["value"] for name, one in document["constants"].items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
