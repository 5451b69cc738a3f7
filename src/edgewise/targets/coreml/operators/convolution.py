"""Convolutions of one to three spatial axes: matrix products over the columns that the kernel meets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.activation import channelwise
from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints, margins, padded, positions, taps

Array = NDArray[Any]
_CACHED = 32768  # float32 numbers that stay in the processor's cache beside others


@operator("conv")
def _conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Any = 1,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = 1,
    groups: Any = 1,
) -> Any:
    """`x` is (batch, channels, …), `weight` (outputs, channels / groups, …)."""
    kernel, axes, count = weight.shape[2:], x.ndim - 2, int(groups)
    steps, gaps = _each(strides, axes), _each(dilations, axes)
    spans = [(size - 1) * gap + 1 for size, gap in zip(kernel, gaps, strict=True)]
    x = padded(x, margins(pad_type, pad, x.shape[2:], spans, steps))
    places = positions(x.shape[2:], spans, steps)
    if count > 1 and count == x.shape[1] and weight.shape[1] == 1:
        result = _depthwise(x, weight, places, steps, gaps)
    else:
        columns = _columns(x, count, spans, steps, gaps)
        matrix = weight.reshape(count, weight.shape[0] // count, -1)
        result = np.matmul(matrix, columns).reshape(x.shape[0], weight.shape[0], *places)
    return result if bias is None else result + channelwise(bias, x.ndim)


def _each(values: Any, axes: int) -> list[int]:
    numbers = ints(values)
    return numbers * axes if len(numbers) == 1 else numbers


def _columns(
    x: Array, groups: int, spans: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """Return (batch, groups, channels / groups × kernel, places): one column for each place of the kernel."""
    batch, channels, *sizes = x.shape
    if max(spans) == 1 and max(strides) == 1:
        return x.reshape(batch, groups, channels // groups, -1)
    axes = len(sizes)
    stepped = [slice(None, None, stride) for stride in strides] + [
        slice(None, None, gap) for gap in dilations
    ]
    index: tuple[Any, ...] = (..., *stepped)
    windows: Array = sliding_window_view(x, spans, axis=tuple(range(2, 2 + axes)))[index]
    order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
    rows = channels // groups * int(np.prod(windows.shape[2 + axes :]))
    return windows.transpose(order).reshape(batch, groups, rows, -1)


def _depthwise(
    x: Array, weight: Array, places: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """Add up the kernel's taps: each channel has its own kernel, so there is no product to batch.

    It goes some channels at a time, so that sums stay in the processor's cache.
    """
    batch, channels = x.shape[:2]
    factor = weight.shape[0] // channels
    result = np.zeros((batch, channels, factor, *places), np.float32)
    portion = max(1, _CACHED // max(1, factor * math.prod(places)))
    for first in range(0, channels, portion):
        own = slice(first, first + portion)
        kernels = weight.reshape(channels, factor, *weight.shape[2:])[own]
        _add_taps(x[:, own, np.newaxis], kernels, result[:, own], strides, dilations)
    return result.reshape(batch, -1, *places)


def _add_taps(
    x: Array, kernels: Array, result: Array, strides: Sequence[int], dilations: Sequence[int]
) -> None:
    places = result.shape[3:]
    product = np.empty_like(result)
    for tap, met in taps(kernels.shape[2:], places, strides, dilations):
        weights = kernels[tap].reshape(*kernels.shape[:2], *[1] * len(places))
        np.multiply(x[met], weights, out=product)
        result += product


@operator("conv_transpose")
def _conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Any = None,
    output_shape: Any = None,
    pad_type: str = "valid",
    strides: Any = 1,
    dilations: Any = 1,
    groups: Any = 1,
) -> Any:
    """`x` is (batch, channels, …), `weight` (channels, outputs / groups, …)."""
    batch, channels, *places = x.shape
    kernel, axes, count = weight.shape[2:], x.ndim - 2, int(groups)
    steps, gaps = _each(strides, axes), _each(dilations, axes)
    spans = [(size - 1) * gap + 1 for size, gap in zip(kernel, gaps, strict=True)]
    matrix = weight.reshape(count, channels // count, -1).swapaxes(-1, -2)
    spread = np.matmul(matrix, x.reshape(batch, count, channels // count, -1))
    spread = spread.reshape(batch, -1, *kernel, *places)
    full = [(place - 1) * step + span for place, step, span in zip(places, steps, spans, strict=True)]
    wanted = _wanted(full, places, steps, pad_type, pad, output_shape)
    canvas = np.zeros((batch, spread.shape[1], *map(max, full, (end for _, end in wanted))), np.float32)
    for tap, met in taps(kernel, places, steps, gaps):
        canvas[met] += spread[tap]
    kept: tuple[Any, ...] = (..., *(slice(start, end) for start, end in wanted))
    result = canvas[kept]
    return result if bias is None else result + channelwise(bias, x.ndim)


def _wanted(
    full: Sequence[int],
    places: Sequence[int],
    strides: Sequence[int],
    pad_type: str,
    pad: Any,
    output_shape: Any,
) -> list[tuple[int, int]]:
    """Return from where to where the full result is kept: padding of a transposed convolution cuts it."""
    if pad_type in {"same", "same_lower"}:
        sizes = [place * stride for place, stride in zip(places, strides, strict=True)]
        starts = [max(0, whole - size) // 2 for whole, size in zip(full, sizes, strict=True)]
    else:
        cuts = margins(pad_type, pad, places, places, strides)
        starts = [before for before, _ in cuts]
        sizes = [whole - before - after for whole, (before, after) in zip(full, cuts, strict=True)]
    if output_shape is not None:
        sizes = ints(output_shape)[2:]
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]
