"""Activations, and Softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor

from edgewise.lab.model.torch_graph.registry import Found, Site, module, operator, register

__all__: list[str] = []

register(
    {
        "HardSwish": F.hardswish,
        "Mish": F.mish,
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Softplus": F.softplus,
        "Softsign": F.softsign,
        "Tanh": torch.tanh,
    }
)


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """x, below zero alpha · x."""
    return F.leaky_relu(x, alpha)


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x, below zero slope · x."""
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x, below zero alpha · (eˣ − 1)."""
    return F.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha · (e^(x / alpha) − 1))."""
    return F.celu(x, alpha)


@operator("Selu")
def selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    """Gamma · x, below zero gamma · alpha · (eˣ − 1)."""
    return gamma * F.elu(x, alpha)


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """X · Φ(x), or its approximation by tanh."""
    return F.gelu(x, approximate=approximate)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Alpha · x + beta, limited to 0 … 1; torch's own where alpha is 1/6."""
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0.0, 1.0)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X · sigmoid(alpha · x)."""
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X above alpha, else 0."""
    return F.threshold(x, alpha, 0.0)


@operator("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """X brought nearer to zero by the bias, and 0 within ±lambd."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@operator("Softmax")
def softmax(x: Tensor, *, opset: int, axis: int | None = None) -> Tensor:
    """Return shares along the axis; before opset 13 over all axes from that one on."""
    return _normalised(torch.softmax, x, opset, axis)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, opset: int, axis: int | None = None) -> Tensor:
    """Logarithm of Softmax."""
    return _normalised(torch.log_softmax, x, opset, axis)


@operator("Hardmax")
def hardmax(x: Tensor, *, opset: int, axis: int | None = None) -> Tensor:
    """1 at the first largest along the axis, else 0."""
    along = -1 if axis is None else axis
    return torch.zeros_like(x).scatter(along, x.argmax(along, keepdim=True), 1.0)


def _normalised(function: object, x: Tensor, opset: int, axis: int | None) -> Tensor:
    assert callable(function)
    if opset >= 13:
        return function(x, -1 if axis is None else axis)
    start = (1 if axis is None else axis) % x.dim()
    if start == x.dim() - 1:
        return function(x, -1)
    return function(x.flatten(start), -1).reshape(x.shape)


@operator("Identity", mixed=True)
def identity(x: object) -> object:
    """X as it is."""
    return x


@module("Dropout")
def dropout(site: Site) -> Found | None:
    """Nothing in eval mode; in train mode what the original's training did."""
    ratio = site.constant(1) if site.given(1) else torch.tensor(site.attributes.get("ratio", 0.5))
    return None if ratio is None else Found(torch.nn.Dropout(float(ratio)), named=-1)
