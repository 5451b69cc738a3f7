"""Pooling over windows and over whole pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor

from edgewise.lab.model.torch_graph.ops.convolution import same_pads
from edgewise.lab.model.torch_graph.ops.slicing import padded
from edgewise.lab.model.torch_graph.registry import operator

__all__: list[str] = []

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@operator("MaxPool")
def max_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
) -> Tensor:
    """Return the largest of each window."""
    dims = len(kernel_shape)
    steps, spread = strides or [1] * dims, dilations or [1] * dims
    begin, end = _pads(x, auto_pad, pads, kernel_shape, steps, spread)
    if begin == end and all(2 * amount <= size for amount, size in zip(begin, kernel_shape, strict=True)):
        return _MAX[dims](x, kernel_shape, steps, begin, spread, bool(ceil_mode))
    wide = padded(x, begin, end, value=-torch.inf)
    return _MAX[dims](wide, kernel_shape, steps, 0, spread, bool(ceil_mode))


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Return the mean of each window, padding counted or not."""
    dims = len(kernel_shape)
    if dilations and set(dilations) != {1}:
        raise NotImplementedError("AveragePool with dilations has no counterpart in torch")
    steps = strides or [1] * dims
    begin, end = _pads(x, auto_pad, pads, kernel_shape, steps, [1] * dims)
    rest = (bool(ceil_mode), bool(count_include_pad))
    if begin == end and all(2 * amount <= size for amount, size in zip(begin, kernel_shape, strict=True)):
        return _AVERAGE[dims](x, kernel_shape, steps, begin, *rest)
    sums = _AVERAGE[dims](padded(x, begin, end), kernel_shape, steps, 0, *rest)
    if count_include_pad:
        return sums
    return sums / _AVERAGE[dims](padded(torch.ones_like(x), begin, end), kernel_shape, steps, 0, *rest)


def _pads(
    x: Tensor,
    auto_pad: str,
    pads: list[int] | None,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
) -> tuple[list[Any], list[Any]]:
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(x, kernel, strides, dilations, lower=auto_pad == "SAME_LOWER")
    given = [0] * 2 * len(kernel) if auto_pad == "VALID" or pads is None else list(pads)
    return given[: len(kernel)], given[len(kernel) :]


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """Return the mean of each channel."""
    return torch.mean(x, tuple(range(2, x.dim())), True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """Return the largest of each channel."""
    return torch.amax(x, tuple(range(2, x.dim())), True)
