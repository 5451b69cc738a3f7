"""Arithmetic, element by element: one value, two, or any number of them with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from edgewise.targets.coreml.mil.patterns import standardized
from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, cast, is_float, is_int, known, like, mb

__all__: list[str] = []

# Same meaning in MIL, for floats; these take integers too.
_UNARY: dict[str, Callable[..., Var]] = {
    "Abs": mb.abs,
    "Acos": mb.acos,
    "Asin": mb.asin,
    "Atan": mb.atan,
    "Atanh": mb.atanh,
    "Ceil": mb.ceil,
    "Cos": mb.cos,
    "Cosh": mb.cosh,
    "Erf": mb.erf,
    "Exp": mb.exp,
    "Floor": mb.floor,
    "Round": mb.round,
    "Sign": mb.sign,
    "Sin": mb.sin,
    "Sinh": mb.sinh,
    "Sqrt": mb.sqrt,
    "Tan": mb.tan,
}


@operator(*_UNARY)
def unary(node: Node) -> Var:
    """Convert what MIL has under nearly the same name."""
    return _UNARY[node.kind](x=node[0])


@operator("Acosh", "Asinh")
def inverse_hyperbolic(node: Node) -> Var:
    """Write acosh and asinh as logarithms; asinh is odd, and exact for large negative numbers only by that."""
    if node.kind == "Acosh":
        root = mb.sqrt(x=mb.sub(x=mb.square(x=node[0]), y=1.0))
        return mb.log(x=mb.add(x=node[0], y=root), epsilon=0.0)
    size = mb.abs(x=node[0])
    root = mb.sqrt(x=mb.add(x=mb.square(x=size), y=1.0))
    return mb.mul(x=mb.sign(x=node[0]), y=mb.log(x=mb.add(x=size, y=root), epsilon=0.0))


@operator("Log")
def log(node: Node) -> Var:
    """Convert the natural logarithm, without the epsilon that MIL adds unless told not to."""
    return mb.log(x=node[0], epsilon=0.0)


@operator("Neg")
def negative(node: Node) -> Var:
    """Multiply by -1."""
    return mb.mul(x=node[0], y=-1.0 if is_float(node[0]) else -1)


@operator("Reciprocal")
def reciprocal(node: Node) -> Var:
    """Divide 1 by the value: MIL's `inverse` adds an epsilon."""
    return mb.real_div(x=1.0, y=node[0])


@operator("Add", "Sub", "Mul")
def binary(node: Node) -> Var:
    """Convert an operator of two values."""
    return {"Add": mb.add, "Sub": mb.sub, "Mul": mb.mul}[node.kind](x=node[0], y=node[1])


@operator("Div")
def divide(node: Node) -> Var:
    """Divide; integers are cut towards zero in ONNX, and rounded down by MIL."""
    if is_float(node[0]):
        found = standardized(node[0], node[1])
        return mb.real_div(x=node[0], y=node[1]) if found is None else found
    return _truncated(node[0], node[1])


def _truncated(x: Var, y: Var) -> Var:
    first, second = known(x), known(y)
    if first is not None and second is not None:
        return mb.const(val=np.trunc(first / second).astype(np.int32))
    whole = mb.floor_div(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=whole, y=mb.mul(x=mb.sign(x=x), y=mb.sign(x=y)))


@operator("Mod")
def modulo(node: Node) -> Var:
    """Take the remainder: with the sign of the divisor, or of the dividend where `fmod` is 1."""
    x, y = node[0], node[1]
    if not node.get("fmod", 0):
        return mb.sub(x=x, y=mb.mul(x=y, y=mb.floor_div(x=x, y=y)))
    size, step = mb.abs(x=x), mb.abs(x=y)
    return mb.mul(x=mb.sign(x=x), y=mb.sub(x=size, y=mb.mul(x=step, y=mb.floor_div(x=size, y=step))))


@operator("Pow")
def power(node: Node) -> Var:
    """Raise to a power; the answer has the type of the base."""
    base, exponent = node[0], node[1]
    if is_int(base) and is_int(exponent):
        return mb.pow(x=base, y=exponent)
    return like(mb.pow(x=cast(base, "fp32"), y=cast(exponent, "fp32")), base)


@operator("Max", "Min", "Sum", "Mean")
def fold(node: Node) -> Var:
    """Fold any number of values."""
    step = {"Max": mb.maximum, "Min": mb.minimum}.get(node.kind, mb.add)
    values = [value for value in node.inputs if value is not None]
    folded = reduce(lambda x, y: step(x=x, y=y), values)
    return mb.real_div(x=folded, y=float(len(values))) if node.kind == "Mean" else folded


@operator("Clip")
def clip(node: Node) -> Var:
    """Keep values between two bounds, each of which may be left out or depend on the inputs."""
    x = node[0]
    low, high = (_bound(node, name, position) for name, position in (("min", 1), ("max", 2)))
    lowest, highest = known(low), known(high)
    if is_float(x) and lowest is not None and highest is not None and lowest.item() < highest.item():
        return mb.clip(x=x, alpha=np.float32(lowest.item()), beta=np.float32(highest.item()))
    if low is not None:
        x = mb.maximum(x=x, y=low)
    return x if high is None else mb.minimum(x=x, y=high)


def _bound(node: Node, name: str, position: int) -> Var | None:
    return mb.const(val=np.float32(node.get(name, 0))) if name in node.attributes else node.input(position)


@operator("CumSum")
def cumulative(node: Node) -> Var:
    """Add up along an axis."""
    axis = node.fixed(1, "an axis")
    if axis is None:
        raise UnsupportedError("lacks its axis")
    return mb.cumsum(
        x=node[0],
        axis=int(axis.item()),
        exclusive=bool(node.get("exclusive", 0)),
        reverse=bool(node.get("reverse", 0)),
    )
