"""The operators of ONNX that can be told in MIL: one function each, found by `operator`.

A function takes a `Node`, whose inputs are MIL values already, and returns the value of its output, or a tuple of
them. What it cannot tell it says by raising `UnsupportedError` with the reason; the caller names the node.

ONNX operators: https://onnx.ai/onnx/operators/
MIL operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from edgewise.targets.coreml.mil.values import Var, known

__all__ = ["Function", "Node", "UnsupportedError", "function", "operator", "supported"]

Body = Callable[[onnx.GraphProto, Sequence[Var]], list[Var]]


class UnsupportedError(Exception):
    """Why a node has no counterpart in MIL, in words that follow "operator X"."""


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX operator to convert.

    `inputs` has None where an optional one is left out; `outputs` are the names asked for, "" where one is not
    wanted. `opset` is the version of the node's domain. `body(graph, inputs)` converts a graph held in an attribute.
    """

    kind: str
    inputs: tuple[Var | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    body: Body

    def __getitem__(self, position: int) -> Var:
        """Return an input that the operator requires."""
        value = self.input(position)
        if value is None:
            raise UnsupportedError(f"lacks its input {position}")
        return value

    def input(self, position: int) -> Var | None:
        """Return an input, or None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def get(self, name: str, default: Any) -> Any:
        """Return an attribute, or what ONNX takes in its place."""
        return self.attributes.get(name, default)

    def fixed(self, position: int, what: str) -> Any:
        """Return an input that has to be known while converting, None where it is left out."""
        value = self.input(position)
        found = known(value)
        if value is not None and found is None:
            raise UnsupportedError(f"takes {what} that depend on the model's inputs: make them constant")
        return found

    def numbers(self, name: str, position: int) -> list[int] | None:
        """Return integers that older versions keep in an attribute and newer ones in an input."""
        if name in self.attributes:
            return [int(number) for number in self.attributes[name]]
        found = self.fixed(position, name)
        return None if found is None else [int(number) for number in found.reshape(-1)]

    def wants(self, position: int) -> bool:
        """Tell whether an output is used."""
        return position < len(self.outputs) and bool(self.outputs[position])


Function = Callable[[Node], Var | tuple[Var | None, ...]]
_FUNCTIONS: dict[str, Function] = {}


def operator(*kinds: str) -> Callable[[Function], Function]:
    """Register the function of one or more operators; those of another domain are named "domain.Operator"."""

    def register(function: Function) -> Function:
        for kind in kinds:
            assert kind not in _FUNCTIONS, kind
            _FUNCTIONS[kind] = function
        return function

    return register


def function(kind: str) -> Function | None:
    """Return the function of an operator."""
    return _FUNCTIONS.get(kind)


def supported() -> frozenset[str]:
    """Return the names of all operators that convert."""
    return frozenset(_FUNCTIONS)
