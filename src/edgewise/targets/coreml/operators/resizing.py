"""Resizing of the last two axes (or more), nearest or linear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

__all__ = ["grid"]

Array = NDArray[Any]


def grid(start: float, length: float, count: int, mode: str) -> Array:
    """Return where `count` samples lie on an axis that starts at `start` and is `length` pixels long.

    The modes and their formulas are `resize_bilinear`'s; they differ in where the first and last sample lie.
    """
    steps = np.arange(count, dtype=np.float64)
    if mode == "ALIGN_CORNERS" and count == 1:
        return np.array([start + (length - 1) / 2])
    match mode:
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS":
            offset, spacing = 0.0, (length - 1) / max(1, count - 1)
        case "DEFAULT":
            offset, spacing = 0.0, length / count
        case "OFFSET_CORNERS":
            spacing = max(1, length - 1) / count
            offset = spacing / 2
        case "UNALIGN_CORNERS":
            spacing = length / count
            offset = spacing / 2 - 0.5
        case _:
            raise NotImplementedError(f"sampling_mode {mode!r} is not known")
    return np.asarray(start + offset + steps * spacing)


def _linear(x: Array, axis: int, count: int, mode: str) -> Array:
    size = x.shape[axis]
    points = np.clip(grid(0, size, count, mode), 0, size - 1)
    low = np.floor(points).astype(np.intp)
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    share = (points - low).astype(np.float32).reshape(shape)
    before, after = np.take(x, low, axis), np.take(x, np.minimum(low + 1, size - 1), axis)
    return np.asarray(before + (after - before) * share)


def _pick(x: Array, axis: int, count: int, *, centred: bool) -> Array:
    """Take the pixel at ⌊i × size / count⌋, or, `centred`, the one under the middle of the new pixel."""
    size = x.shape[axis]
    numerators = (2 * np.arange(count) + centred) * size
    return np.asarray(np.take(x, numerators // (2 * count), axis))


@operator("upsample_nearest_neighbor", moves=True)
def _upsample_nearest(x: Array, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Any:
    tall, wide = int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)
    return _pick(_pick(x, -2, tall, centred=False), -1, wide, centred=False)


@operator("resize_nearest_neighbor", moves=True)
def _resize_nearest(x: Array, target_size_height: Any, target_size_width: Any) -> Any:
    return _pick(
        _pick(x, -2, int(target_size_height), centred=True), -1, int(target_size_width), centred=True
    )


@operator("upsample_bilinear")
def _upsample_bilinear(
    x: Array,
    scale_factor_height: Any = 1,
    scale_factor_width: Any = 1,
    align_corners: Any = True,
    half_pixel_centers: Any = None,
) -> Any:
    centred = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centred else "DEFAULT"
    tall, wide = int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)
    return _linear(_linear(x, -2, tall, mode), -1, wide, mode)


@operator("resize_bilinear")
def _resize_bilinear(
    x: Array, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> Any:
    tall = _linear(x, -2, int(target_size_height), sampling_mode)
    return _linear(tall, -1, int(target_size_width), sampling_mode)


@operator("resize")
def _resize(
    x: Array,
    shape: Any,
    resized_dims: Any,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Any:
    """Resize the last axes to the last of `shape`; a 0 keeps the axis as it is."""
    nearest = interpolation_mode == "NEAREST_NEIGHBOR"
    if nearest and sampling_mode not in {"DEFAULT", "UNALIGN_CORNERS"}:
        raise NotImplementedError(
            f"which pixel is nearest with sampling_mode {sampling_mode!r} is not documented"
        )
    count = int(resized_dims)
    for axis, size in zip(range(-count, 0), ints(shape)[-count:], strict=True):
        if size:
            x = _pick(x, axis, size, centred=True) if nearest else _linear(x, axis, size, sampling_mode)
    return x


@operator("crop", moves=True)
def _crop(x: Array, crop_height: Any, crop_width: Any) -> Any:
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
