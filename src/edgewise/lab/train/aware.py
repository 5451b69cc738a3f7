"""Quantization-aware training: while it lasts, weights and activations are rounded as an int8 runtime will round them.

Weights symmetric, one scale for each output channel; what goes into a layer by one scale and zero.
Gradients pass the rounding as if it were not there, and reach the scale as in LSQ. Afterwards the weights are plain floats
again, which any quantizer takes.
Jacob et al.: Quantization and Training of Neural Networks, https://arxiv.org/abs/1712.05877
Esser et al.: Learned Step Size Quantization, https://arxiv.org/abs/1902.08153
"""

# mypy: allow-untyped-calls, allow-subclassing-any
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["rounded"]

_ROUNDED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_MOMENTUM = 0.05
_TINY = 1e-8
_STEPS = 255


class _Weight(nn.Module):
    """Rounds a weight to 2·most + 1 steps in each output channel."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.most = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as the quantized one will be read."""
        scale = weight.detach().abs().flatten(1).amax(1).clamp(min=_TINY) / self.most
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -self.most, self.most)


class _Activation(nn.Module):
    """Rounds what goes into a layer to 256 steps from the lowest value to the highest.

    In training these are the batch's, and gradients pass through them: a value that alone makes the steps wide is
    drawn in. A quantizer takes its ranges from what it sees, too, so no range has to be handed on to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return x rounded."""
        if not self.training:
            return _stepped(x, self.seen[0], self.seen[1])
        low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
        with torch.no_grad():
            now = torch.stack((low, high))
            self.seen.copy_(self.seen + _MOMENTUM * (now - self.seen) if bool(self.seen.any()) else now)
        return _stepped(x, low, high)


def _stepped(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    step = ((high - low) / _STEPS).clamp(min=_TINY)
    zero = torch.round(-low / step).detach()
    place = x / step + zero
    whole = place + (torch.round(place) - place).detach()
    return (whole.clamp(0, _STEPS) - zero) * step


@contextmanager
def rounded(module: nn.Module, bits: int) -> Iterator[None]:
    """Round the layers of `module` for the time being."""
    layers = [layer for layer in module.modules() if isinstance(layer, _ROUNDED)]
    hooks = []
    for layer in layers:
        layer.add_module("rounded_input", _Activation().to(layer.weight.device))
        parametrize.register_parametrization(layer, "weight", _Weight(bits))
        hooks.append(layer.register_forward_pre_hook(_round_input))
    try:
        yield
    finally:
        for layer, hook in zip(layers, hooks, strict=True):
            hook.remove()
            original = layer.parametrizations.weight.original
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            layer.weight = original
            del layer.rounded_input


def _round_input(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.rounded_input(inputs[0]), *inputs[1:])
