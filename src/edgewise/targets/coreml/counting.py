"""How much of a package is compressed: operators with weights of 8 bits or fewer, of all that have weights.

It reads the saved program, whatever wrote it. A weight is a constant of floats with two axes or more, or what one
of MIL's `constexpr_` operators unpacks when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgewise.errors import missing_extra
from edgewise.targets.building import Operators, Weight
from edgewise.targets.coreml import silent
from edgewise.targets.coreml.saving import MODEL

__all__ = ["operators"]

# Operator → names of the inputs where its weights can be.
_WEIGHTS: dict[str, tuple[str, ...]] = {
    "conv": ("weight",),
    "conv_transpose": ("weight",),
    "gather": ("x",),
    "gru": ("weight_ih",),
    "linear": ("weight",),
    "lstm": ("weight_ih",),
    "matmul": ("y", "x"),
    "rnn": ("weight_ih",),
}
_SMALL = ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense")


def operators(main: Path) -> Operators:
    """Count the operators of a package that have weights, and those whose weights have 8 bits or fewer."""
    return Operators.count(_weights(main.parent / MODEL))


def _weights(path: Path) -> Iterator[Weight]:
    try:
        with silent():
            from coremltools.proto import MIL_pb2, Model_pb2
    except ImportError as error:
        raise missing_extra("coremltools", "coreml") from error
    floats = (MIL_pb2.FLOAT32, MIL_pb2.FLOAT16)
    program = Model_pb2.Model.FromString(path.read_bytes()).mlProgram
    for function in program.functions.values():
        every = list(_walk(function.block_specializations[function.opset]))
        makers = {output.name: operation for operation in every for output in operation.outputs}
        for operation in every:
            yield _weight(operation, makers, floats)


def _walk(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _walk(inner)


def _weight(operation: Any, makers: Mapping[str, Any], floats: tuple[int, ...]) -> Weight:
    for name in _WEIGHTS.get(operation.type, ()):
        for binding in operation.inputs[name].arguments if name in operation.inputs else ():
            maker = makers.get(binding.name)
            found = None if maker is None else _stored(maker, floats)
            if found is not None:
                return found
    return None


def _stored(maker: Any, floats: tuple[int, ...]) -> Weight:
    if maker.type in _SMALL:
        return True
    kind = maker.outputs[0].type.tensorType
    return False if maker.type == "const" and kind.rank >= 2 and kind.dataType in floats else None
