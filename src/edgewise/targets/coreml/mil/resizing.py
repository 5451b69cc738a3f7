"""Resizing images: natively where MIL samples at the same places as ONNX, else by gathering or a matrix per axis.

Along one axis of known sizes, every interpolation is a product with a constant matrix, so that any mode of ONNX
can be told exactly. Where the sizes depend on the inputs, nearest neighbours are computed in integers.
Source of the coordinates: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Size, Var, extent, known, mb, scalar, sizes, vector

__all__: list[str] = []

_SAMPLING = {
    "half_pixel": "UNALIGN_CORNERS",
    "pytorch_half_pixel": "UNALIGN_CORNERS",
    "align_corners": "STRICT_ALIGN_CORNERS",
    "asymmetric": "DEFAULT",
}
_COORDINATES_IN_NODE = 11
"""From this version on the node says how coordinates are counted; before, they were asymmetric, rounded down."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """How values between pixels are found."""

    kind: str
    coordinates: str
    nearest: str
    cubic: float
    excludes: bool


def _mode(node: Node) -> _Mode:
    old = node.opset < _COORDINATES_IN_NODE or node.kind == "Upsample"
    if node.get("antialias", 0) or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("smooths or keeps the aspect ratio (antialias, keep_aspect_ratio_policy)")
    mode = _Mode(
        kind={"bilinear": "linear"}.get(node.get("mode", "nearest"), node.get("mode", "nearest")),
        coordinates="asymmetric" if old else node.get("coordinate_transformation_mode", "half_pixel"),
        nearest="floor" if old else node.get("nearest_mode", "round_prefer_floor"),
        cubic=float(node.get("cubic_coeff_a", -0.75)),
        excludes=bool(node.get("exclude_outside", 0)),
    )
    if mode.coordinates not in (*_SAMPLING, "half_pixel_symmetric"):
        raise UnsupportedError(f"counts coordinates as {mode.coordinates!r}")
    return mode


@operator("Resize", "Upsample")
def resize(node: Node) -> Var:
    """Resize along any axes."""
    x, mode = node[0], _mode(node)
    axes = [axis % x.rank for axis in node.get("axes", range(x.rank))]
    scales = _scales(node)
    if scales is not None:
        found = _by_scales(x, mode, dict(zip(axes, scales, strict=True)))
    else:
        found = _to_sizes(x, mode, dict(zip(axes, _wanted(node), strict=True)))
    return found


def _scales(node: Node) -> list[float] | None:
    """Return the factors, where factors are given rather than sizes."""
    if "scales" in node.attributes:
        return [float(factor) for factor in node.attributes["scales"]]
    position = 1 if node.kind == "Upsample" or node.opset < _COORDINATES_IN_NODE else 2
    value = node.input(position)
    if value is None or sizes(value)[0] == 0:
        return None
    found = node.fixed(position, "scales")
    return [float(factor) for factor in found.reshape(-1)]


def _wanted(node: Node) -> list[Size]:
    found, value = known(node.input(3)), node[3]
    if found is not None:
        return [int(size) for size in found.reshape(-1)]
    return [mb.slice_by_index(x=value, begin=[i], end=[i + 1]) for i in range(sizes(value)[0] or 0)]


def _by_scales(x: Var, mode: _Mode, scales: dict[int, float]) -> Var:
    scales = {axis: factor for axis, factor in scales.items() if factor != 1.0}
    if all(factor.is_integer() and factor > 0 for factor in scales.values()):
        found = _upsampled(x, mode, {axis: int(factor) for axis, factor in scales.items()})
        if found is not None:
            return found
    plan = {}
    for axis, factor in scales.items():
        size = sizes(x)[axis]
        if size is None:
            raise UnsupportedError(
                "scales a dimension that depends on the inputs by a fraction, or in a mode MIL lacks"
            )
        plan[axis] = (size, int(np.floor(size * factor)), factor)
    return _planned(x, mode, plan)


def _upsampled(x: Var, mode: _Mode, factors: dict[int, int]) -> Var | None:
    """Return an image enlarged by whole factors in MIL's own way, None where it has none."""
    height, width = factors.get(x.rank - 2, 1), factors.get(x.rank - 1, 1)
    if x.rank < 3 or set(factors) - {x.rank - 2, x.rank - 1}:
        return None
    blocks = (mode.coordinates == "asymmetric" and mode.nearest == "floor") or (
        mode.coordinates in ("half_pixel", "pytorch_half_pixel") and mode.nearest.startswith("round")
    )
    if mode.kind == "nearest" and blocks:
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=height, scale_factor_width=width)
    if mode.kind == "linear" and mode.coordinates in _SAMPLING and not mode.excludes:
        aligned = mode.coordinates == "align_corners"
        return mb.upsample_bilinear(
            x=x,
            scale_factor_height=height,
            scale_factor_width=width,
            align_corners=aligned,
            half_pixel_centers="half_pixel" in mode.coordinates,
        )
    return None


