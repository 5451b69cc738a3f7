"""Reductions over some axes, or over all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

Array = NDArray[Any]


def _axes(axes: Any) -> tuple[int, ...] | None:
    return None if axes is None else tuple(ints(axes))


def _reduction(name: str, reduce: Callable[..., Any], *, moves: bool = False) -> None:
    @operator(name, moves=moves)
    def _run(x: Array, axes: Any = None, keep_dims: Any = False) -> Any:
        return reduce(x, axis=_axes(axes), keepdims=bool(keep_dims))


def _log_sum_exp(x: Array, *, axis: tuple[int, ...] | None, keepdims: bool) -> Any:
    peak = x.max(axis=axis, keepdims=True)
    total = np.log(np.exp(x - peak).sum(axis=axis, keepdims=True)) + peak
    return total if keepdims else np.squeeze(total, axis=axis)


_reduction("reduce_l1_norm", lambda x, **over: np.abs(x).sum(**over))
_reduction("reduce_l2_norm", lambda x, **over: np.sqrt(np.square(x).sum(**over)))
_reduction("reduce_log_sum", lambda x, **over: np.log(x.sum(**over)))
_reduction("reduce_log_sum_exp", _log_sum_exp)
_reduction("reduce_max", np.max, moves=True)
_reduction("reduce_mean", np.mean)
_reduction("reduce_min", np.min, moves=True)
_reduction("reduce_prod", np.prod)
_reduction("reduce_sum", np.sum)
_reduction("reduce_sum_square", lambda x, **over: np.square(x).sum(**over))


@operator("reduce_argmax")
def _argmax(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Any:
    return np.argmax(x, axis=int(axis), keepdims=bool(keep_dims))


@operator("reduce_argmin")
def _argmin(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Any:
    return np.argmin(x, axis=int(axis), keepdims=bool(keep_dims))
