"""Matrix products. They accumulate in float32 (BLAS), whatever the program's type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.activation import softmax
from edgewise.targets.coreml.operators.registry import operator

Array = NDArray[Any]


@operator("linear")
def _linear(x: Array, weight: Array, bias: Array | None = None) -> Any:
    product = _product(x, weight.T)
    return product if bias is None else product + bias


@operator("matmul")
def _matmul(x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False) -> Any:
    left = x.swapaxes(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.swapaxes(-1, -2) if transpose_y and y.ndim > 1 else y
    return _product(left, right)


def _product(x: Array, y: Array) -> Any:
    """Multiply; a batch by one matrix is one call of BLAS instead of one per member."""
    if x.ndim > 2 and y.ndim == 2:
        return np.matmul(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], y.shape[-1])
    return np.matmul(x, y)


@operator("einsum")
def _einsum(values: Sequence[Array], equation: str) -> Any:
    """MIL knows one equation, "nchw,nwhu->nchu" or the same without n, under any letters."""
    left, right = (value.swapaxes(-2, -3) for value in values)
    return np.matmul(left, right).swapaxes(-2, -3)


@operator("scaled_dot_product_attention")
def _attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Any:
    scores = np.matmul(query, key.swapaxes(-1, -2)) * np.float32(1 / math.sqrt(query.shape[-1]))
    if attn_mask is not None:
        allowed = attn_mask.dtype.kind == "b"
        scores = np.where(attn_mask, scores, np.float32(-np.inf)) if allowed else scores + attn_mask
    return np.matmul(softmax(scores), value)
