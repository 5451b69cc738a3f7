"""Comparison, logic, and the choice between two values."""

from __future__ import annotations

import operator as python
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from edgewise.lab.model.torch_graph.host import Number, as_tensor, each, pairwise
from edgewise.lab.model.torch_graph.ops.arithmetic import binary
from edgewise.lab.model.torch_graph.registry import operator, register

__all__: list[str] = []

register({"IsNaN": torch.isnan})


@operator("IsInf")
def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether x is infinite."""
    found = torch.isinf(x)
    if detect_negative and detect_positive:
        return found
    return found & (x < 0 if detect_negative else x > 0)


@operator("Equal", mixed=True)
def equal(a: Any, b: Any) -> Any:
    """Whether a = b."""
    return binary(python.eq, a, b)


@operator("Greater", mixed=True)
def greater(a: Any, b: Any) -> Any:
    """Whether a > b."""
    return binary(python.gt, a, b)


@operator("GreaterOrEqual", mixed=True)
def greater_or_equal(a: Any, b: Any) -> Any:
    """Whether a ≥ b."""
    return binary(python.ge, a, b)


@operator("Less", mixed=True)
def less(a: Any, b: Any) -> Any:
    """Whether a < b."""
    return binary(python.lt, a, b)


@operator("LessOrEqual", mixed=True)
def less_or_equal(a: Any, b: Any) -> Any:
    """Whether a ≤ b."""
    return binary(python.le, a, b)


@operator("And", "BitwiseAnd", mixed=True)
def both(a: Any, b: Any) -> Any:
    """Bitwise and; of booleans the logical one."""
    return binary(python.and_, a, b)


@operator("Or", "BitwiseOr", mixed=True)
def either(a: Any, b: Any) -> Any:
    """Bitwise or; of booleans the logical one."""
    return binary(python.or_, a, b)


@operator("Xor", "BitwiseXor", mixed=True)
def one_of(a: Any, b: Any) -> Any:
    """Bitwise exclusive or; of booleans the logical one."""
    return binary(python.xor, a, b)


@operator("Not", mixed=True)
def negation(x: Any) -> Any:
    """Logical not."""
    return torch.logical_not(x) if isinstance(x, Tensor) else each(torch.sym_not, x)


@operator("BitwiseNot")
def bitwise_not(x: Tensor) -> Tensor:
    """Bitwise not."""
    return torch.bitwise_not(x)


@operator("Where", mixed=True)
def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b."""
    if not any(isinstance(value, Tensor) for value in (condition, a, b)):
        pairs = pairwise(lambda x, y: (x, y), a, b)
        pairs = pairs if isinstance(a, tuple) or isinstance(b, tuple) else (pairs,)
        chosen = pairwise(_chosen, condition, pairs)
        return chosen if any(isinstance(v, tuple) for v in (condition, a, b)) else chosen[0]
    like = next((value for value in (a, b) if isinstance(value, Tensor)), None)
    return torch.where(as_tensor(condition), as_tensor(a, like), as_tensor(b, like))


def _chosen(condition: Number, pair: tuple[Number, Number]) -> Number:
    """Return the first or second of the pair; where a symbolic size decides, a number that leaves it open."""
    if not isinstance(condition, torch.SymBool):
        return pair[0] if condition else pair[1]
    if statically_known_true(condition):
        return pair[0]
    return pair[1] if statically_known_true(torch.sym_not(condition)) else torch.sym_ite(condition, *pair)
