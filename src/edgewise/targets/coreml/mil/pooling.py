"""Pooling: over windows, and over everything."""

from __future__ import annotations

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, cast, like, mb, sizes
from edgewise.targets.coreml.mil.windows import Window, window

__all__: list[str] = []


@operator("MaxPool")
def largest(node: Node) -> Var:
    """Take the largest of each window; padding never wins."""
    if node.wants(1):
        raise UnsupportedError("returns the places of its largest values; MIL has the values only")
    moved = _moved(node)
    if any(step != 1 for step in moved.dilations):
        raise UnsupportedError("has a dilation, which MIL's pooling has not")
    x, moved = _padded(cast(node[0], "fp32"), moved, bool(node.get("ceil_mode", 0)), -np.inf)
    answer = mb.max_pool(
        x=x,
        kernel_sizes=moved.kernel,
        strides=moved.strides,
        pad_type=moved.pad_type,
        pad=moved.flat_pads,
    )
    return like(answer, node[0])


@operator("AveragePool")
def average(node: Node) -> Var:
    """Average over each window, with or without its padding."""
    moved = _moved(node)
    if any(step != 1 for step in moved.dilations):
        raise UnsupportedError("has a dilation, which MIL's pooling has not")
    if node.get("ceil_mode", 0) and any(_overhang(node[0], moved)):
        return _shares(node[0], moved, counts_padding=bool(node.get("count_include_pad", 0)))
    return mb.avg_pool(
        x=node[0],
        kernel_sizes=moved.kernel,
        strides=moved.strides,
        pad_type=moved.pad_type,
        pad=moved.flat_pads,
        exclude_padding_from_average=not node.get("count_include_pad", 0),
    )


@operator("LpPool")
def norm(node: Node) -> Var:
    """Take the norm of each window: a mean of powers, times how many there are."""
    moved, p = _moved(node), float(node.get("p", 2))
    if any(step != 1 for step in moved.dilations):
        raise UnsupportedError("has a dilation, which MIL's pooling has not")
    powers = mb.pow(x=mb.abs(x=node[0]), y=p)
    powers, moved = _padded(powers, moved, bool(node.get("ceil_mode", 0)), 0.0)
    mean = mb.avg_pool(
        x=powers,
        kernel_sizes=moved.kernel,
        strides=moved.strides,
        pad_type=moved.pad_type,
        pad=moved.flat_pads,
        exclude_padding_from_average=False,
    )
    return mb.pow(x=mb.mul(x=mean, y=float(np.prod(moved.kernel))), y=1.0 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def everything(node: Node) -> Var:
    """Pool over all spatial axes."""
    axes = list(range(2, node[0].rank))
    if node.kind == "GlobalLpPool":
        p = float(node.get("p", 2))
        total = mb.reduce_sum(x=mb.pow(x=mb.abs(x=node[0]), y=p), axes=axes, keep_dims=True)
        return mb.pow(x=total, y=1.0 / p)
    reduce = mb.reduce_mean if node.kind == "GlobalAveragePool" else mb.reduce_max
    return reduce(x=node[0], axes=axes, keep_dims=True)


def _moved(node: Node) -> Window:
    return window(node, node.get("kernel_shape", []))


def _overhang(x: Var, moved: Window) -> list[int]:
    """Return how far the last window reaches over the padded end when the number of windows is rounded up.

    A window that would start in the padding behind the end is left out (ONNX, since version 19 in these words).
    """
    if moved.pad_type != "custom":
        return [0] * len(moved.kernel)
    found = []
    for size, reach, stride, (before, after) in zip(
        sizes(x)[2:], moved.reach, moved.strides, moved.pads, strict=True
    ):
        if size is None:
            raise UnsupportedError("rounds up (ceil_mode) the size of a dimension that changes")
        count = -(-(size + before + after - reach) // stride) + 1
        count -= (count - 1) * stride >= size + before
        found.append(max((count - 1) * stride + reach - (size + before + after), 0))
    return found


def _padded(x: Var, moved: Window, ceil: bool, filling: float) -> tuple[Var, Window]:
    """Put the padding, with what rounding up needs, into the tensor: MIL takes it symmetric only."""
    over = _overhang(x, moved) if ceil else []
    if not any(over):
        return x, moved
    amounts = [(before, after + more) for (before, after), more in zip(moved.pads, over, strict=True)]
    around = [0, 0, 0, 0, *sum(amounts, ())]
    padded = mb.pad(x=x, pad=around, mode="constant", constant_val=np.float32(filling))
    none = tuple((0, 0) for _ in amounts)
    return padded, Window(moved.kernel, moved.strides, moved.dilations, none, "custom")


def _shares(x: Var, moved: Window, *, counts_padding: bool) -> Var:
    """Average over windows that reach over the end: sums, divided by how many elements each one counts."""
    padded, bare = _padded(x, moved, True, 0.0)
    mean = mb.avg_pool(
        x=padded,
        kernel_sizes=bare.kernel,
        strides=bare.strides,
        pad_type="custom",
        pad=bare.flat_pads,
        exclude_padding_from_average=False,
    )
    counted = np.zeros([size or 1 for size in sizes(padded)[2:]], np.float32)
    inner = [
        slice(0, before + size + after) if counts_padding else slice(before, before + size)
        for size, (before, after) in zip(sizes(x)[2:], moved.pads, strict=True)
        if size is not None
    ]
    counted[tuple(inner)] = 1.0
    windows = np.lib.stride_tricks.sliding_window_view(counted, moved.kernel)
    windows = windows[tuple(slice(None, None, stride) for stride in moved.strides)]
    share = windows.mean(axis=tuple(range(counted.ndim, 2 * counted.ndim)))
    return mb.real_div(x=mean, y=share[np.newaxis, np.newaxis].astype(np.float32))