def _to_sizes(x: Var, mode: _Mode, wanted: dict[int, Size]) -> Var:
    have = sizes(x)
    plan = {axis: (have[axis], size) for axis, size in wanted.items() if size is not have[axis]}
    fixed = {
        axis: (old, new, new / old)
        for axis, (old, new) in plan.items()
        if isinstance(old, int) and isinstance(new, int) and old != new
    }
    moving = {axis: new for axis, (_, new) in plan.items() if axis not in fixed and not _same(x, axis, new)}
    if not moving:
        return _planned(x, mode, fixed)
    if (
        mode.kind == "linear"
        and set(plan) - {x.rank - 2, x.rank - 1} == set()
        and mode.coordinates in _SAMPLING
    ):
        shape = vector([wanted.get(axis, extent(x, axis)) for axis in (x.rank - 2, x.rank - 1)])
        return mb.resize(
            x=x,
            shape=shape,
            resized_dims=np.uint32(2),
            interpolation_mode="LINEAR",
            sampling_mode=_SAMPLING[mode.coordinates],
        )
    if mode.kind != "nearest":
        raise UnsupportedError(f"resizes ({mode.kind}) to a size that depends on the model's inputs")
    x = _planned(x, mode, fixed)
    for axis, size in moving.items():
        x = mb.gather(x=x, indices=_neighbours(mode, extent(x, axis), size), axis=axis)
    return x


def _same(x: Var, axis: int, new: Size) -> bool:
    """Tell whether a size is, for certain, the one that is there."""
    if isinstance(new, int):
        return sizes(x)[axis] == new
    symbols = new.sym_val
    return symbols is not None and str(np.asarray(symbols).reshape(-1)[0]) == str(x.shape[axis])


def _neighbours(mode: _Mode, old: Size, new: Size) -> Var:
    """Return the places of nearest neighbours, in integers: exact for any size, in half precision too."""
    limit = mb.const(val=np.int32(new)) if isinstance(new, int) else scalar(new)
    places = mb.range_1d(start=0, end=limit, step=1)
    if (mode.coordinates, mode.nearest) == ("asymmetric", "floor"):
        return mb.floor_div(x=mb.mul(x=places, y=old), y=new)
    if mode.coordinates in ("half_pixel", "pytorch_half_pixel") and mode.nearest == "round_prefer_floor":
        odd = mb.add(x=mb.mul(x=places, y=2), y=1)
        double = mb.mul(x=limit, y=2)
        above = mb.add(x=mb.mul(x=odd, y=old), y=mb.sub(x=double, y=1))
        return mb.sub(x=mb.floor_div(x=above, y=double), y=1)
    raise UnsupportedError(
        f"finds neighbours by {mode.coordinates} and {mode.nearest} at a size that depends on inputs"
    )


def _planned(x: Var, mode: _Mode, plan: dict[int, tuple[int, int, float]]) -> Var:
    """Resize along axes of known sizes: axis → (old, new, factor)."""
    images = {x.rank - 2, x.rank - 1}
    exact = all(new == old * factor and new > 1 for old, new, factor in plan.values())
    if (
        mode.kind == "linear"
        and mode.coordinates in _SAMPLING
        and set(plan) <= images
        and x.rank > 2
        and exact
    ):
        target = [plan[axis][1] if axis in plan else sizes(x)[axis] for axis in sorted(images)]
        if None not in target and not mode.excludes:
            return mb.resize_bilinear(
                x=x,
                target_size_height=target[0],
                target_size_width=target[1],
                sampling_mode=_SAMPLING[mode.coordinates],
            )
    for axis, (old, new, factor) in plan.items():
        weights = _weights(mode, old, new, factor)
        if mode.kind == "nearest":
            x = mb.gather(x=x, indices=weights.argmax(axis=1).astype(np.int32), axis=axis)
        else:
            x = _product(x, weights, axis)
    return x


