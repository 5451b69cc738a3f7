"""Normalizations. Means and variances are float32's, whatever the program's type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.activation import channelwise
from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

Array = NDArray[Any]


@operator("batch_norm")
def _batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Any = 1e-5,
) -> Any:
    scale = (1 if gamma is None else gamma) / np.sqrt(variance + epsilon)
    shift = (0 if beta is None else beta) - mean * scale
    return x * channelwise(scale, x.ndim) + channelwise(shift, x.ndim)


@operator("instance_norm")
def _instance_norm(
    x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5
) -> Any:
    result = _standardized(x, tuple(range(2, x.ndim)), epsilon)
    if gamma is not None:
        result = result * channelwise(gamma, x.ndim)
    return result if beta is None else result + channelwise(beta, x.ndim)


@operator("layer_norm")
def _layer_norm(
    x: Array, axes: Any = None, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5
) -> Any:
    over = tuple(range(x.ndim)) if axes is None else tuple(axis % x.ndim for axis in ints(axes))
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    result = _standardized(x, over, epsilon)
    if gamma is not None:
        result *= gamma.reshape(shape)
    if beta is not None:
        result += beta.reshape(shape)
    return result


def _standardized(x: Array, axes: tuple[int, ...], epsilon: Any) -> Array:
    centred: Array = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    centred /= np.sqrt(variance + epsilon)
    return centred


@operator("l2_norm")
def _l2_norm(x: Array, epsilon: Any = 1e-6) -> Any:
    return x / np.sqrt(np.square(x).sum(axis=(-3, -2, -1), keepdims=True) + epsilon)


@operator("local_response_norm")
def _local_response_norm(x: Array, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Any:
    """The window stands around its own channel; of an even `size` the longer half comes before, as in PyTorch."""
    if x.ndim == 3:
        raise NotImplementedError("of rank 3 Core ML's tests expect no neighbours, the reference does")
    channels, span = x.shape[1], int(size)
    squares = np.pad(np.square(x), [(0, 0), (span // 2, (span - 1) // 2)] + [(0, 0)] * (x.ndim - 2))
    total = sum(squares[:, start : start + channels] for start in range(span))
    return x / (k + alpha / span * total) ** beta
