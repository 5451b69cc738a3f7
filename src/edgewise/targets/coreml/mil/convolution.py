"""Convolution and its transpose, over one to three spatial axes."""

from __future__ import annotations

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, known, mb, sizes
from edgewise.targets.coreml.mil.windows import Window, window

__all__: list[str] = []


@operator("Conv")
def convolve(node: Node) -> Var:
    """Convert a convolution; its weights need not be constant."""
    x, weight = node[0], node[1]
    if sizes(x)[1] is None:
        raise UnsupportedError("takes a changing number of channels")
    moved = window(node, sizes(weight)[2:])
    return mb.conv(
        x=x,
        weight=weight,
        bias=node.input(2),
        strides=moved.strides,
        pad_type=moved.pad_type,
        pad=moved.flat_pads,
        dilations=moved.dilations,
        groups=int(node.get("group", 1)),
    )


@operator("ConvTranspose")
def deconvolve(node: Node) -> Var:
    """Convert a transposed convolution.

    MIL crops the full answer by `pad`. What `output_padding` adds is cropped less, or, beyond the full answer,
    padded with zeros, to which the bias is added like everywhere else.
    """
    moved = window(node, sizes(node[1])[2:])
    pads = _crops(node, moved)
    crops = [max(amount, 0) for pair in pads for amount in pair]
    beyond = [(max(-before, 0), max(-after, 0)) for before, after in pads]
    grown = any(any(pair) for pair in beyond)
    answer = mb.conv_transpose(
        x=node[0],
        weight=node[1],
        bias=None if grown else node.input(2),
        pad=crops,
        pad_type="custom",
        strides=moved.strides,
        dilations=moved.dilations,
        groups=int(node.get("group", 1)),
    )
    if not grown:
        return answer
    answer = mb.pad(x=answer, pad=[0, 0, 0, 0, *sum(beyond, ())], mode="constant", constant_val=np.float32(0))
    return answer if node.input(2) is None else mb.add(x=answer, y=_per_channel(node[2], answer.rank))


def _per_channel(bias: Var, rank: int) -> Var:
    found = known(bias)
    if found is None:
        raise UnsupportedError("adds a bias that depends on the model's inputs")
    return found.reshape(-1, *([1] * (rank - 2)))


def _crops(node: Node, moved: Window) -> list[tuple[int, int]]:
    """Return how much of the full answer to take away before and after; less than nothing adds to it."""
    extra = node.get("output_padding", [0] * len(moved.kernel))
    wanted = node.get("output_shape", None)
    if wanted is None and moved.pad_type == "custom":
        return [(before, after - more) for (before, after), more in zip(moved.pads, extra, strict=True)]
    if wanted is None and moved.pad_type == "valid":
        return [(0, -more) for more in extra]
    inner = sizes(node[0])[2:]
    if None in inner:
        raise UnsupportedError("pads to an output shape that depends on the model's inputs")
    if wanted is None:
        wanted = [size * stride for size, stride in zip(inner, moved.strides, strict=True) if size]
    totals = [
        stride * (size - 1) + more + reach - want
        for size, stride, reach, more, want in zip(
            inner, moved.strides, moved.reach, extra, wanted[-len(inner) :], strict=True
        )
        if size
    ]
    return [
        (total // 2, total - total // 2 - more)
        if moved.pad_type == "same"
        else (total - total // 2, total // 2 - more)
        for total, more in zip(totals, extra, strict=True)
    ]
