"""Which operators ONNX Runtime Web runs on WebGPU: a kernel for this opset and these types, else WebAssembly.

The kernels are those of `webgpu.json`: what the WebGPU provider, from which the browser's build is made, has
registered. The table that onnxruntime-web's package carries is older than its code: it lacks LSTM, Max or TopK,
which run on WebGPU. How the file was read, and what a browser says to it: docs/operator-support.md
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import msgspec
import onnx

from edgewise.bundle.evidence import Evidence
from edgewise.targets.operator import Operator, operators
from edgewise.targets.placement import Partitioning, Placement, partitions

__all__ = ["partitionings"]

_DECOMPOSED = "no kernel: runs as the operators that define it, which are not looked at"


class _Kernel(msgspec.Struct, frozen=True, array_like=True):
    """The opsets, first to last, that a kernel is for, and the types it takes, by constraint or input name."""

    first: int
    last: int | None
    types: dict[str, str]


class _Registry(msgspec.Struct, frozen=True):
    source: str
    kernels: dict[str, list[_Kernel]]


def partitionings(model: onnx.ModelProto) -> Iterator[Partitioning]:
    """Place the operators on WebGPU, or in WebAssembly on the CPU."""
    registry = _registry()
    placements = []
    for operator in operators(model):
        why = _refused(operator, registry.kernels.get(f"{operator.domain}.{operator.node.op_type}", []))
        placements.append(Placement(operator.node.name, operator.type, "cpu" if why else "accelerator", why))
    on = {placement.name for placement in placements if placement.where == "accelerator"}
    yield Partitioning(
        accelerator="WebGPU",
        evidence=Evidence.PUBLISHED,
        source=registry.source,
        placements=tuple(placements),
        partitions=partitions(model.graph, on),
        notes=("whether a browser's adapter computes in float16 is known in that browser only",),
    )


@cache
def _registry() -> _Registry:
    return msgspec.json.decode(files(__package__).joinpath("webgpu.json").read_bytes(), type=_Registry)


def _refused(operator: Operator, kernels: list[_Kernel]) -> str:
    """Return why no kernel takes `operator`, empty when one does."""
    fitting = [k for k in kernels if k.first <= (operator.since or 1) <= (k.last or operator.since or 1)]
    if not fitting:
        defined = operator.schema and (
            operator.schema.has_function or operator.schema.has_context_dependent_function
        )
        return _DECOMPOSED if defined else "no kernel"
    wrong = [_wrong_type(operator, kernel) for kernel in fitting]
    return "" if "" in wrong else wrong[0]


def _wrong_type(operator: Operator, kernel: _Kernel) -> str:
    """Return the type of an input that `kernel` does not take, as a reason."""
    for called, constraint, dtype in _typed_inputs(operator):
        allowed = kernel.types.get(constraint) or kernel.types.get(called)
        if allowed and dtype and dtype not in allowed.split():
            return f"no kernel for {dtype}"
    return ""


def _typed_inputs(operator: Operator) -> Iterator[tuple[str, str, str]]:
    """Yield (name in ONNX, type constraint, type as ONNX writes it) of each input."""
    for position, formal in enumerate(operator.schema.inputs if operator.schema else ()):
        element = operator.dtype(position)
        if element:
            yield formal.name, formal.type_str, onnx.TensorProto.DataType.Name(element).lower()
