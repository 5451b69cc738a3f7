"""Numbers to numbers, one by one: arithmetic, rounding, and change of type."""

from __future__ import annotations

import functools
import math
import operator as python
from typing import Any

import onnx
import torch
from torch import Tensor

from edgewise.lab.model.torch_graph.host import Number, as_tensor, beside, each, pairwise
from edgewise.lab.model.torch_graph.registry import operator, register

__all__ = ["DTYPES", "binary"]

DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}
"""torch's type for each element type of ONNX that can be imported."""

register(
    {
        "Acos": torch.acos,
        "Acosh": torch.acosh,
        "Asin": torch.asin,
        "Asinh": torch.asinh,
        "Atan": torch.atan,
        "Atanh": torch.atanh,
        "Cos": torch.cos,
        "Cosh": torch.cosh,
        "Erf": torch.erf,
        "Exp": torch.exp,
        "Log": torch.log,
        "Reciprocal": torch.reciprocal,
        "Sign": torch.sign,
        "Sin": torch.sin,
        "Sinh": torch.sinh,
        "Tan": torch.tan,
    }
)


def binary(function: Any, a: Any, b: Any) -> Any:
    """Apply `function` to tensors, numbers, or one of each."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return function(beside(a, b), beside(b, a))
    return pairwise(function, a, b)


@operator("Add", mixed=True)
def add(a: Any, b: Any) -> Any:
    """A + b."""
    return binary(python.add, a, b)


@operator("Sub", mixed=True)
def subtract(a: Any, b: Any) -> Any:
    """A − b."""
    return binary(python.sub, a, b)


@operator("Mul", mixed=True)
def multiply(a: Any, b: Any) -> Any:
    """A · b."""
    return binary(python.mul, a, b)


@operator("Div", mixed=True)
def divide(a: Any, b: Any) -> Any:
    """A / b; towards zero on integers."""
    return binary(_quotient, a, b)


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        floating = any(
            v.is_floating_point() if isinstance(v, Tensor) else isinstance(v, float) for v in (a, b)
        )
        return a / b if floating else torch.div(as_tensor(a, b), b, rounding_mode="trunc")
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a // b if isinstance(a, int | torch.SymInt) and isinstance(b, int | torch.SymInt) else a / b


@operator("Mod", mixed=True)
def modulo(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """Remainder of a / b, with the sign of b; with `fmod` the sign of a."""
    if fmod and (isinstance(a, Tensor) or isinstance(b, Tensor)):
        return torch.fmod(as_tensor(a, b), b)
    return binary(math.fmod if fmod else python.mod, a, b)


@operator("Pow", mixed=True)
def power(a: Any, b: Any) -> Any:
    """A to the power of b, in the type of a."""
    raised = binary(python.pow, a, b)
    return raised.to(a.dtype) if isinstance(a, Tensor) else raised


@operator("Min", mixed=True)
def minimum(*values: Any) -> Any:
    """Return the smallest of the values, element by element."""
    return functools.reduce(functools.partial(_extreme, torch.minimum, torch.sym_min), values)


@operator("Max", mixed=True)
def maximum(*values: Any) -> Any:
    """Return the largest of the values, element by element."""
    return functools.reduce(functools.partial(_extreme, torch.maximum, torch.sym_max), values)


def _extreme(tensors: Any, numbers: Any, a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        like = a if isinstance(a, Tensor) else b
        return tensors(as_tensor(a, like), as_tensor(b, like))
    return pairwise(numbers, a, b)


@operator("Sum", mixed=True)
def total(*values: Any) -> Any:
    """Return the sum of the values, element by element."""
    return functools.reduce(add, values)


@operator("Mean")
def mean(*values: Tensor) -> Tensor:
    """Return the mean of the values, element by element."""
    return functools.reduce(python.add, values) / len(values)


@operator("Neg", mixed=True)
def negative(x: Any) -> Any:
    """−x."""
    return -x if isinstance(x, Tensor) else each(python.neg, x)


@operator("Abs", mixed=True)
def absolute(x: Any) -> Any:
    """|x|."""
    return torch.abs(x) if isinstance(x, Tensor) else each(abs, x)


@operator("Sqrt", mixed=True)
def square_root(x: Any) -> Any:
    """√x."""
    return torch.sqrt(x) if isinstance(x, Tensor) else each(torch.sym_sqrt, x)


@operator("Floor", mixed=True)
def floor(x: Any) -> Any:
    """Round down."""
    return torch.floor(x) if isinstance(x, Tensor) else each(lambda v: torch.sym_float(math.floor(v)), x)


@operator("Ceil", mixed=True)
def ceiling(x: Any) -> Any:
    """Round up."""
    return torch.ceil(x) if isinstance(x, Tensor) else each(lambda v: torch.sym_float(math.ceil(v)), x)


@operator("Round", mixed=True)
def rounded(x: Any) -> Any:
    """Round to the nearest integer, halves to the even one."""
    return torch.round(x) if isinstance(x, Tensor) else each(lambda v: torch.sym_float(round(v)), x)


@operator("Clip", host=("low", "high"))
def clip(x: Tensor, low: Number = None, high: Number = None) -> Tensor:
    """Limit x to low … high."""
    return x if low is None and high is None else torch.clamp(x, low, high)


@operator("Cast", mixed=True)
def cast(x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """Return x in another type."""
    dtype = DTYPES[to]
    if isinstance(x, Tensor):
        return x.to(dtype)
    if dtype == torch.bool:
        return each(lambda v: v != 0, x)
    return each(torch.sym_float if dtype.is_floating_point else torch.sym_int, x)


@operator("CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1) -> Tensor:
    """Return x in the type of `like`."""
    return x.to(like.dtype)
