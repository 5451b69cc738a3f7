"""Taking parts along axes, putting values around, and turning round: Slice, Split, Pad, Reverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import (
    Size,
    Var,
    axis_of,
    extent,
    extents,
    is_bool,
    is_float,
    known,
    like,
    mb,
    sizes,
    vector,
)

__all__ = ["part"]

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


@operator("Slice")
def cut(node: Node) -> Var:
    """Cut out a part along some axes; positions beyond an end mean that end."""
    x = node[0]
    starts, ends = (_positions(node, name, at) for name, at in (("starts", 1), ("ends", 2)))
    axes = node.numbers("axes", 3) or list(range(len(starts)))
    steps = node.numbers("steps", 4) or [1] * len(axes)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = part(x, axis_of(axis, x.rank), start, end, step)
    return x


def _positions(node: Node, name: str, at: int) -> Sequence[Size]:
    """Return positions, one by one, as numbers where they are known."""
    if name in node.attributes:
        return [int(number) for number in node.attributes[name]]
    values, found = node[at], known(node[at])
    if found is not None:
        return [int(number) for number in found.reshape(-1)]
    count = sizes(values)[0]
    if count is None:
        raise UnsupportedError(f"takes a changing number of {name}")
    return [mb.slice_by_index(x=values, begin=[i], end=[i + 1]) for i in range(count)]


def part(x: Var, axis: int, start: Size, end: Size, step: int = 1) -> Var:
    """Return `x[start:end:step]` along one axis, with Python's meaning of positions outside."""
    size = extent(x, axis)
    begin_mask = end_mask = False
    if isinstance(start, int) and isinstance(end, int) and isinstance(size, int):
        start, end, _ = slice(start, end, step).indices(size)
        if end < 0:  # before the first element: MIL would count it from the back
            end, end_mask = 0, True
        elif (start, end, step) == (0, size, 1):
            return x
    else:
        begin_mask, end_mask = _open(start, step), _open_end(end, step)
        start = 0 if begin_mask else _clamped(start, size, step, (-1, 0))
        end = 0 if end_mask else _clamped(end, size, step, (-1, 1))
        if isinstance(start, int) and (start, end_mask, step) == (0, True, 1):
            return x
    return _slice(x, axis, start, end, step, begin_mask, end_mask)


def _open(start: Size, step: int) -> bool:
    """Tell whether a start, stepping backwards, is the last element for certain."""
    return isinstance(start, int) and step < 0 and (start == -1 or start >= _FAR)


def _open_end(end: Size, step: int) -> bool:
    """Tell whether an end lies behind the last element for certain."""
    return isinstance(end, int) and (end >= _FAR if step > 0 else end <= -_FAR)


_FAR = 2**31 - 1


def _clamped(position: Size, size: Size, step: int, safe: tuple[int, int]) -> Size:
    """Return a position between 0 and the size; those that exist in any tensor are `safe` as they are."""
    if step < 0:
        raise UnsupportedError("steps backwards from or to a position that depends on the model's inputs")
    if isinstance(position, int) and position in safe:
        return position
    if isinstance(position, int):
        if position < 0:
            return mb.maximum(x=mb.add(x=size, y=position), y=0)
        return mb.minimum(x=size, y=position)
    counted = mb.select(cond=mb.less(x=position, y=0), a=mb.add(x=position, y=size), b=position)
    return mb.minimum(x=mb.maximum(x=counted, y=0), y=size)


def _slice(x: Var, axis: int, start: Size, end: Size, step: int, begin_mask: bool, end_mask: bool) -> Var:
    others = [i != axis for i in range(x.rank)]
    return mb.slice_by_index(
        x=x,
        begin=vector([0 if other else start for other in others]),
        end=vector([0 if other else end for other in others]),
        stride=[1 if other else step for other in others],
        begin_mask=[other or begin_mask for other in others],
        end_mask=[other or end_mask for other in others],
    )


