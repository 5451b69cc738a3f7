"""Activations. Those with a parameter per channel have their channels on the second axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.elementwise import erf
from edgewise.targets.coreml.operators.registry import operator

__all__ = ["channelwise", "sigmoid", "softmax"]

Array = NDArray[Any]


def channelwise(values: Array, rank: int) -> Array:
    """Return one value per channel in the shape that broadcasts along axis 1 of `rank` axes."""
    return np.asarray(values).reshape((-1,) + (1,) * (rank - 2))


@operator("relu", moves=True)
def _relu(x: Array) -> Any:
    return np.maximum(x, 0)


@operator("relu6", moves=True)
def _relu6(x: Array) -> Any:
    return np.minimum(np.maximum(x, 0), 6)


@operator("clamped_relu")
def _clamped_relu(x: Array, alpha: Any, beta: Any) -> Any:
    return np.minimum(_leaky_relu(x, alpha), beta)


@operator("leaky_relu")
def _leaky_relu(x: Array, alpha: Any) -> Any:
    return np.where(x >= 0, x, x * alpha)


@operator("prelu")
def _prelu(x: Array, alpha: Array) -> Any:
    return np.where(x > 0, x, x * channelwise(alpha, x.ndim))


@operator("thresholded_relu", moves=True)
def _thresholded_relu(x: Array, alpha: Any) -> Any:
    return np.where(x >= alpha, x, 0)


@operator("elu")
def _elu(x: Array, alpha: Any) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@operator("gelu")
def _gelu(x: Array, mode: str = "EXACT") -> Any:
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * sigmoid(1.702 * x)
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


@operator("linear_activation")
def _linear_activation(x: Array, alpha: Any, beta: Any) -> Any:
    return x * alpha + beta


@operator("scaled_tanh")
def _scaled_tanh(x: Array, alpha: Any, beta: Any) -> Any:
    return alpha * np.tanh(x * beta)


@operator("sigmoid")
def sigmoid(x: Array) -> Any:
    """Return 1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-x))


@operator("sigmoid_hard")
def _sigmoid_hard(x: Array, alpha: Any, beta: Any) -> Any:
    return np.clip(x * alpha + beta, 0, 1)


@operator("silu")
def _silu(x: Array) -> Any:
    return x * sigmoid(x)


@operator("softplus")
def _softplus(x: Array) -> Any:
    return np.logaddexp(0, x)


@operator("softplus_parametric")
def _softplus_parametric(x: Array, alpha: Array, beta: Array) -> Any:
    return channelwise(alpha, x.ndim) * np.logaddexp(0, x * channelwise(beta, x.ndim))


@operator("softsign")
def _softsign(x: Array) -> Any:
    return x / (1 + np.abs(x))


@operator("softmax")
def softmax(x: Array, axis: Any = -1) -> Array:
    """Return eˣ over its sum along `axis`, the largest taken away first."""
    powers: Array = np.exp(x - x.max(axis=int(axis), keepdims=True))
    powers /= powers.sum(axis=int(axis), keepdims=True)
    return powers
