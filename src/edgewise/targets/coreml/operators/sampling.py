"""Sampling of pictures at given points: `resample`, `affine` and `crop_resize`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.resizing import grid

Array = NDArray[Any]


@operator("resample")
def _resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Any:
    """`coordinates` (batch, height, width, 2) holds x before y."""
    height, width = x.shape[2:]
    points = coordinates.astype(np.float32)
    across = _pixels(points[..., 0], width, coordinates_mode, align=bool(align_corners))
    down = _pixels(points[..., 1], height, coordinates_mode, align=bool(align_corners))
    across, down = _folded(across, width, padding_mode), _folded(down, height, padding_mode)
    if sampling_mode == "nearest":
        across, down = np.rint(across), np.rint(down)
    return np.stack(
        [
            _sampled(image, rows, columns, padding_value)
            for image, rows, columns in zip(x, down, across, strict=True)
        ]
    )


def _pixels(points: Array, size: int, mode: str, *, align: bool) -> Array:
    """Return coordinates in pixels: 0 is the middle of the first one."""
    if mode == "unnormalized":
        return points
    share = (points + 1) / 2 if mode == "normalized_minus_one_to_one" else points
    return np.asarray(share * (size - 1) if align else share * size - 0.5)


def _folded(points: Array, size: int, padding_mode: str) -> Any:
    """Bring points outside the picture back into it, unless they meet a constant there."""
    match padding_mode:
        case "constant":
            return points
        case "border":
            return np.clip(points, 0, size - 1)
        case "reflection":
            period = max(1, 2 * (size - 1))
            inside = np.mod(points, period)
            return np.minimum(inside, period - inside) if size > 1 else np.zeros_like(points)
        case "symmetric":
            inside = np.mod(points + 0.5, 2 * size)
            return np.clip(np.minimum(inside, 2 * size - inside) - 0.5, 0, size - 1)
    raise NotImplementedError(f"padding_mode {padding_mode!r} is not known")


def _sampled(image: Array, rows: Array, columns: Array, outside: Any) -> Array:
    """Interpolate (channels, …) at `rows` and `columns`; each neighbour beyond the edge counts as `outside`."""
    top, left = np.floor(rows), np.floor(columns)
    below, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    result = np.zeros((image.shape[0], *rows.shape), np.float32)
    for down, row_share in ((0, 1 - below), (1, below)):
        for across, column_share in ((0, 1 - right), (1, right)):
            result += _looked_up(image, top + down, left + across, outside) * (row_share * column_share)
    return result


def _looked_up(image: Array, rows: Array, columns: Array, outside: Any) -> Array:
    height, width = image.shape[1:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    at = np.where(inside, rows, 0).astype(np.intp), np.where(inside, columns, 0).astype(np.intp)
    return np.where(inside, image[:, at[0], at[1]], np.float32(outside))


@operator("affine")
def _affine(
    x: Array,
    transform_matrix: Array,
    output_height: Any,
    output_width: Any,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Any:
    """Core ML knows one kind: bilinear, constant padding, corners at −1 and 1 in the middle of their pixels."""
    height, width = int(output_height), int(output_width)
    down, across = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    places = np.stack([across, down, np.ones_like(down)], axis=-1)
    matrices = np.broadcast_to(transform_matrix, (x.shape[0], 6)).reshape(-1, 2, 3)
    points = np.einsum("hwk,bjk->bhwj", places, matrices)
    return _resample(
        x, points, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners=align_corners
    )


@operator("crop_resize")
def _crop_resize(
    x: Array,
    roi: Array | None = None,
    boxes: Array | None = None,
    box_indices: Any = None,
    target_height: Any = 1,
    target_width: Any = 1,
    normalized_coordinates: Any = False,
    spatial_scale: Any = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Any = 0.0,
) -> Any:
    """Up to iOS 16 `roi` (N, 1, 4 or 5, 1, 1) holds boxes, for all pictures or with the index of one in front.

    Since iOS 17 they are `boxes` (N, 4) with `box_indices` (N), and the result has no axis of pictures.
    """
    if sampling_mode not in {"ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"}:
        raise NotImplementedError(f"where {sampling_mode!r} samples a box is not documented")
    size = int(target_height), int(target_width)
    scale = np.multiply(spatial_scale, [x.shape[2] - 1, x.shape[3] - 1] if normalized_coordinates else [1, 1])

    def crop(picture: Any, box: Array) -> Array:
        corners = _corners(box, box_coordinate_mode) * np.tile(scale, 2)
        down, across = (
            grid(corners[i], corners[i + 2] - corners[i] + 1, size[i], sampling_mode) for i in range(2)
        )
        rows, columns = np.meshgrid(_within(down, x.shape[2]), _within(across, x.shape[3]), indexing="ij")
        result = _sampled(x[int(picture)], rows, columns, 0)
        return np.where((rows < 0) | (columns < 0), np.float32(pad_value), result)

    if boxes is not None:
        pictures = range(len(boxes)) if box_indices is None else box_indices
        return np.stack([crop(picture, box) for picture, box in zip(pictures, boxes, strict=True)])
    rows = np.asarray(roi, np.float64).reshape(len(np.asarray(roi)), -1)
    if rows.shape[1] == 5:
        return np.stack([crop(row[0], row[1:])[np.newaxis] for row in rows])
    return np.stack([np.stack([crop(picture, row) for picture in range(len(x))]) for row in rows])


def _within(points: Array, size: int) -> Array:
    """Mark points beyond the picture with −1; those that miss its edge by a rounding error are on it."""
    snapped = np.where(np.abs(points - np.rint(points)) < 1e-5, np.rint(points), points)
    return np.where((snapped < 0) | (snapped > size - 1), -1.0, snapped)


def _corners(box: Array, mode: str) -> Array:
    """Return the box as top, left, bottom, right."""
    first, second, third, fourth = (float(value) for value in box)
    if mode.endswith("WIDTH_FIRST"):
        first, second, third, fourth = second, first, fourth, third
    if mode.startswith("CENTER_SIZE"):
        first, second, third, fourth = (
            first - third / 2,
            second - fourth / 2,
            first + third / 2,
            second + fourth / 2,
        )
    return np.array([first, second, third, fourth])
