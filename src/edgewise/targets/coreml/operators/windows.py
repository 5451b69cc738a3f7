"""What convolutions and pools share: MIL's padding rules, and the input as each tap of the kernel sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ints", "margins", "padded", "positions", "taps"]

Array = NDArray[Any]
Pairs = Sequence[tuple[int, int]]


def ints(values: Any) -> list[int]:
    """Return numbers, whatever holds them, as a list of ints."""
    return [int(value) for value in np.asarray(values).ravel()]


def margins(
    pad_type: str, pad: Any, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """Return the padding before and after each spatial axis.

    `sizes` is the input's, `spans` the kernel's with its dilation. "same" gives ⌈size / stride⌉ positions and puts
    the odd element after, "same_lower" before.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        numbers = ints(pad)
        return list(zip(numbers[::2], numbers[1::2], strict=True))
    total = [
        max(0, (-(-size // stride) - 1) * stride + span - size)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    smaller = [(each // 2, each - each // 2) for each in total]
    return [(after, before) for before, after in smaller] if pad_type == "same_lower" else smaller


def padded(x: Array, pads: Pairs, value: float = 0) -> Array:
    """Return `x` with its last axes padded; negative padding is not MIL's."""
    if not any(map(any, pads)):
        return x
    lead = x.ndim - len(pads)
    shape = x.shape[:lead] + tuple(
        before + size + after for (before, after), size in zip(pads, x.shape[lead:], strict=True)
    )
    result = np.full(shape, value, x.dtype)
    inner = [slice(before, before + size) for (before, _), size in zip(pads, x.shape[lead:], strict=True)]
    index: tuple[Any, ...] = (..., *inner)
    result[index] = x
    return result


def positions(sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return how many places a kernel has on each (padded) axis."""
    return [(size - span) // stride + 1 for size, span, stride in zip(sizes, spans, strides, strict=True)]


def taps(
    kernel: Sequence[int], places: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield the index of each element of the kernel, and of what it meets at all places at once.

    Both leave the first two axes (batch and channels, or outputs and inputs) whole.
    """
    for tap in itertools.product(*map(range, kernel)):
        met = (
            slice(at * dilation, at * dilation + stride * (count - 1) + 1, stride)
            for at, count, stride, dilation in zip(tap, places, strides, dilations, strict=True)
        )
        yield (slice(None), slice(None), *tap), (..., *met)
