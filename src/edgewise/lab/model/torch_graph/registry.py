"""What the importer knows of each ONNX operator: a small function, and a torch module where it holds weights.

A function takes the operator's inputs by position and its attributes by keyword, so its signature says which
attributes it understands; `opset`, `outputs` (how many are asked for) and `anchor` (a tensor on the device to
use) are given when it asks for them. An
attribute that a later opset turned into an input (`axes` of Squeeze) is passed as that input. A rule looks at one
node, a `Site`, and returns the module for it, or None where no module fits: then the function is called.

`host` names inputs that are sizes, axes and the like: they come as Python numbers. A `mixed` function takes
tensors and Python numbers alike; any other input comes as a tensor.
Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["OPERATORS", "RULES", "Found", "Operator", "Site", "module", "operator", "register"]


@dataclass(frozen=True, slots=True)
class Operator:
    """How one ONNX operator is computed. `many`: `call` returns a tuple of outputs, else the one output."""

    call: Callable[..., Any]
    host: frozenset[str] = frozenset()
    mixed: bool = False
    many: bool = False
    positions: tuple[str, ...] = ()
    keywords: frozenset[str] = frozenset()
    variadic: bool = False


class Site(Protocol):
    """One node as a rule sees it."""

    @property
    def opset(self) -> int:
        """Version of the operator's domain."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes that are set, as Python values."""

    def given(self, index: int) -> bool:
        """Whether input `index` is there."""

    def constant(self, index: int) -> Any:
        """Return input `index` as a torch tensor if it is a constant, else None."""

    def parameter(self, index: int, *, transposed: bool = False) -> Any:
        """Return the constant input `index` as an nn.Parameter; the same one each time it is asked for."""

    def rank(self, index: int) -> int:
        """Return the number of dimensions of input `index`."""


@dataclass(frozen=True, slots=True)
class Found:
    """The module for a node: called with the inputs at `operands`. `named` is the input it takes its name from.

    `outline` returns tensors of the shapes that the module returns, where trying the module itself would not do.
    """

    module: Any
    operands: tuple[int, ...] = (0,)
    named: int = 1
    many: bool = False
    outline: Callable[..., Any] | None = None


Rule = Callable[[Site], Found | None]

OPERATORS: dict[str, Operator] = {}
RULES: dict[str, Rule] = {}


@dataclass(frozen=True, slots=True)
class _Signature:
    positions: tuple[str, ...] = ()
    keywords: frozenset[str] = field(default=frozenset())
    variadic: bool = False


def operator(
    *names: str, host: tuple[str, ...] = (), mixed: bool = False, many: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function for the ONNX operators `names`."""

    def decorate(call: Callable[..., Any]) -> Callable[..., Any]:
        read = _signature(call)
        entry = Operator(call, frozenset(host), mixed, many, read.positions, read.keywords, read.variadic)
        OPERATORS.update(dict.fromkeys(names, entry))
        return call

    return decorate


def register(calls: Mapping[str, Callable[..., Any]]) -> None:
    """Register torch functions of one tensor, without attributes, under their ONNX names."""
    for name, call in calls.items():
        OPERATORS[name] = Operator(call, positions=("input",))


def module(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated rule for the ONNX operators `names`."""

    def decorate(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return decorate


def _signature(call: Callable[..., Any]) -> _Signature:
    parameters = inspect.signature(call).parameters.values()
    return _Signature(
        tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
        frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
    )
