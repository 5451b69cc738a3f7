"""Resize: torch's own interpolation where it means the same, else by computed positions along each axis.

Source of the coordinate modes: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor

from edgewise.lab.model.torch_graph.host import Number
from edgewise.lab.model.torch_graph.registry import operator

__all__: list[str] = []

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize", host=("roi", "scales", "sizes"))
def resize(
    x: Tensor,
    roi: Any = None,
    scales: tuple[Number, ...] | None = None,
    sizes: tuple[Number, ...] | None = None,
    *,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Return x enlarged or reduced by the scales, or to the sizes."""
    every = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes]
    given = dict(zip(every, sizes or scales or (), strict=True))
    target = {axis: value if sizes else _scaled(x.shape[axis], value) for axis, value in given.items()}
    factors = {axis: target[axis] / x.shape[axis] if sizes else value for axis, value in given.items()}
    changed = [axis for axis in every if not (isinstance(factors[axis], float) and factors[axis] == 1.0)]
    if mode == "cubic" and cubic_coeff_a != -0.75:
        raise NotImplementedError(f"cubic_coeff_a={cubic_coeff_a} is not torch's −0.75")
    if known := _known(x, mode, coordinate_transformation_mode, nearest_mode, changed):
        kind, corners = known
        lengths = [target.get(axis, x.shape[axis]) for axis in range(2, x.dim())]
        return F.interpolate(x, size=lengths, mode=kind, align_corners=corners)
    for axis in changed:
        place = _positions(x.shape[axis], target[axis], factors[axis], coordinate_transformation_mode)
        x = _sampled(x, axis, place, mode, nearest_mode)
    return x


def _scaled(length: Number, factor: float) -> Number:
    """Return ⌊length · factor⌋, without a detour over floats where the factor is whole."""
    return length * int(factor) if float(factor).is_integer() else torch.sym_int(math.floor(length * factor))


def _known(
    x: Tensor, mode: str, coordinates: str, nearest: str, changed: list[int]
) -> tuple[str, bool | None] | None:
    """Return torch's mode and align_corners where torch's interpolation is the same function."""
    if x.dim() not in _LINEAR or any(axis < 2 for axis in changed):
        return None
    if mode == "nearest":
        return ("nearest", None) if (coordinates, nearest) == ("asymmetric", "floor") else None
    corners = {"half_pixel": False, "pytorch_half_pixel": False, "align_corners": True}.get(coordinates)
    if corners is None or (mode == "cubic" and x.dim() != 4):
        return None
    return ("bicubic" if mode == "cubic" else _LINEAR[x.dim()]), corners


def _positions(old: Number, new: Number, factor: Number, coordinates: str) -> Tensor:
    """Return where each new element lies among the old ones."""
    index = torch.arange(new, dtype=torch.float32)
    if coordinates == "asymmetric":
        return index / factor
    if coordinates == "align_corners":
        return index * ((old - 1) / torch.sym_max(new - 1, 1))
    if coordinates in ("half_pixel", "pytorch_half_pixel"):
        return (index + 0.5) / factor - 0.5
    raise NotImplementedError(f"coordinate_transformation_mode {coordinates!r} is not supported")


def _sampled(x: Tensor, axis: int, place: Tensor, mode: str, nearest: str) -> Tensor:
    last = x.shape[axis] - 1
    place = place.to(x.device)
    if mode == "nearest":
        return x.index_select(axis, _rounded(place, nearest).to(torch.int64).clamp(0, last))
    if mode != "linear":
        raise NotImplementedError(f"mode {mode!r} with these coordinates has no counterpart in torch")
    place = place.clamp(0, last)
    below = place.floor()
    share = (place - below).to(x.dtype).reshape([-1 if a == axis else 1 for a in range(x.dim())])
    lower = x.index_select(axis, below.to(torch.int64))
    upper = x.index_select(axis, (below + 1).to(torch.int64).clamp(0, last))
    return torch.lerp(lower, upper, share)


def _rounded(place: Tensor, nearest: str) -> Tensor:
    if nearest == "floor":
        return place.floor()
    if nearest == "ceil":
        return place.ceil()
    return (place - 0.5).ceil() if nearest == "round_prefer_floor" else (place + 0.5).floor()
