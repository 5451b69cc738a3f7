"""The registry: the name of a MIL operator → the numpy function that computes it.

A function's parameters are the operator's, under MIL's names; one without a default is required. The functions
keep to four rules, so that the interpreter need not look into them:

- float16 comes as float32 that holds float16's values; the result may be wider than declared: the interpreter
  converts it to the declared type and, for float16, rounds it;
- `moves` says that each result is one of the arguments' values, so that there is nothing to round;
- arguments are never changed, and the result may share their memory;
- several results are a tuple; a MIL list is a Python list.

The specification is coremltools' operator reference:
https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["OPERATORS", "REQUIRED", "Operator", "define", "operator"]

Function = Callable[..., Any]
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its function, and the function's parameters in order with their defaults."""

    run: Function
    parameters: Mapping[str, Any]
    moves: bool


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, moves: bool = False) -> Callable[[Function], Function]:
    """Register the decorated function as the operators `names`."""

    def register(function: Function) -> Function:
        parameters = {name: one.default for name, one in inspect.signature(function).parameters.items()}
        for name in names:
            OPERATORS[name] = Operator(function, parameters, moves)
        return function

    return register


def define(functions: Mapping[str, Function], *parameters: str, moves: bool = False) -> None:
    """Register functions that are numpy's own, which tell no signature; all `parameters` are required."""
    for name, function in functions.items():
        OPERATORS[name] = Operator(function, dict.fromkeys(parameters, REQUIRED), moves)
