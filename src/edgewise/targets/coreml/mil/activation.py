"""Activations, and the softmax family."""

from __future__ import annotations

import numpy as np

from edgewise.targets.coreml.mil.logic import choose
from edgewise.targets.coreml.mil.registry import Node, operator
from edgewise.targets.coreml.mil.values import Var, axis_of, extents, is_float, known, mb, product, reshape

__all__: list[str] = []

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
_FLATTENING = 13
"""Before this version, softmax saw its input as a matrix, split at `axis`."""


@operator("Relu")
def relu(node: Node) -> Var:
    """Cut off what is negative, of integers too."""
    return mb.relu(x=node[0]) if is_float(node[0]) else mb.maximum(x=node[0], y=0)


@operator("Sigmoid", "Tanh", "Softplus", "Softsign")
def plain(node: Node) -> Var:
    """Convert activations without settings."""
    return {"Sigmoid": mb.sigmoid, "Tanh": mb.tanh, "Softplus": mb.softplus, "Softsign": mb.softsign}[
        node.kind
    ](x=node[0])


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Var:
    """Multiply what is negative by `alpha`."""
    return mb.leaky_relu(x=node[0], alpha=float(node.get("alpha", 0.01)))


@operator("PRelu")
def parametric_relu(node: Node) -> Var:
    """Multiply what is negative by a slope, which is broadcast; MIL has an operator for one slope per channel."""
    x, slope = node[0], known(node[1])
    per_channel = (
        slope is not None and slope.ndim == x.rank - 1 and slope.shape[0] == slope.size == x.shape[1]
    )
    if slope is not None and per_channel and x.rank >= 3:
        return mb.prelu(x=x, alpha=slope.reshape(-1).astype(np.float32))
    return mb.add(x=mb.relu(x=x), y=mb.mul(x=node[1], y=mb.minimum(x=x, y=0.0)))


@operator("Elu", "Selu", "Celu")
def exponential_linear(node: Node) -> Var:
    """Bend what is negative towards a bound."""
    x = node[0]
    if node.kind == "Elu":
        return mb.elu(x=x, alpha=float(node.get("alpha", 1.0)))
    if node.kind == "Selu":
        bent = mb.elu(x=x, alpha=float(node.get("alpha", _SELU_ALPHA)))
        return mb.mul(x=bent, y=float(node.get("gamma", _SELU_GAMMA)))
    alpha = float(node.get("alpha", 1.0))
    return mb.mul(x=mb.elu(x=mb.mul(x=x, y=1.0 / alpha), alpha=1.0), y=alpha)


@operator("Gelu", "com.microsoft.Gelu")
def gelu(node: Node) -> Var:
    """Convert GELU, exact or with tanh."""
    mode = "TANH_APPROXIMATION" if node.get("approximate", "none") == "tanh" else "EXACT"
    return mb.gelu(x=node[0], mode=mode)


@operator("com.microsoft.FastGelu", "com.microsoft.BiasGelu")
def gelu_with_bias(node: Node) -> Var:
    """Convert ONNX Runtime's fused forms: add a bias, then GELU."""
    x = node[0] if node.input(1) is None else mb.add(x=node[0], y=node[1])
    return mb.gelu(x=x, mode="EXACT" if node.kind.endswith("BiasGelu") else "TANH_APPROXIMATION")


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Var:
    """Convert a line that is cut off at 0 and 1."""
    return mb.sigmoid_hard(x=node[0], alpha=float(node.get("alpha", 0.2)), beta=float(node.get("beta", 0.5)))


@operator("HardSwish")
def hard_swish(node: Node) -> Var:
    """Multiply by the hard sigmoid of slope 1/6."""
    return mb.mul(x=node[0], y=mb.sigmoid_hard(x=node[0], alpha=1.0 / 6.0, beta=0.5))


@operator("Swish", "com.microsoft.QuickGelu")
def swish(node: Node) -> Var:
    """Multiply by the sigmoid of `alpha` times the value."""
    alpha = float(node.get("alpha", 1.0 if node.kind == "Swish" else 1.702))
    scaled = node[0] if alpha == 1.0 else mb.mul(x=node[0], y=alpha)
    return mb.mul(x=node[0], y=mb.sigmoid(x=scaled))


@operator("Mish")
def mish(node: Node) -> Var:
    """Multiply by tanh(softplus)."""
    return mb.mul(x=node[0], y=mb.tanh(x=mb.softplus(x=node[0])))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node) -> Var:
    """Keep what is above `alpha`; MIL's own keeps what equals it, too."""
    return choose(
        mb.greater(x=node[0], y=float(node.get("alpha", 1.0))), node[0], mb.const(val=np.float32(0))
    )


@operator("Shrink")
def shrink(node: Node) -> Var:
    """Pull values towards 0 by `bias`, and drop those within `lambd` of it."""
    x, bias, bound = node[0], float(node.get("bias", 0.0)), float(node.get("lambd", 0.5))
    inner = choose(mb.less(x=x, y=-bound), mb.add(x=x, y=bias), mb.const(val=np.float32(0)))
    return choose(mb.greater(x=x, y=bound), mb.sub(x=x, y=bias), inner)


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Var:
    """Normalise along an axis; older versions along all axes from it on."""
    x = node[0]
    flat = node.opset < _FLATTENING
    axis = axis_of(node.get("axis", 1 if flat else -1), x.rank)
    if not flat or axis == x.rank - 1:
        return _along(node.kind, x, axis)
    parts = extents(x)
    answer = _along(node.kind, reshape(x, [product(parts[:axis]), -1]), 1)
    return reshape(answer, parts)


def _along(kind: str, x: Var, axis: int) -> Var:
    if kind == "Softmax":
        return mb.softmax(x=x, axis=axis)
    if kind == "LogSoftmax":
        below = mb.sub(x=x, y=mb.reduce_max(x=x, axes=[axis], keep_dims=True))
        total = mb.reduce_sum(x=mb.exp(x=below), axes=[axis], keep_dims=True)
        return mb.sub(x=below, y=mb.log(x=total, epsilon=0.0))
    best = mb.reduce_argmax(x=x, axis=axis, keep_dims=True)
    return mb.cast(x=mb.equal(x=_places(x, axis), y=best), dtype="fp32")


def _places(x: Var, axis: int) -> Var:
    """Return 0, 1, 2 … along one axis of `x`."""
    ones = mb.fill_like(ref_tensor=x, value=np.int32(1))
    return mb.cumsum(x=ones, axis=axis, exclusive=True)
