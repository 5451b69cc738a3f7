"""Comparisons, logic and choices between values. MIL compares numbers only, so bools are compared as integers."""

from __future__ import annotations

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, operator
from edgewise.targets.coreml.mil.values import Var, cast, is_bool, is_float, known, mb, sizes, to_bool

__all__ = ["choose"]


@operator("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def compare(node: Node) -> Var:
    """Compare two values."""
    x, y = (cast(value, "int32") if is_bool(value) else value for value in (node[0], node[1]))
    return {
        "Equal": mb.equal,
        "Greater": mb.greater,
        "GreaterOrEqual": mb.greater_equal,
        "Less": mb.less,
        "LessOrEqual": mb.less_equal,
    }[node.kind](x=x, y=y)


@operator("And", "Or", "Xor")
def combine(node: Node) -> Var:
    """Combine two truths."""
    return {"And": mb.logical_and, "Or": mb.logical_or, "Xor": mb.logical_xor}[node.kind](
        x=node[0], y=node[1]
    )


@operator("Not")
def negate(node: Node) -> Var:
    """Negate a truth."""
    return mb.logical_not(x=node[0])


@operator("IsNaN")
def is_nan(node: Node) -> Var:
    """Find what does not equal itself."""
    return mb.not_equal(x=node[0], y=node[0])


@operator("IsInf")
def is_infinite(node: Node) -> Var:
    """Find infinities, of both signs or of one."""
    positive, negative = node.get("detect_positive", 1), node.get("detect_negative", 1)
    if positive and negative:
        return mb.equal(x=mb.abs(x=node[0]), y=np.float32(np.inf))
    return mb.equal(x=node[0], y=np.float32(np.inf if positive else -np.inf))


@operator("Where")
def where(node: Node) -> Var:
    """Choose between two values, with broadcasting among all three."""
    return choose(node[0], node[1], node[2])


def choose(condition: Var, yes: Var, no: Var) -> Var:
    """Return `yes` where the condition holds, else `no`.

    MIL takes the shape of the answer from the two values alone, so one of them is spread over a larger condition.
    """
    condition = to_bool(condition)
    if not _covers(condition, yes) and not _covers(condition, no):
        yes = _spread(yes, condition)
    return mb.select(cond=condition, a=yes, b=no)


def _covers(condition: Var, value: Var) -> bool:
    """Tell whether broadcasting the condition to the value's shape leaves that shape as it is."""
    wide, narrow = sizes(value), sizes(condition)
    if len(wide) < len(narrow):
        return False
    names = [str(size) for size in value.shape[len(wide) - len(narrow) :]]
    return all(
        small == 1 or name == str(size)
        for small, name, size in zip(narrow, names, condition.shape, strict=True)
    )


def _spread(value: Var, condition: Var) -> Var:
    found = known(value)
    if found is not None and found.size == 1:
        return mb.fill_like(ref_tensor=condition, value=found.reshape(-1)[0])
    if is_bool(value):
        everywhere = mb.logical_or(x=condition, y=mb.logical_not(x=condition))
        return mb.logical_and(x=value, y=everywhere)
    none = mb.fill_like(ref_tensor=condition, value=np.float32(0) if is_float(value) else np.int32(0))
    return mb.add(x=value, y=none)
