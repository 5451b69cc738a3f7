"""What a Core ML model's inputs and outputs are called, and how they differ from the original's.

Core ML names a feature like a variable, holds it as float16, float32 or int32, and gives it 1 to 5 axes. So a name
may have to change, int64 and bool become int32, float64 becomes float32, and a scalar becomes a vector of one.
The differences are written as `io.json` beside the package, by which the session presents the original's terms:

    {"inputs": [{"name", "dtype", "shape", "feature", "feature_dtype", "feature_shape"}], "outputs": [the same]}

`name`, `dtype` and `shape` are the original's, the other three are Core ML's; a dimension is a number, a name, or
null. An output's `feature_shape` is what the original declares, with its scalars as vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
import onnx

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import ToolchainError
from edgewise.targets.graph import spec

__all__ = ["IO", "Feature", "free_name", "signature"]

Shape = tuple[int | str | None, ...]

_DTYPES = {"float16": "float16", "float32": "float32", "float64": "float32", "bool": "int32"}
_MOST_AXES = 5
# Words of MIL's text form, which coremltools renames without asking.
_RESERVED = frozenset(
    [
        "any",
        "bool",
        "program",
        "func",
        "tensor",
        "list",
        "dict",
        "tuple",
        "true",
        "false",
        "string",
        "state",
        "bf16",
        "fp16",
        "fp32",
        "fp64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ]
)


class Feature(msgspec.Struct, frozen=True):
    """One input or output: the original's name, numpy dtype and shape, and those of the Core ML feature."""

    name: str
    dtype: str
    shape: Shape
    feature: str
    feature_dtype: str
    feature_shape: Shape


class IO(msgspec.Struct, frozen=True):
    """All inputs and outputs, in the original's order."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]


def signature(model: onnx.ModelProto) -> IO:
    """Return the features of a model. Raises ToolchainError for what Core ML cannot hold."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [spec(value) for value in model.graph.input if value.name not in stored]
    outputs = [spec(value) for value in model.graph.output]
    taken: set[str] = set()
    return IO(tuple(_features(inputs, taken)), tuple(_features(outputs, taken)))


def _features(tensors: Iterable[TensorSpec], taken: set[str]) -> Iterator[Feature]:
    for tensor in tensors:
        yield Feature(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            feature=free_name(tensor.name, taken),
            feature_dtype=_dtype(tensor),
            feature_shape=_shape(tensor),
        )


def _dtype(tensor: TensorSpec) -> str:
    found = "int32" if "int" in tensor.dtype else _DTYPES.get(tensor.dtype)
    if found is None:
        raise ToolchainError(
            f"Core ML cannot hold {tensor.name!r} of type {tensor.dtype}: it has numbers only"
        )
    return found


def _shape(tensor: TensorSpec) -> Shape:
    if len(tensor.shape) > _MOST_AXES:
        raise ToolchainError(
            f"Core ML cannot hold {tensor.name!r} with {len(tensor.shape)} axes: reshape it to {_MOST_AXES} or fewer"
        )
    return tensor.shape or (1,)


def free_name(name: str, taken: set[str]) -> str:
    """Return a name that Core ML takes and that is not taken, and take it."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_")
    if not re.match(r"[A-Za-z]", plain):
        plain = f"_{plain}"
    if plain in _RESERVED:
        plain = f"{plain}_"
    found, count = plain, 2
    while found in taken:
        found, count = f"{plain}_{count}", count + 1
    taken.add(found)
    return found
