"""Values at given places: gathering, scattering, sorting out the largest, and one-hot."""

from __future__ import annotations

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.slicing import part
from edgewise.targets.coreml.mil.values import (
    Var,
    axis_of,
    cast,
    constant,
    extent,
    is_bool,
    known,
    like,
    mb,
    nonnegative,
    scalar,
    sizes,
    squeeze,
    vector,
)

__all__: list[str] = []

_REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


@operator("Gather")
def gather(node: Node) -> Var:
    """Take slices along an axis. What is not constant of the indices coremltools keeps from being negative."""
    axis = axis_of(node.get("axis", 0), node[0].rank)
    indices = node[1] if known(node[1]) is None else nonnegative(node[1], extent(node[0], axis))
    return like(mb.gather(x=_numbers(node[0]), indices=indices, axis=axis), node[0])


@operator("GatherElements")
def gather_elements(node: Node) -> Var:
    """Take one element per index along an axis; in MIL the other axes have to be as long as those of the indices."""
    x, axis = node[0], axis_of(node.get("axis", 0), node[0].rank)
    indices = nonnegative(node[1], extent(x, axis))
    for other in range(x.rank):
        if other != axis and x.shape[other] != indices.shape[other]:
            x = part(x, other, 0, extent(indices, other))
    return like(mb.gather_along_axis(x=_numbers(x), indices=indices, axis=axis), x)


@operator("GatherND")
def gather_nd(node: Node) -> Var:
    """Take slices at positions along the first axes."""
    x, batch = node[0], int(node.get("batch_dims", 0))
    indices = node[1] if known(node[1]) is None else _positions(x, node[1], batch)
    return like(mb.gather_nd(x=_numbers(x), indices=indices, batch_dims=batch), x)


def _numbers(x: Var) -> Var:
    """Return bools as integers: MIL gathers and scatters numbers only."""
    return cast(x, "int32") if is_bool(x) else x


def _positions(x: Var, indices: Var, batch: int = 0) -> Var:
    """Return rows of positions counted from the front."""
    width = sizes(indices)[-1]
    if width is None:
        raise UnsupportedError("takes positions along a changing number of axes")
    limits = vector([extent(x, batch + axis) for axis in range(width)])
    found = known(indices)
    if found is not None and (found >= 0).all():
        return indices
    if found is not None and isinstance(limits, np.ndarray):
        return constant(np.where(found < 0, found + limits, found))
    return mb.select(cond=mb.less(x=indices, y=0), a=mb.add(x=indices, y=limits), b=indices)


def _reduction(node: Node) -> str:
    return _REDUCTIONS[node.get("reduction", "none")]


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> Var:
    """Put one element per index along an axis; where they are fewer along another one, element by element."""
    x, axis = node[0], axis_of(node.get("axis", 0), node[0].rank)
    indices = nonnegative(node[1], extent(x, axis))
    others = [other for other in range(x.rank) if other != axis and x.shape[other] != indices.shape[other]]
    if others:
        positions = _every_position(indices, axis)
        answer = mb.scatter_nd(
            data=_numbers(x), indices=positions, updates=_numbers(node[2]), mode=_reduction(node)
        )
    else:
        answer = mb.scatter_along_axis(
            data=_numbers(x), indices=indices, updates=_numbers(node[2]), axis=axis, mode=_reduction(node)
        )
    return like(answer, x)


def _every_position(indices: Var, axis: int) -> Var:
    """Return the whole position of each element that is put along an axis."""
    found = known(indices)
    if found is None:
        raise UnsupportedError(
            "puts fewer elements than there are, at places that depend on the model's inputs"
        )
    places = np.indices(found.shape)
    places[axis] = found
    return constant(np.moveaxis(places, 0, -1))


@operator("ScatterND")
def scatter_nd(node: Node) -> Var:
    """Put slices at positions along the first axes."""
    answer = mb.scatter_nd(
        data=_numbers(node[0]),
        indices=_positions(node[0], node[1]),
        updates=_numbers(node[2]),
        mode=_reduction(node),
    )
    return like(answer, node[0])


@operator("OneHot")
def one_hot(node: Node) -> Var:
    """Compare each index with all places of a new axis."""
    indices, depth, off_on = node[0], scalar(node[1]), node[2]
    axis = axis_of(node.get("axis", -1), indices.rank + 1)
    indices = nonnegative(cast(indices, "int32"), cast(depth, "int32"))
    places = mb.range_1d(start=0, end=cast(depth, "int32"), step=1)
    if indices.rank - axis:
        places = mb.expand_dims(x=places, axes=list(range(1, indices.rank - axis + 1)))
    hot = mb.equal(x=mb.expand_dims(x=indices, axes=[axis]), y=places)
    if is_bool(off_on):
        raise UnsupportedError("marks places with bools: use numbers")
    # Written as a sum, for the shape of `select` comes from its two choices.
    off, on = (scalar(part(off_on, 0, at, at + 1)) for at in (0, 1))
    return mb.add(x=mb.mul(x=like(hot, off_on), y=mb.sub(x=on, y=off)), y=off)


@operator("NonZero")
def nonzero(node: Node) -> Var:
    """Return the positions of what is not 0, one column each."""
    return mb.transpose(x=mb.non_zero(x=node[0]), perm=[1, 0])


@operator("Compress")
def compress(node: Node) -> Var:
    """Keep the slices whose condition holds."""
    places = squeeze(mb.non_zero(x=node[1]), [1])
    x, axis = node[0], node.get("axis", None)
    if axis is None:
        x, axis = mb.reshape(x=x, shape=[-1]), 0
    return like(mb.gather(x=_numbers(x), indices=places, axis=axis_of(axis, x.rank)), x)


@operator("TopK")
def largest(node: Node) -> tuple[Var, Var]:
    """Return the k largest or smallest along an axis, with their places."""
    count = node.get("k", None)
    k = mb.const(val=np.int32(count)) if count is not None else scalar(node[1])
    values, places = mb.topk(
        x=node[0],
        k=k,
        axis=axis_of(node.get("axis", -1), node[0].rank),
        ascending=not node.get("largest", 1),
        sort=True,
        return_indices=True,
        output_indices_dtype="int32",
    )
    return values, places


@operator("ArgMax", "ArgMin")
def extreme(node: Node) -> Var:
    """Return the place of the largest or smallest, the first or the last of several."""
    find = mb.reduce_argmax if node.kind == "ArgMax" else mb.reduce_argmin
    x, axis, keep = node[0], axis_of(node.get("axis", 0), node[0].rank), bool(node.get("keepdims", 1))
    if not node.get("select_last_index", 0):
        return find(x=x, axis=axis, keep_dims=keep)
    from_behind = find(x=mb.reverse(x=x, axes=[axis]), axis=axis, keep_dims=keep)
    return mb.sub(x=mb.sub(x=extent(x, axis), y=1), y=from_behind)
