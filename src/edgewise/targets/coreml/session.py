"""Runs Core ML packages anywhere, by interpreting their ML Program in numpy: it shows numerics, never speed.

What runs is the *saved* package: coremltools rebuilds the program from the file and its weights, compressed ones
included, and a plan of it is executed. So a mistake of the converter, of the file or of a compression shows here.

What is modelled: each operator as its reference describes it; float16 wherever the program declares it, as the
rounding of each operator's result to float16 (to nearest even, overflow to inf), with float32 inside the operator.
What is not: Apple's kernels, which may accumulate in float16, in another order, or fuse operators and so round
less; where operators run (CPU, GPU, Neural Engine); speed and memory. A state starts as zeros in every run.

On a Mac, Core ML itself can run the same package (`coremltools.models.MLModel.predict`); edgewise does not do so
yet, because that path could not be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, missing_extra
from edgewise.targets import Session, Settings, Tensors, chosen, closed
from edgewise.targets.coreml.compiler import compile_function
from edgewise.targets.coreml.package import load_program, read_model
from edgewise.targets.coreml.plan import Plan
from edgewise.targets.coreml.ports import Feature, Port, Ports, features, read_ports

__all__ = ["EVIDENCE", "FORMAT", "NATIVE", "PROVIDER", "SETTINGS", "load", "version"]

FORMAT = "mlpackage"
PROVIDER = "MIL interpreter"
EVIDENCE = Evidence.EMULATED
NATIVE = False
SETTINGS: Settings = {}

_VERSION = 1  # of the interpreter: it changes with its results


class CoreMlSession:
    """A compiled program. Several threads may run it at once: a run shares nothing but constants."""

    __slots__ = ("_features", "_inputs", "_outputs", "_run")

    def __init__(
        self,
        plan: Plan,
        expected: Sequence[Feature],
        inputs: Sequence[Port],
        outputs: Sequence[tuple[int, Port]],
    ) -> None:
        self._run: Callable[[Sequence[NDArray[Any]]], list[Any]] = plan.run
        self._features = tuple(expected)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order, types and shapes; each array is fresh.

        Raises DeviceError on an input that is missing, unknown or does not fit, and naming an operator that fails.
        """
        if strange := inputs.keys() - {port.name for port in self._inputs}:
            raise DeviceError(f"the model has no input {', '.join(sorted(strange))}")
        values = []
        for feature, port in zip(self._features, self._inputs, strict=True):
            if port.name not in inputs:
                raise DeviceError(f"input {port.name} is missing")
            values.append(port.to_feature(inputs[port.name]))
            feature.check(values[-1].shape)
        answers = self._run(values)
        return {port.name: port.to_original(answers[index]) for index, port in self._outputs}

    def close(self) -> None:
        """Free the weights. A closed session can't run."""
        self._run = closed


def version() -> str:
    """Return coremltools' version and the interpreter's. Raises ToolchainError when coremltools is missing."""
    try:
        return f"coremltools {installed('coremltools')}, edgewise interpreter {_VERSION}"
    except PackageNotFoundError as error:
        raise missing_extra("coremltools", "coreml") from error


def load(
    path: Path,
    outputs: Sequence[TensorSpec],
    *,
    threads: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Session:
    """Load the package whose `Manifest.json` is `path`; `io.json` beside the package says how to present it.

    `threads` has no effect: numpy's BLAS decides, and nothing here is a timing. Raises DeviceError when the
    package cannot be loaded or has operators that the interpreter does not know.
    """
    chosen(SETTINGS, settings)
    package = path.parent
    model, weights = read_model(package)
    taken, given = features(model.description.input), features(model.description.output)
    (function,) = load_program(package, model, weights).functions.values()
    try:
        plan = compile_function(function)
    except DeviceError as error:
        raise DeviceError(f"cannot run {package}: {error}") from error
    ports = read_ports(package.parent / "io.json") or Ports(
        tuple(each.port() for each in taken), tuple(each.port() for each in given)
    )
    by_feature = {port.feature: port for port in ports.inputs}
    states = {each.name for each in model.description.state}
    names = [name for name in function.inputs if name not in states]
    expected = {feature.name: feature for feature in taken}
    if set(names) != set(by_feature) or set(names) != set(expected):
        raise DeviceError(f"{package} has inputs {', '.join(names)}; io.json has {', '.join(by_feature)}")
    produced = [var.name for var in function.outputs]
    return CoreMlSession(
        plan,
        [expected[name] for name in names],
        [by_feature[name] for name in names],
        _matched(path, outputs, ports.outputs, produced),
    )


def _matched(
    path: Path, wanted: Sequence[TensorSpec], ports: Sequence[Port], produced: Sequence[str]
) -> list[tuple[int, Port]]:
    """Return place and port of each of the original's outputs: by name, else by position."""
    if missing := [port.feature for port in ports if port.feature not in produced]:
        raise DeviceError(f"{path} has no output {', '.join(missing)}: build it again")
    found = {port.name: (produced.index(port.feature), port) for port in ports}
    if not wanted:
        return list(found.values())
    if all(spec.name in found for spec in wanted):
        return [found[spec.name] for spec in wanted]
    if len(wanted) == len(found):
        return [
            (
                place,
                Port(spec.name, spec.dtype, spec.shape, port.feature, port.feature_dtype, port.feature_shape),
            )
            for spec, (place, port) in zip(wanted, found.values(), strict=True)
        ]
    names = ", ".join(spec.name for spec in wanted)
    raise DeviceError(f"{path} has outputs {', '.join(found)}; expected {names}: build it again")
