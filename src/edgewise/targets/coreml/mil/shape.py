"""Shapes: asking for them, changing them, and making tensors of a given one."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil.types.symbolic import is_symbolic
from numpy.typing import NDArray

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import (
    Size,
    Var,
    axis_of,
    cast,
    constant,
    extent,
    extents,
    is_bool,
    is_float,
    known,
    mb,
    product,
    reshape,
    scalar,
    sizes,
    squeeze,
    vector,
    with_rank,
)

__all__ = ["spread"]


@operator("Shape")
def shape(node: Node) -> Var:
    """Return the sizes of all dimensions, or of some in a row."""
    rank = node[0].rank
    if not rank:
        raise UnsupportedError("asks for the shape of a scalar, which is empty: fold it into a constant")
    start, end, _ = slice(node.get("start", 0), node.get("end", None)).indices(rank)
    found = vector(extents(node[0])[start:end])
    if isinstance(found, np.ndarray):
        return mb.const(val=found)
    whole = mb.shape(x=node[0])
    return whole if (start, end) == (0, rank) else mb.slice_by_index(x=whole, begin=[start], end=[end])


@operator("Size")
def size(node: Node) -> Var:
    """Return the number of elements."""
    count = product(extents(node[0]))
    return mb.const(val=np.int32(count)) if isinstance(count, int) else scalar(count)


@operator("Reshape")
def change(node: Node) -> Var:
    """Change the shape; 0 stands for the size that is there, unless `allowzero` says that it does not."""
    x = node[0]
    wanted = np.asarray(node.get("shape", known(node.input(1))))  # an attribute up to version 4
    if wanted.dtype != object:
        keeps = not node.get("allowzero", 0)
        return reshape(
            x, [extent(x, at) if part == 0 and keeps else int(part) for at, part in enumerate(wanted)]
        )
    return mb.reshape(x=x if x.rank else mb.expand_dims(x=x, axes=[0]), shape=_filled(x, node[1]))


def _filled(x: Var, wanted: Var) -> Var:
    """Return a shape with its zeros replaced, where it is known to hold any."""
    parts = wanted.sym_val
    if parts is None or not any(not is_symbolic(part) and part == 0 for part in parts):
        return wanted
    return vector(
        [
            _entry(wanted, at) if is_symbolic(part) else extent(x, at) if part == 0 else int(part)
            for at, part in enumerate(parts)
        ]
    )


def _entry(values: Var, at: int) -> Var:
    return mb.slice_by_index(x=values, begin=[at], end=[at + 1])


@operator("Flatten")
def flatten(node: Node) -> Var:
    """Make a matrix of a tensor, split at `axis`."""
    x = node[0]
    axis = axis_of(node.get("axis", 1), x.rank)
    rows = product(extents(x)[:axis])
    columns = product(extents(x)[axis:])
    return reshape(x, [-1, columns] if isinstance(columns, int) else [rows, -1])


@operator("Squeeze")
def drop(node: Node) -> Var:
    """Drop dimensions of size 1."""
    x, axes = node[0], node.numbers("axes", 1)
    if axes is None:
        axes = [axis for axis, part in enumerate(sizes(x)) if part == 1]
    return squeeze(x, axes)


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Var:
    """Add dimensions of size 1."""
    axes = node.numbers("axes", 1) or []
    rank = node[0].rank + len(axes)
    return mb.expand_dims(x=node[0], axes=sorted(axis_of(axis, rank) for axis in axes))


@operator("Transpose")
def transpose(node: Node) -> Var:
    """Reorder dimensions; the default is to reverse them."""
    perm = node.get("perm", list(range(node[0].rank))[::-1])
    return mb.transpose(x=node[0], perm=list(perm)) if node[0].rank > 1 else node[0]


@operator("Expand")
def expand(node: Node) -> Var:
    """Repeat along dimensions of size 1, as broadcasting to the given shape would."""
    return spread(node[0], node[1])


def spread(x: Var, shape: Var | NDArray[np.int32]) -> Var:
    """Return `x` broadcast to a shape; where both are known by tiling, else by multiplying with ones."""
    wanted = known(shape) if not isinstance(shape, np.ndarray) else shape
    if wanted is not None and (None not in sizes(x) or (wanted == 1).all()):
        x = with_rank(x, wanted.size)
        parts = [1] * (x.rank - wanted.size) + [int(part) for part in wanted]
        reps = [part if size == 1 else 1 for part, size in zip(parts, sizes(x), strict=True)]
        return mb.tile(x=x, reps=reps) if any(count != 1 for count in reps) else x
    if is_bool(x):
        return cast(spread(cast(x, "int32"), shape), "bool")
    ones = mb.fill(shape=shape, value=np.float32(1) if is_float(x) else np.int32(1))
    return mb.mul(x=x, y=ones)


@operator("Tile")
def tile(node: Node) -> Var:
    """Repeat along all dimensions."""
    reps = known(node[1])
    if reps is not None and (reps == 1).all():
        return node[0]
    return mb.tile(x=node[0], reps=node[1])


@operator("Concat")
def concatenate(node: Node) -> Var:
    """Join along an axis; what has size 0 there adds nothing, and MIL has no empty tensors."""
    axis = node.get("axis", 1)
    values = [value for value in node.inputs if value is not None]
    filled = [value for value in values if sizes(value)[axis] != 0] or values[:1]
    return filled[0] if len(filled) == 1 else mb.concat(values=filled, axis=axis)


@operator("ConstantOfShape")
def filled(node: Node) -> Var:
    """Fill a tensor with one number."""
    value = constant(np.asarray(node.get("value", np.zeros(1, np.float32))).reshape(-1)[0])
    shape = known(node[0])
    if shape is not None and shape.size == 0:
        return value
    return mb.fill(shape=node[0], value=value)


@operator("Range")
def count(node: Node) -> Var:
    """Count from a start to a limit."""
    start, limit, step = (scalar(node[position]) for position in range(3))
    return mb.range_1d(start=start, end=limit, step=step)


@operator("EyeLike")
def eye(node: Node) -> Var:
    """Return ones on a diagonal."""
    on = mb.equal(x=diagonals(node[0]), y=int(node.get("k", 0)))
    return mb.cast(x=on, dtype="int32" if node.get("dtype", 1) in (6, 7) else "fp32")


@operator("Trilu")
def triangle(node: Node) -> Var:
    """Keep a triangle of each matrix; the rest becomes 0, even where it was infinite."""
    x = node[0]
    k = node.input(1) if node.input(1) is not None else mb.const(val=np.int32(0))
    keep = (mb.greater_equal if node.get("upper", 1) else mb.less_equal)(x=diagonals(x), y=scalar(k))
    if is_bool(x):
        return mb.logical_and(x=x, y=keep)
    return mb.select(cond=keep, a=x, b=np.float32(0) if is_float(x) else np.int32(0))


def diagonals(x: Var) -> Var:
    """Return the number of the diagonal that each element of a matrix is on: column minus row."""
    columns = mb.range_1d(start=0, end=_length(extent(x, -1)), step=1)
    rows = mb.range_1d(start=0, end=_length(extent(x, -2)), step=1)
    return mb.sub(x=mb.expand_dims(x=columns, axes=[0]), y=mb.expand_dims(x=rows, axes=[1]))


def _length(part: Size) -> Var | int:
    return part if isinstance(part, int) else scalar(part)


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Var:
    """Move blocks of channels into space, in either order."""
    block = int(node.get("blocksize", 1))
    if node.get("mode", "DCR") == "CRD":
        return mb.pixel_shuffle(x=node[0], upscale_factor=block)
    return mb.depth_to_space(x=node[0], block_size=block)


@operator("SpaceToDepth")
def space_to_depth(node: Node) -> Var:
    """Move blocks of space into channels, in either order."""
    if node.get("mode", "DCR") == "CRD":
        return mb.pixel_unshuffle(x=node[0], downscale_factor=np.uint32(node.get("blocksize", 1)))
    return mb.space_to_depth(x=node[0], block_size=int(node.get("blocksize", 1)))
