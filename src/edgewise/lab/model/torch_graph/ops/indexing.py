"""Elements by their positions: Gather and Scatter in their forms, OneHot, Trilu, NonZero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgewise.lab.model.torch_graph.host import Number, as_tensor
from edgewise.lab.model.torch_graph.registry import Found, Site, module, operator

__all__: list[str] = []

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Gather", mixed=True)
def gather(data: Any, indices: Any, *, axis: int = 0) -> Any:
    """Return the slices of data at the indices along the axis; negative ones count from the end."""
    if isinstance(data, tuple) and not isinstance(indices, Tensor):
        return tuple(data[i] for i in indices) if isinstance(indices, tuple) else data[indices]
    data = as_tensor(data, anchor=indices if isinstance(indices, Tensor) else None)
    if not isinstance(indices, Tensor | tuple):
        return torch.select(data, axis, indices)
    positions = as_tensor(indices, like=None).to(data.device)
    along = axis % data.dim()
    positions = torch.where(positions < 0, positions + data.shape[along], positions)
    found = torch.index_select(data, along, positions.reshape(-1))
    return found.reshape(*data.shape[:along], *positions.shape, *data.shape[along + 1 :])


@module("Gather")
def embedding(site: Site) -> Found | None:
    """Rows of a learned table: nn.Embedding."""
    table = site.constant(0)
    fits = table is not None and table.dim() == 2 and table.is_floating_point()
    if not fits or site.attributes.get("axis", 0) != 0 or site.rank(1) == 0:
        return None
    made = torch.nn.Embedding(*table.shape, _weight=table)
    made.weight = site.parameter(0)
    return Found(made, operands=(1,), named=0)


@operator("GatherElements")
def gather_elements(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Return one element of data for each index, along the axis."""
    return torch.gather(data, axis, _positive(indices, data.shape[axis]))


@operator("GatherND")
def gather_nd(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Return the slices of data at the index tuples in the last axis of indices."""
    lead = tuple(
        torch.arange(indices.shape[axis], device=data.device).reshape(
            [-1 if other == axis else 1 for other in range(indices.dim() - 1)]
        )
        for axis in range(batch_dims)
    )
    return data[(*lead, *torch.unbind(indices, -1))]


@operator("ScatterElements", "Scatter")
def scatter_elements(
    data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """Return data with the updates put at the indices along the axis."""
    positions = _positive(indices, data.shape[axis])
    if reduction == "none":
        return torch.scatter(data, axis, positions, updates)
    return torch.scatter_reduce(data, axis, positions, updates, _REDUCTIONS[reduction])


@operator("ScatterND")
def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """Return data with the updates put at the index tuples in the last axis of indices."""
    where = tuple(torch.unbind(indices, -1))
    if reduction in ("none", "add"):
        return torch.index_put(data, where, updates, accumulate=reduction == "add")
    current = data[where]
    combine = {"mul": torch.mul, "max": torch.maximum, "min": torch.minimum}[reduction]
    return torch.index_put(data, where, combine(current, updates))


@operator("OneHot", host=("depth", "values"))
def one_hot(indices: Tensor, depth: Any, values: tuple[Number, Number], *, axis: int = -1) -> Tensor:
    """Return values[1] at the index along a new axis, values[0] elsewhere."""
    classes = depth[0] if isinstance(depth, tuple) else depth
    off, on = values
    positions = _positive(indices, classes).unsqueeze(axis)
    shape = [1] * positions.dim()
    shape[axis] = -1
    hit = positions == torch.arange(classes, device=indices.device).reshape(shape)
    return torch.where(hit, as_tensor(on), as_tensor(off))


@operator("Trilu", host=("k",))
def trilu(x: Tensor, k: Any = 0, *, upper: int = 1) -> Tensor:
    """Return the upper or lower triangle of the matrices in x, zeros elsewhere."""
    diagonal = k[0] if isinstance(k, tuple) else k
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


@operator("NonZero")
def nonzero(x: Tensor) -> Tensor:
    """Return the positions of what isn't zero, one column each. The number of them is known at run time only."""
    return torch.nonzero(x).transpose(0, 1)


def _positive(indices: Tensor, length: Number) -> Tensor:
    return torch.where(indices < 0, indices + length, indices)
