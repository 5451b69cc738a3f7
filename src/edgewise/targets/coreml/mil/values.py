"""What the operators' functions share: looking at MIL values, and small pieces of integer arithmetic on sizes.

A value is a `Var` of coremltools. Its type is float32, int32 or bool: ONNX's other types are held in the nearest
of these, except that quantized tensors stay in 8 bits between the operators that make and read them. A size is an int where it is known while converting, else a value of shape [1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from coremltools.converters import mil
from coremltools.converters.mil.mil import types
from numpy.typing import NDArray

__all__ = [
    "Size",
    "Var",
    "axis_of",
    "cast",
    "constant",
    "extent",
    "extents",
    "is_bool",
    "is_byte",
    "is_float",
    "is_int",
    "known",
    "like",
    "mb",
    "nonnegative",
    "product",
    "reshape",
    "scalar",
    "sizes",
    "squeeze",
    "to_bool",
    "vector",
    "widened",
    "with_rank",
]

mb: Any = mil.Builder
Var = Any
Size = int | Var

_INT32 = np.iinfo(np.int32)


def constant(array: NDArray[Any]) -> Var:
    """Return an ONNX tensor as a MIL constant. Integers beyond 32 bits are cut to the nearest that fits."""
    name = array.dtype.name
    if name in ("bool", "int8", "uint8"):
        return mb.const(val=array)
    if name.lstrip("u").startswith("int"):
        wide = (
            array if array.dtype.itemsize > 1 else array.astype(np.int32)
        )  # of 4 bits, to numpy a foreign type
        return mb.const(val=np.clip(wide, _INT32.min, _INT32.max).astype(np.int32))
    return mb.const(val=array.astype(np.float32))  # from float16, float64, bfloat16


def widened(value: Var) -> Var:
    """Return what quantization holds in 8 bits as int32, which all of MIL's operators take."""
    return mb.cast(x=value, dtype="int32") if is_byte(value) else value


def known(value: Var | None) -> NDArray[Any] | None:
    """Return what a value is, where it does not depend on the inputs."""
    return None if value is None or value.val is None else np.asarray(value.val)


def sizes(value: Var) -> tuple[int | None, ...]:
    """Return the shape, None where a dimension is dynamic."""
    return tuple(int(size) if isinstance(size, int | np.integer) else None for size in value.shape)


def is_float(value: Var) -> bool:
    """Tell whether a value is of a float type."""
    return bool(types.is_float(value.dtype))


def is_int(value: Var) -> bool:
    """Tell whether a value is of an integer type."""
    return bool(types.is_int(value.dtype))


def is_byte(value: Var) -> bool:
    """Tell whether a value is held in 8 bits."""
    return is_int(value) and int(value.dtype.get_bitwidth()) == 8


def is_bool(value: Var) -> bool:
    """Tell whether a value is of type bool."""
    return bool(types.is_bool(value.dtype))


def cast(value: Var, dtype: str) -> Var:
    """Return the value as "fp32", "int32" or "bool"; floats are cut towards zero, and all but 0 is true."""
    if types.builtin_to_string(value.dtype) == dtype:
        return value
    return to_bool(value) if dtype == "bool" else mb.cast(x=value, dtype=dtype)


def to_bool(value: Var) -> Var:
    """Return where a value is not 0: what a cast makes of 0.5 is not documented."""
    return value if is_bool(value) else mb.not_equal(x=value, y=0.0 if is_float(value) else 0)


def like(value: Var, other: Var) -> Var:
    """Return `value` in the type of `other`."""
    return cast(value, types.builtin_to_string(other.dtype))


def axis_of(axis: int, rank: int) -> int:
    """Return the axis counted from the front."""
    return axis + rank if axis < 0 else axis


def extent(value: Var, axis: int) -> Size:
    """Return the size of one dimension."""
    size = sizes(value)[axis]
    if size is not None:
        return size
    axis = axis_of(axis, value.rank)
    return mb.slice_by_index(x=mb.shape(x=value), begin=[axis], end=[axis + 1])


def extents(value: Var) -> list[Size]:
    """Return the sizes of all dimensions."""
    return [extent(value, axis) for axis in range(value.rank)]


def product(parts: Sequence[Size]) -> Size:
    """Return the product of sizes."""
    fixed = prod(part for part in parts if isinstance(part, int))
    result: Size = fixed
    for part in parts:
        if not isinstance(part, int):
            result = part if isinstance(result, int) and result == 1 else mb.mul(x=part, y=result)
    return result


def vector(parts: Sequence[Size]) -> Var | NDArray[np.int32]:
    """Return sizes as one vector of integers."""
    if all(isinstance(part, int) for part in parts):
        return np.array(parts, np.int32)
    return mb.concat(
        values=[np.array([part], np.int32) if isinstance(part, int) else part for part in parts], axis=0
    )


def reshape(value: Var, parts: Sequence[Size]) -> Var:
    """Return the value in another shape; at most one size may be -1, and no sizes at all make a scalar."""
    if not parts:
        return squeeze(value, range(value.rank))
    if not value.rank:
        value = mb.expand_dims(x=value, axes=[0])
    return mb.reshape(x=value, shape=vector(parts))


def scalar(value: Var) -> Var:
    """Return a value of one element without axes."""
    return squeeze(value, range(value.rank))


def squeeze(value: Var, axes: Iterable[int]) -> Var:
    """Return the value without some axes of size 1: coremltools keeps those whose size it does not know."""
    dropped = {axis_of(axis, value.rank) for axis in axes}
    if not dropped:
        return value
    if any(sizes(value)[axis] != 1 for axis in dropped):
        if len(dropped) == value.rank:
            value, dropped = reshape(value, [1]), {0}
        else:
            return reshape(value, [part for axis, part in enumerate(extents(value)) if axis not in dropped])
    return mb.squeeze(x=value, axes=sorted(dropped))


def with_rank(value: Var, rank: int) -> Var:
    """Return the value with axes of size 1 in front, as broadcasting adds them."""
    missing = rank - value.rank
    return mb.expand_dims(x=value, axes=list(range(missing))) if missing > 0 else value


def nonnegative(indices: Var, size: Size) -> Var:
    """Return indices counted from the front: since iOS 17 a negative one is undefined."""
    found = known(indices)
    if found is not None and (isinstance(size, int) or (found >= 0).all()):
        return constant(np.where(found < 0, found + size, found)) if (found < 0).any() else indices
    behind = mb.add(x=indices, y=size if isinstance(size, int) else scalar(size))
    return mb.select(cond=mb.less(x=indices, y=0), a=behind, b=indices)
