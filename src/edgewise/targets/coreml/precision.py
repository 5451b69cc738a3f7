"""What stays in float32 where a program computes in float16.

Positions and masks are counted in integers and then become floats: a float16 counts to 2048 only, and a mask's
"minus a lot" becomes infinity. What is computed from integers alone costs next to nothing, so it keeps its
precision, and is rounded where it meets the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["worth_rounding"]

# Operators that positions and masks are made by.
_ARITHMETIC = frozenset(
    [
        "abs",
        "add",
        "cast",
        "ceil",
        "clip",
        "concat",
        "cos",
        "cumsum",
        "exp",
        "expand_dims",
        "fill",
        "fill_like",
        "floor",
        "floor_div",
        "identity",
        "inverse",
        "log",
        "maximum",
        "minimum",
        "mul",
        "pow",
        "range_1d",
        "real_div",
        "reduce_max",
        "reduce_sum",
        "reshape",
        "round",
        "rsqrt",
        "select",
        "sign",
        "sin",
        "slice_by_index",
        "sqrt",
        "square",
        "squeeze",
        "stack",
        "sub",
        "tile",
        "transpose",
    ]
)


def worth_rounding() -> Callable[[Any], bool]:
    """Return a function that tells of each operator whether it is to compute in float16."""
    found: dict[Any, bool] = {}

    def exact(operation: Any) -> bool:
        """Tell whether an operator's answer depends on integers alone."""
        if operation not in found:
            found[operation] = _counts(operation) and all(
                _is_number(value) or exact(value.op) for value in _values(operation) if value.val is None
            )
        return found[operation]

    return lambda operation: not exact(operation)


def _counts(operation: Any) -> bool:
    if operation is None:  # an input of the model
        return False
    # Frequencies times positions: an outer product.
    return operation.op_type in _ARITHMETIC or (operation.op_type == "matmul" and operation.x.shape[-1] == 1)


def _values(operation: Any) -> list[Any]:
    inputs = [value for value in operation.inputs.values() if value is not None]
    return [part for value in inputs for part in (value if isinstance(value, list | tuple) else [value])]


def _is_number(value: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return bool(types.is_int(value.dtype) or types.is_bool(value.dtype))
