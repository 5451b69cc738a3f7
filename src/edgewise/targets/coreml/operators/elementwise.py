"""Arithmetic, comparisons, rounding and type changes, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import define, operator

__all__ = ["erf"]

Array = NDArray[Any]

define(
    {
        "acos": np.arccos,
        "asin": np.arcsin,
        "atan": np.arctan,
        "atanh": np.arctanh,
        "cos": np.cos,
        "cosh": np.cosh,
        "exp": np.exp,
        "exp2": np.exp2,
        "sin": np.sin,
        "sinh": np.sinh,
        "sqrt": np.sqrt,
        "square": np.square,
        "tan": np.tan,
        "tanh": np.tanh,
    },
    "x",
)
define(
    {
        "abs": np.absolute,
        "ceil": np.ceil,
        "floor": np.floor,
        "logical_not": np.logical_not,
        "round": np.rint,
        "sign": np.sign,
    },
    "x",
    moves=True,
)
define(
    {
        "add": np.add,
        "floor_div": np.floor_divide,
        "mod": np.mod,
        "mul": np.multiply,
        "pow": np.power,
        "real_div": np.true_divide,
        "sub": np.subtract,
    },
    "x",
    "y",
)
define(
    {
        "equal": np.equal,
        "greater": np.greater,
        "greater_equal": np.greater_equal,
        "less": np.less,
        "less_equal": np.less_equal,
        "logical_and": np.logical_and,
        "logical_or": np.logical_or,
        "logical_xor": np.logical_xor,
        "maximum": np.maximum,
        "minimum": np.minimum,
        "not_equal": np.not_equal,
    },
    "x",
    "y",
    moves=True,
)

_STEPS = 64  # of the table, per unit: the fifth Taylor term is then below 1e-9
_GRID = np.arange(-4 * _STEPS, 4 * _STEPS + 1) / _STEPS
_VALUES = np.array([math.erf(point) for point in _GRID], np.float32)
_SLOPES = np.asarray(2 / math.sqrt(math.pi) * np.exp(-(_GRID**2)), np.float32)


def erf(x: Array) -> Array:
    """Return the error function: Taylor's formula around the nearest of 513 exact values; outside ±4 it is ±1.

    The derivatives of erf at c are its slope there times 1, −2c, 4c² − 2.
    """
    x = np.clip(x, -4, 4)
    index = np.rint(x * _STEPS).astype(np.int32)
    point = index.astype(np.float32) * np.float32(1 / _STEPS)
    gap = x - point
    index += 4 * _STEPS
    series = gap * (1 + gap * (gap * ((2 * point * point - 1) * np.float32(1 / 3)) - point))
    return np.asarray(_VALUES[index] + _SLOPES[index] * series)


define({"erf": erf}, "x")


@operator("inverse")
def _inverse(x: Array, epsilon: Any = 1e-4) -> Any:
    return 1 / (x + epsilon)


@operator("log")
def _log(x: Array, epsilon: Any = 1e-45) -> Any:
    return np.log(x + epsilon)


@operator("rsqrt")
def _rsqrt(x: Array, epsilon: Any = 1e-12) -> Any:
    return 1 / np.sqrt(x + epsilon)


@operator("clip")
def _clip(x: Array, alpha: Any, beta: Any) -> Any:
    return np.minimum(np.maximum(x, alpha), beta)


@operator("threshold")
def _threshold(x: Array, alpha: Any) -> Any:
    return np.maximum(x, alpha)


@operator("select", moves=True)
def _select(cond: Array, a: Array, b: Array) -> Any:
    return np.where(cond, a, b)


@operator("cast")
def _cast(x: Array, dtype: str) -> Any:
    """Cut floats towards zero and into the integer's range, as ARM's conversions do; the interpreter casts."""
    if x.dtype.kind != "f" or "int" not in dtype:
        return x
    limits = np.iinfo(dtype)
    return np.clip(
        np.nan_to_num(x.astype(np.float64), posinf=limits.max, neginf=limits.min), limits.min, limits.max
    )
