"""Normalisation over the batch, a layer, an instance, groups of channels, or a neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, axis_of, extents, known, mb, reshape, sizes

__all__: list[str] = []

_BATCH_RANKS = (3, 4, 5)
_EPSILON = 1e-5


def _epsilon(node: Node, default: float = _EPSILON) -> np.float32:
    return np.float32(node.get("epsilon", default))


@operator("BatchNormalization")
def over_batch(node: Node) -> Var:
    """Normalise by the means and variances found in training."""
    if node.get("training_mode", 0) or node.wants(1):
        raise UnsupportedError("updates its statistics: export the model for inference")
    x = node[0]
    gamma, beta, mean, variance = (known(node[position]) for position in range(1, 5))
    if gamma is None or beta is None or mean is None or variance is None:
        raise UnsupportedError("takes statistics that depend on the model's inputs")
    if x.rank in _BATCH_RANKS:
        return mb.batch_norm(
            x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=_epsilon(node)
        )
    scale = gamma / np.sqrt(variance + _epsilon(node))
    return mb.add(x=mb.mul(x=x, y=scale), y=beta - mean * scale)


@operator("LayerNormalization")
def over_layer(node: Node) -> Var | tuple[Var, ...]:
    """Normalise over the last axes; the mean and one over the deviation are further outputs."""
    x, axis = node[0], axis_of(node.get("axis", -1), node[0].rank)
    answer = _layer(x, axis, node.input(1), node.input(2), _epsilon(node))
    if not (node.wants(1) or node.wants(2)):
        return answer
    axes = list(range(axis, x.rank))
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    variance = mb.reduce_mean(x=mb.square(x=mb.sub(x=x, y=mean)), axes=axes, keep_dims=True)
    return answer, mean, mb.rsqrt(x=variance, epsilon=_epsilon(node))


def _layer(x: Var, axis: int, scale: Var | None, bias: Var | None, epsilon: np.float32) -> Var:
    axes, shape = list(range(axis, x.rank)), sizes(x)[axis:]
    gamma, beta = known(scale), known(bias)
    if (
        gamma is not None
        and gamma.shape == shape
        and (bias is None or (beta is not None and beta.shape == shape))
    ):
        return mb.layer_norm(x=x, axes=axes, gamma=gamma, beta=beta, epsilon=epsilon)
    answer = mb.layer_norm(x=x, axes=axes, epsilon=epsilon)
    answer = answer if scale is None else mb.mul(x=answer, y=scale)
    return answer if bias is None else mb.add(x=answer, y=bias)


@operator("com.microsoft.SkipLayerNormalization")
def over_layer_of_sum(node: Node) -> Var | tuple[Var | None, ...]:
    """Convert ONNX Runtime's fused form: add two tensors and a bias, normalise over the last axis."""
    total = mb.add(x=node[0], y=node[1])
    if node.input(4) is not None:
        total = mb.add(x=total, y=node[4])
    answer = _layer(total, total.rank - 1, node[2], node.input(3), _epsilon(node, 1e-12))
    return (answer, None, None, total)


@operator("RMSNormalization", "SimplifiedLayerNormalization")
def by_root_mean_square(node: Node) -> Var:
    """Divide by the root of the mean square over the last axes, and scale."""
    x = node[0]
    axes = list(range(axis_of(node.get("axis", -1), x.rank), x.rank))
    mean = mb.reduce_mean(x=mb.square(x=x), axes=axes, keep_dims=True)
    return mb.mul(x=mb.mul(x=x, y=mb.rsqrt(x=mean, epsilon=_epsilon(node))), y=node[1])


@operator("InstanceNormalization")
def over_instance(node: Node) -> Var:
    """Normalise each channel of each sample."""
    return _over_groups(node[0], sizes(node[0])[1], node[1], node[2], _epsilon(node))


@operator("GroupNormalization")
def over_groups(node: Node) -> Var:
    """Normalise groups of channels of each sample; up to version 20 there was one scale per group."""
    x, groups = node[0], int(node.get("num_groups", 1))
    scale, bias = node[1], node[2]
    channels, given = sizes(x)[1], known(scale)
    if given is not None and channels is not None and given.size != channels:
        scale, bias = (np.repeat(_fixed(value), channels // groups) for value in (scale, bias))
    return _over_groups(x, groups, scale, bias, _epsilon(node))


def _fixed(value: Var) -> NDArray[np.float32]:
    found = known(value)
    if found is None:
        raise UnsupportedError("takes scales that depend on the model's inputs")
    return found


def _over_groups(
    x: Var,
    groups: int | None,
    scale: Var | NDArray[np.float32],
    bias: Var | NDArray[np.float32],
    epsilon: np.float32,
) -> Var:
    if groups is None:
        raise UnsupportedError("takes a changing number of channels")
    parts = extents(x)
    rows = mb.layer_norm(x=reshape(x, [parts[0], groups, -1]), axes=[2], epsilon=epsilon)
    spatial = [1] * (x.rank - 2)
    answer = mb.mul(x=reshape(rows, parts), y=_column(scale, spatial))
    return mb.add(x=answer, y=_column(bias, spatial))


def _column(value: Var | NDArray[np.float32], spatial: Sequence[int]) -> Var | NDArray[np.float32]:
    """Return one number per channel, with axes of size 1 behind."""
    found = value if isinstance(value, np.ndarray) else known(value)
    return reshape(value, [-1, *spatial]) if found is None else found.reshape(-1, *spatial)


@operator("MeanVarianceNormalization")
def by_mean_and_variance(node: Node) -> Var:
    """Take away the mean and divide by the deviation over some axes."""
    axes = [axis_of(axis, node[0].rank) for axis in node.get("axes", [0, 2, 3])]
    centred = mb.sub(x=node[0], y=mb.reduce_mean(x=node[0], axes=axes, keep_dims=True))
    variance = mb.reduce_mean(x=mb.square(x=centred), axes=axes, keep_dims=True)
    return mb.real_div(x=centred, y=mb.add(x=mb.sqrt(x=variance), y=1e-9))


@operator("LpNormalization")
def by_norm(node: Node) -> Var:
    """Divide by the norm along an axis."""
    axis = axis_of(node.get("axis", -1), node[0].rank)
    measure = mb.reduce_l1_norm if node.get("p", 2) == 1 else mb.reduce_l2_norm
    norm = measure(x=node[0], axes=[axis], keep_dims=True)
    # What is all zeros stays so.
    return mb.real_div(x=node[0], y=mb.select(cond=mb.equal(x=norm, y=0.0), a=np.float32(1), b=norm))


@operator("LRN")
def over_neighbours(node: Node) -> Var:
    """Normalise by the squares of neighbouring channels."""
    size = int(node.get("size", 1))
    if size % 2 == 0:
        raise UnsupportedError(
            "looks at an even number of channels; which side has more is not said of MIL's"
        )
    return mb.local_response_norm(
        x=node[0],
        size=size,
        alpha=float(node.get("alpha", 1e-4)),
        beta=float(node.get("beta", 0.75)),
        k=float(node.get("bias", 1.0)),
    )
