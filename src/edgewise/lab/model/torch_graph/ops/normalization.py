"""Normalisation: nn.BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm, nn.RMSNorm with their statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor, nn

from edgewise.lab.model.torch_graph.registry import Found, Site, module, operator

__all__: list[str] = []

_BATCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_INSTANCE = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@module("BatchNormalization")
def batch_norm_module(site: Site) -> Found | None:
    """Learned scale and bias, and the statistics as the running ones. ONNX's momentum is 1 − torch's."""
    if any(site.constant(index) is None for index in (1, 2, 3, 4)) or site.rank(0) not in _BATCH:
        return None
    if site.attributes.get("training_mode", 0):
        raise NotImplementedError("it is in training mode: export the model for inference")
    eps, momentum = site.attributes.get("epsilon", 1e-5), 1 - site.attributes.get("momentum", 0.9)
    made = _BATCH[site.rank(0)](len(site.constant(1)), eps, momentum, device="meta")
    made.weight, made.bias = site.parameter(1), site.parameter(2)
    made.running_mean, made.running_var = site.constant(3).clone(), site.constant(4).clone()
    made.num_batches_tracked = torch.tensor(0)
    return Found(made)


@operator("BatchNormalization")
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """Normalise each channel by given statistics."""
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.1, epsilon)


@module("LayerNormalization")
def layer_norm_module(site: Site) -> Found | None:
    """Learned scale and bias over the last axes."""
    scale, axis = site.constant(1), site.attributes.get("axis", -1)
    last = -axis if axis < 0 else site.rank(0) - axis
    if scale is None or scale.dim() != last or (site.given(2) and site.constant(2) is None):
        return None
    eps = site.attributes.get("epsilon", 1e-5)
    made = nn.LayerNorm(tuple(scale.shape), eps, bias=site.given(2), device="meta")
    made.weight = site.parameter(1)
    if site.given(2):
        made.bias = site.parameter(2)
    return Found(made)


@operator("LayerNormalization")
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Normalise over the last axes by their own mean and variance."""
    made = F.layer_norm(x, x.shape[axis % x.dim() :], None, None, epsilon) * scale
    return made if bias is None else made + bias


@module("RMSNormalization")
def rms_norm_module(site: Site) -> Found | None:
    """Learned scale over the last axes."""
    scale, axis = site.constant(1), site.attributes.get("axis", -1)
    if scale is None or scale.dim() != (-axis if axis < 0 else site.rank(0) - axis):
        return None
    made = nn.RMSNorm(tuple(scale.shape), site.attributes.get("epsilon", 1e-5), device="meta")
    made.weight = site.parameter(1)
    return Found(made)


@operator("RMSNormalization")
def rms_norm(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Divide by the root of the mean square over the last axes."""
    return F.rms_norm(x, x.shape[axis % x.dim() :], None, epsilon) * scale


@module("InstanceNormalization")
def instance_norm_module(site: Site) -> Found | None:
    """Learned scale and bias; statistics of each picture's channel."""
    if site.constant(1) is None or site.constant(2) is None or site.rank(0) not in _INSTANCE:
        return None
    eps = site.attributes.get("epsilon", 1e-5)
    made = _INSTANCE[site.rank(0)](len(site.constant(1)), eps, affine=True, device="meta")
    made.weight, made.bias = site.parameter(1), site.parameter(2)
    return Found(made)


@operator("InstanceNormalization")
def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Normalise each channel of each picture."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@operator("GroupNormalization")
def group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    opset: int,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Normalise groups of channels; before opset 21 there is one scale and bias for each group."""
    if opset < 21:
        repeats = x.shape[1] // num_groups
        scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Divide by the norm along the axis."""
    return F.normalize(x, float(p), axis, 1e-12)


@operator("LRN")
def local_response(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    """Divide by the squares of neighbouring channels."""
    return F.local_response_norm(x, size, alpha, beta, bias)