@operator("Split")
def split(node: Node) -> tuple[Var, ...]:
    """Cut into parts along an axis: of given sizes, or nearly equal ones."""
    x, axis = node[0], axis_of(node.get("axis", 0), node[0].rank)
    parts, count, size = node.numbers("split", 1), len(node.outputs), sizes(x)[axis]
    if parts is None and size is not None:
        each = -(-size // count)
        parts = [each] * (size // each) + ([size % each] if size % each else [])
    if count == 1:
        return (x,)
    if parts is None:
        return tuple(mb.split(x=x, num_splits=count, axis=axis))
    return tuple(mb.split(x=x, split_sizes=parts, axis=axis))


@operator("Pad")
def pad(node: Node) -> Var:
    """Put values around: one number, or the tensor's own, reflected or repeated."""
    x, mode = node[0], node.get("mode", "constant")
    if mode not in _MODES:
        raise UnsupportedError(f"pads in mode {mode!r}; MIL has constant, reflect and edge")
    amounts = _amounts(node)
    if any(before < 0 or after < 0 for before, after in amounts):
        x, amounts = _cropped(x, amounts)
    if mode == "constant":
        return _surrounded(x, amounts, _filling(node))
    return _mirrored(x, amounts, _MODES[mode])


def _amounts(node: Node) -> list[tuple[int, int]]:
    """Return how much to add before and after, axis by axis."""
    name = "paddings" if "paddings" in node.attributes else "pads"
    pads, rank = node.numbers(name, 1) or [], node[0].rank
    axes = [axis_of(axis, rank) for axis in node.numbers("axes", 3) or range(rank)]
    amounts = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        amounts[axis] = (pads[place], pads[place + len(axes)])
    return amounts


def _filling(node: Node) -> float:
    found = node.fixed(2, "a filling")
    return float(node.get("value", 0.0) if found is None else found.item())


def _cropped(x: Var, amounts: list[tuple[int, int]]) -> tuple[Var, list[tuple[int, int]]]:
    """Cut off where less than nothing is to be added."""
    for axis, (before, after) in enumerate(amounts):
        if before < 0 or after < 0:
            x = part(x, axis, max(-before, 0), after if after < 0 else _FAR)
    return x, [(max(before, 0), max(after, 0)) for before, after in amounts]


def _surrounded(x: Var, amounts: list[tuple[int, int]], filling: float) -> Var:
    if not any(sum(amount) for amount in amounts):
        return x
    if is_float(x):
        return mb.pad(x=x, pad=list(sum(amounts, ())), mode="constant", constant_val=np.float32(filling))
    for axis, amount in enumerate(amounts):  # MIL pads floats only, and these would round large integers
        x = _lengthened(x, axis, amount, filling)
    return x


def _lengthened(x: Var, axis: int, amount: tuple[int, int], filling: float) -> Var:
    value = bool(filling) if is_bool(x) else np.int32(filling)
    shape = extents(x)
    ends = [
        mb.fill(shape=vector([*shape[:axis], count, *shape[axis + 1 :]]), value=value) if count else None
        for count in amount
    ]
    values = [piece for piece in (ends[0], x, ends[1]) if piece is not None]
    return mb.concat(values=values, axis=axis) if len(values) > 1 else x


def _mirrored(x: Var, amounts: list[tuple[int, int]], mode: str) -> Var:
    """Pad by the tensor's own values, one axis at a time, each brought to the end."""
    for axis, amount in enumerate(amounts):
        if not any(amount):
            continue
        perm = [i for i in range(x.rank) if i != axis] + [axis]
        turned = x if axis == x.rank - 1 else mb.transpose(x=x, perm=perm)
        padded = like(mb.pad(x=_as_float(turned), pad=list(amount), mode=mode), x)
        back = [perm.index(i) for i in range(x.rank)]
        x = padded if axis == x.rank - 1 else mb.transpose(x=padded, perm=back)
    return x


def _as_float(x: Var) -> Var:
    if not is_float(x):
        raise UnsupportedError("reflects or repeats integers; MIL pads floats only")
    return x


@operator("ReverseSequence")
def reverse_sequence(node: Node) -> Var:
    """Turn round the first elements of each sequence."""
    return mb.reverse_sequence(
        x=node[0],
        lengths=node[1],
        seq_axis=int(node.get("time_axis", 0)),
        batch_axis=int(node.get("batch_axis", 1)),
    )
