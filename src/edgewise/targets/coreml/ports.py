"""The original's inputs and outputs, and the Core ML features that carry them.

Core ML has no int64, no bool and no scalar at its border, so a converter writes `io.json` beside the package:

    {"inputs": [{"name": "ids", "dtype": "int64", "shape": [1, null],
                 "feature": "ids", "feature_dtype": "int32", "feature_shape": [1, null]}], "outputs": [...]}

Without that file the package's own features are presented.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.errors import DeviceError

__all__ = ["Feature", "Port", "Ports", "features", "read_ports"]

Shape = tuple[int | str | None, ...]


class Port(msgspec.Struct, frozen=True):
    """One of the original's inputs or outputs and its feature.

    A name or null in a shape is any size; without a shape it is not known, as a package's own outputs' may be.
    """

    name: str
    dtype: str
    shape: Shape | None
    feature: str
    feature_dtype: str
    feature_shape: Shape | None

    def to_feature(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an input as its feature. Raises DeviceError where it has another type, shape or range."""
        array = np.asarray(array)
        if array.dtype != np.dtype(self.dtype):
            raise DeviceError(f"input {self.name} is {array.dtype}; the model takes {self.dtype}")
        if not _fits(array.shape, self.shape):
            raise DeviceError(
                f"input {self.name} has shape {array.shape}; the model takes {_words(self.shape)}"
            )
        target = np.dtype(self.feature_dtype)
        if array.dtype.kind in "iu" and target.kind in "iu" and array.size:
            limits = np.iinfo(target)
            if array.min() < limits.min or array.max() > limits.max:
                raise DeviceError(f"input {self.name} holds a number that Core ML's {target} cannot")
        return _reshaped(self.name, array, self.feature_shape).astype(target, copy=False)

    def to_original(self, value: Any) -> NDArray[Any]:
        """Return a feature's value as the original's output: a fresh array of its type and shape."""
        return np.array(_reshaped(self.name, np.asarray(value), self.shape), np.dtype(self.dtype))


class Ports(msgspec.Struct, frozen=True):
    """All ports of a package, in the original's order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class Feature(msgspec.Struct, frozen=True):
    """An array at Core ML's border. Each axis has a smallest and a largest size; −1 is no limit."""

    name: str
    dtype: str
    sizes: tuple[tuple[int, int], ...]
    choices: tuple[tuple[int, ...], ...] = ()

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise DeviceError where Core ML would refuse an array of this shape."""
        within = len(shape) == len(self.sizes) and all(
            low <= size and (high < 0 or size <= high)
            for size, (low, high) in zip(shape, self.sizes, strict=True)
        )
        if not within or (self.choices and shape not in self.choices):
            raise DeviceError(
                f"Core ML input {self.name} has shape {shape}; the package takes {self.words()}"
            )

    def words(self) -> str:
        """Describe the shapes that are taken."""
        if self.choices:
            return " or ".join(map(str, self.choices))
        return _words(
            tuple(low if low == high else f"{low}..{high if high >= 0 else ''}" for low, high in self.sizes)
        )

    def port(self) -> Port:
        """Present the feature as it is."""
        shape = tuple(low if low == high else None for low, high in self.sizes) or None
        return Port(self.name, self.dtype, shape, self.name, self.dtype, shape)


def features(descriptions: Sequence[Any]) -> tuple[Feature, ...]:
    """Read features from a model's description. Raises DeviceError on those that are no arrays (pictures)."""
    return tuple(_feature(description) for description in descriptions)


_DTYPES = {"DOUBLE": "float64", "FLOAT16": "float16", "FLOAT32": "float32", "INT32": "int32", "INT8": "int8"}


def _feature(description: Any) -> Feature:
    kind = description.type.WhichOneof("Type")
    if kind in {"stringType", "int64Type", "dictionaryType"}:  # a classifier's results
        return Feature(description.name, {"stringType": "str", "int64Type": "int64"}.get(kind, "float32"), ())
    if kind != "multiArrayType":
        raise DeviceError(
            f"the Core ML feature {description.name} is a {kind}: edgewise feeds and reads arrays"
        )
    array = description.type.multiArrayType
    enum = array.DESCRIPTOR.fields_by_name["dataType"].enum_type
    dtype = _DTYPES.get(enum.values_by_number[array.dataType].name, "float32")
    return Feature(description.name, dtype, tuple(_sizes(array)), tuple(_choices(array)))


def _sizes(array: Any) -> Iterator[tuple[int, int]]:
    match array.WhichOneof("ShapeFlexibility"):
        case "shapeRange":
            yield from ((each.lowerBound, each.upperBound) for each in array.shapeRange.sizeRanges)
        case "enumeratedShapes":
            for sizes in zip(*_choices(array), strict=True):
                yield min(sizes), max(sizes)
        case _:
            yield from ((size, size) for size in array.shape)


def _choices(array: Any) -> Iterator[tuple[int, ...]]:
    yield from (tuple(each.shape) for each in array.enumeratedShapes.shapes)


def read_ports(path: Path) -> Ports | None:
    """Read `io.json`, or return None where there is none. Raises DeviceError where it is broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ports)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DeviceError(f"{path} does not describe inputs and outputs: {error}: build it again") from error


def _fits(shape: tuple[int, ...], wanted: Shape | None) -> bool:
    return wanted is None or (
        len(shape) == len(wanted)
        and all(not isinstance(axis, int) or axis == size for size, axis in zip(shape, wanted, strict=True))
    )


def _words(shape: Shape | None) -> str:
    if shape is None:
        return "any shape"
    return f"({', '.join('any' if axis is None else str(axis) for axis in shape)})"


def _reshaped(name: str, array: NDArray[Any], wanted: Shape | None) -> NDArray[Any]:
    """Give the array the shape wanted; at most one axis may have to be found."""
    if wanted is None or _fits(array.shape, wanted):
        return array
    known = [axis if isinstance(axis, int) else -1 for axis in wanted]
    if known.count(-1) > 1 or (-1 not in known and math.prod(known) != array.size):
        raise DeviceError(f"{name} has shape {array.shape}, which cannot become {_words(wanted)}")
    return array.reshape(known)