def _product(x: Var, weights: NDArray[np.float32], axis: int) -> Var:
    """Return the tensor with one axis multiplied by a matrix [new, old]."""
    if axis == x.rank - 1:
        return mb.matmul(x=x, y=weights, transpose_y=True)
    perm = [i for i in range(x.rank) if i != axis] + [axis]
    turned = mb.matmul(x=mb.transpose(x=x, perm=perm), y=weights, transpose_y=True)
    return mb.transpose(x=turned, perm=[perm.index(i) for i in range(x.rank)])


def _weights(mode: _Mode, old: int, new: int, factor: float) -> NDArray[np.float32]:
    """Return what each old pixel contributes to each new one."""
    places = _coordinates(mode.coordinates, old, new, factor)
    matrix = np.zeros((new, old), np.float64)
    if mode.kind == "nearest":
        near = {
            "round_prefer_floor": np.ceil(places - 0.5),
            "round_prefer_ceil": np.floor(places + 0.5),
            "floor": np.floor(places),
            "ceil": np.ceil(places),
        }[mode.nearest]
        matrix[np.arange(new), np.clip(near, 0, old - 1).astype(int)] = 1.0
        return matrix.astype(np.float32)
    below = np.floor(places).astype(int)
    for tap in range(-1, 3) if mode.kind == "cubic" else range(2):
        distance = np.abs(places - (below + tap))
        share = _cubic(distance, mode.cubic) if mode.kind == "cubic" else np.maximum(1 - distance, 0)
        outside = (below + tap < 0) | (below + tap >= old)
        share = np.where(outside & mode.excludes, 0.0, share)
        np.add.at(matrix, (np.arange(new), np.clip(below + tap, 0, old - 1)), share)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def _coordinates(kind: str, old: int, new: int, exact: float) -> NDArray[np.float32]:
    """Return the place in the old image of each pixel of the new one, in float32 like ONNX Runtime.

    On the border between two neighbours the rounding decides.
    """
    places, factor = np.arange(new, dtype=np.float32), np.float32(exact)
    match kind:
        case "asymmetric":
            return places / factor
        case "align_corners":
            return places * np.float32(old - 1) / np.float32(max(new - 1, 1))
        case "pytorch_half_pixel" if new == 1:
            return places
        case "half_pixel_symmetric":
            shift = np.float32(old / 2 * (1 - new / (exact * old)))
            return shift + (places + np.float32(0.5)) / factor - np.float32(0.5)
        case _:
            return (places + np.float32(0.5)) / factor - np.float32(0.5)


def _cubic(distance: NDArray[np.floating[Any]], a: float) -> NDArray[np.floating[Any]]:
    """Return Keys' cubic kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1.0
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


@operator("GridSample")
def sample(node: Node) -> Var:
    """Sample an image at given places."""
    kinds = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}
    paddings = {"zeros": "constant", "border": "border", "reflection": "reflection"}
    kind, padding = node.get("mode", "bilinear"), node.get("padding_mode", "zeros")
    if kind not in kinds or node[0].rank != 4:
        raise UnsupportedError(
            f"samples {node[0].rank - 2} axes by {kind!r}; MIL has two, by bilinear or nearest"
        )
    aligned = bool(node.get("align_corners", 0))
    return mb.resample(
        x=node[0],
        coordinates=node[1],
        sampling_mode=kinds[kind],
        # Without aligned corners ONNX reflects at the pixels' outer edges, which is what MIL calls symmetric.
        padding_mode="symmetric" if padding == "reflection" and not aligned else paddings[padding],
        padding_value=np.float32(0),
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=aligned,
    )
