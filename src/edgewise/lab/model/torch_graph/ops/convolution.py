"""Convolution and its transpose: nn.Conv1d … nn.ConvTranspose3d where the kernel is learned."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor, nn

from edgewise.lab.model.torch_graph.ops.slicing import padded
from edgewise.lab.model.torch_graph.registry import Found, Site, module, operator

__all__ = ["Pad", "same_pads"]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Pad(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """Zeros around the spatial axes: of given amounts, or so that the output is as large as stride allows."""

    def __init__(self, begin: list[int], end: list[int]) -> None:
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, x: Tensor) -> Tensor:
        """Return x padded."""
        return padded(x, self.begin, self.end)


class SamePad(nn.Module):  # type: ignore[misc]
    """ONNX's auto_pad SAME_UPPER or SAME_LOWER: the amounts depend on the size of the input."""

    def __init__(self, kernel: list[int], strides: list[int], dilations: list[int], *, lower: bool) -> None:
        super().__init__()
        self.kernel, self.strides, self.dilations, self.lower = kernel, strides, dilations, lower

    def forward(self, x: Tensor) -> Tensor:
        """Return x padded."""
        return padded(x, *same_pads(x, self.kernel, self.strides, self.dilations, lower=self.lower))


def same_pads(
    x: Tensor, kernel: list[int], strides: list[int], dilations: list[int], *, lower: bool
) -> tuple[list[Any], list[Any]]:
    """Return how much to add before and after each spatial axis, so that the output has size ⌈input / stride⌉."""
    begin, end = [], []
    for size, reach, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        wanted = (size + stride - 1) // stride
        missing = torch.sym_max((wanted - 1) * stride + (reach - 1) * dilation + 1 - size, 0)
        less, more = missing // 2, (missing + 1) // 2
        begin.append(more if lower else less)
        end.append(less if lower else more)
    return begin, end


@module("Conv")
def conv_module(site: Site) -> Found | None:
    """A convolution with a learned kernel; padding that differs from side to side is a step of its own."""
    weight = site.constant(1)
    if weight is None or weight.dim() - 2 not in _CONV or (site.given(2) and site.constant(2) is None):
        return None
    dims = weight.dim() - 2
    strides, dilations, group = _common(site.attributes, dims)
    before, padding = _padding(site.attributes, list(weight.shape[2:]), strides, dilations)
    made = _CONV[dims](
        weight.shape[1] * group,
        weight.shape[0],
        tuple(weight.shape[2:]),
        tuple(strides),
        tuple(padding),
        tuple(dilations),
        group,
        bias=site.given(2),
        device="meta",
    )
    _assign(site, made)
    return Found(made if before is None else nn.Sequential(before, made))


def _common(attributes: Any, dims: int) -> tuple[list[int], list[int], int]:
    strides = list(attributes.get("strides") or [1] * dims)
    return strides, list(attributes.get("dilations") or [1] * dims), attributes.get("group", 1)


def _padding(
    attributes: Any, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[nn.Module | None, list[int]]:
    """Return a module that pads beforehand, or None, and what the convolution itself adds on both sides."""
    dims, automatic = len(kernel), attributes.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return SamePad(kernel, strides, dilations, lower=automatic == "SAME_LOWER"), [0] * dims
    pads = list(attributes.get("pads") or [0] * 2 * dims) if automatic == "NOTSET" else [0] * 2 * dims
    if pads[:dims] == pads[dims:]:
        return None, pads[:dims]
    return Pad(pads[:dims], pads[dims:]), [0] * dims


def _assign(site: Site, made: nn.Module) -> None:
    made.weight = site.parameter(1)
    if site.given(2):
        made.bias = site.parameter(2)


@operator("Conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """A convolution whose kernel is computed."""
    given = {"strides": strides, "dilations": dilations, "pads": pads, "auto_pad": auto_pad}
    steps, spread, _ = _common(given, weight.dim() - 2)
    before, padding = _padding(given, list(weight.shape[2:]), steps, spread)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[weight.dim() - 2]
    return function(x if before is None else before(x), weight, bias, steps, padding, spread, group)


@module("ConvTranspose")
def conv_transpose_module(site: Site) -> Found | None:
    """A transposed convolution with a learned kernel; refused padding falls to the error of `translate`."""
    weight, attributes = site.constant(1), site.attributes
    fits = weight is not None and weight.dim() - 2 in _TRANSPOSED and not attributes.get("output_shape")
    if not fits or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    dims = weight.dim() - 2
    strides, dilations, group = _common(attributes, dims)
    pads = list(attributes.get("pads") or [0] * 2 * dims)
    extra = list(attributes.get("output_padding") or [0] * dims)
    # What is cut off at the end beyond the beginning is less output padding.
    extra = [more - last + first for more, first, last in zip(extra, pads[:dims], pads[dims:], strict=True)]
    if min(extra) < 0:
        return None
    made = _TRANSPOSED[dims](
        weight.shape[0],
        weight.shape[1] * group,
        tuple(weight.shape[2:]),
        tuple(strides),
        tuple(pads[:dims]),
        tuple(extra),
        group,
        bias=site.given(2),
        dilation=tuple(dilations),
        device="meta",
    )
    _assign(site, made)
    return Found(made)
