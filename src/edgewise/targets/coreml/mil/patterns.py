"""Operators that exporters wrote as several, because ONNX had no name for them then.

Layer normalisation came with version 17; before, exporters wrote it as means, squares and a root, which in float16
rounds (and overflows) at each step. MIL's own operator does not, and is the one that Apple's units know.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewise.targets.coreml.mil.values import Var, axis_of, known, mb

__all__ = ["standardized"]


def standardized(x: Var, y: Var) -> Var | None:
    """Return `x / y` as a layer normalisation, where it is (v - mean(v)) / sqrt(mean((v - mean(v))²) + epsilon)."""
    root = _made(y, "sqrt")
    total = _made(root.x, "add") if root else None
    if total is None:
        return None
    for mean, constant in ((total.x, total.y), (total.y, total.x)):
        epsilon, spread = known(constant), _made(mean, "reduce_mean")
        if epsilon is not None and epsilon.size == 1 and spread is not None and _is_square(spread.x, x):
            return _normalized(x, spread, np.float32(epsilon.item()))
    return None


def _normalized(x: Var, spread: Any, epsilon: np.float32) -> Var | None:
    centred = _made(x, "sub")
    mean = _made(centred.y, "reduce_mean") if centred else None
    if mean is None or mean.x is not centred.x or _axes(mean) != _axes(spread):
        return None
    axes = _axes(mean)
    if axes is None or axes != list(range(axes[0], x.rank)):
        return None
    return mb.layer_norm(x=mean.x, axes=axes, epsilon=epsilon)


def _axes(mean: Any) -> list[int] | None:
    """Return the axes of a mean that keeps them."""
    if mean.axes is None or not mean.keep_dims.val:
        return None
    return sorted(axis_of(int(axis), mean.x.rank) for axis in mean.axes.val)


def _is_square(value: Var, base: Var) -> bool:
    power = _made(value, "pow")
    if power is not None:
        exponent = known(power.y)
        return power.x is base and exponent is not None and exponent.size == 1 and exponent.item() == 2
    product = _made(value, "mul")
    return product is not None and product.x is base and product.y is base


def _made(value: Var, kind: str) -> Any:
    """Return the operation that made a value, where it is of a kind."""
    return value.op if value.op is not None and value.op.op_type == kind else None
