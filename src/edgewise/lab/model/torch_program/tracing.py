"""`nn.Module` and example inputs → ExportedProgram, by torch.export; a refusal of torch's in the user's terms.

Example inputs: a tensor, a tuple of them, or a dict whose names are those of `forward`. Axes that may differ are
named in `dynamic`: torch.export's own `dynamic_shapes`, where a text such as "length" names an axis.
Source: https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from edgewise.errors import InputError

__all__ = ["Traced", "trace"]

_BRANCH = (
    "what it does depends on the values in a tensor, which no graph can hold. Use torch.where or torch.cond in place "
    "of the if, and tensor operations in place of a loop over values"
)


@dataclass(frozen=True, slots=True)
class Traced:
    """A program, and the names that the user gave to its axes: by input, then by axis."""

    program: torch.export.ExportedProgram
    axes: Mapping[str, Mapping[int, str]]


def trace(module: Any, example: Any, dynamic: Any = None, *, who: str) -> Traced:
    """Export `module` in evaluation mode. Raises InputError naming `who` and the reason when it cannot be."""
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{who}: the model is {type(module).__name__}, and a torch.nn.Module is expected")
    args, kwargs = _arguments(example, who)
    _check_names(module, kwargs, who)
    shapes = _shapes(dynamic)
    args, kwargs = _doubled(module, args, kwargs, dynamic)
    with _evaluating(module), torch.no_grad():
        try:
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
        except Exception as error:
            raise InputError(_explained(module, error, who)) from error
    return Traced(program, _axes(program, dynamic))


def _arguments(example: Any, who: str) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    args, kwargs = ((), example) if isinstance(example, Mapping) else (example, {})
    args = (args,) if isinstance(args, torch.Tensor) else args
    values = [*args, *kwargs.values()] if isinstance(args, tuple | list) else [args]
    if not values or not all(isinstance(value, torch.Tensor) for value in values):
        wrong = next((v for v in values if not isinstance(v, torch.Tensor)), example)
        raise InputError(
            f"{who}: the example inputs hold {type(wrong).__name__}: give a dict of tensors by the names of forward, "
            "a tuple of tensors or one tensor"
        )
    return tuple(args), dict(kwargs)


def _check_names(module: torch.nn.Module, kwargs: Mapping[str, Any], who: str) -> None:
    takes = inspect.signature(module.forward).parameters
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return
    if unknown := [name for name in kwargs if name not in takes]:
        raise InputError(
            f"{who}: the example inputs name {unknown[0]!r}, and forward of {type(module).__name__} takes "
            f"{', '.join(takes)}"
        )


def _shapes(dynamic: Any) -> Any:
    """Return `dynamic` for torch: a text asks for an axis that stays open, in the range that the model allows."""
    if isinstance(dynamic, str):
        return torch.export.Dim.DYNAMIC
    if isinstance(dynamic, Mapping):
        return {key: _shapes(value) for key, value in dynamic.items()}
    if isinstance(dynamic, tuple | list):
        return type(dynamic)(_shapes(value) for value in dynamic)
    return dynamic


def _doubled(
    module: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor], dynamic: Any
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Give every axis that is named, and has length 1, length 2: torch takes a 1 for a fixed size."""
    if isinstance(dynamic, Mapping):
        axes = [
            dynamic.get(name)
            for name, _ in zip(inspect.signature(module.forward).parameters, args, strict=False)
        ]
        kwargs = {name: _longer(tensor, dynamic.get(name)) for name, tensor in kwargs.items()}
    else:
        axes = list(dynamic or ())
    axes += [None] * (len(args) - len(axes))
    return tuple(_longer(tensor, named) for tensor, named in zip(args, axes, strict=False)), kwargs


def _longer(tensor: torch.Tensor, axes: Any) -> torch.Tensor:
    for axis, name in axes.items() if isinstance(axes, Mapping) else ():
        if name is not None and not isinstance(name, int) and axis < tensor.ndim and tensor.shape[axis] == 1:
            tensor = tensor.repeat_interleave(2, dim=axis)
    return tensor


def _axes(program: torch.export.ExportedProgram, dynamic: Any) -> dict[str, dict[int, str]]:
    """Return the names that texts and Dims give to axes, by the program's inputs; what is nested has none."""
    inputs = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    given = dynamic.items() if isinstance(dynamic, Mapping) else zip(inputs, dynamic or (), strict=False)
    return {
        name: {
            axis: one if isinstance(one, str) else one.__name__
            for axis, one in axes.items()
            if isinstance(one, str) or hasattr(one, "__name__")
        }
        for name, axes in given
        if isinstance(axes, Mapping)
    }


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and its like off, and back to what they were."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in modes:
            one.training = training


def _explained(module: torch.nn.Module, error: Exception, who: str) -> str:
    name = type(module).__name__
    said = " ".join(str(error).split()).partition("Suggested fixes")[0]
    said = said.replace('For more information, run with TORCH_LOGS="+dynamic". ', "")
    where = _where(module, error)
    if "data-dependent" in said or "DataDependent" in type(error).__name__:
        return f"{who}: torch.export cannot follow {name}{where}: {_BRANCH}. torch says: {said[:200]}"
    if "Constraints violated" in said or "specialized" in said:
        return (
            f"{who}: an axis that is named as dynamic is fixed by what {name} does{where}: leave it out of the "
            f"dynamic shapes, or change the model. torch says: {said[:300]}"
        )
    return f"{who}: {name} fails on its example inputs{where}: {type(error).__name__}: {said[:300]}"


def _where(module: torch.nn.Module, error: BaseException) -> str:
    """Return the last line of the user's own file that was being followed."""
    try:
        own = inspect.getsourcefile(type(module))
    except TypeError:
        own = None
    lines = [f for f in traceback.extract_tb(error.__traceback__) if own and f.filename == own]
    return f" at {lines[-1].filename.rpartition('/')[2]}, line {lines[-1].lineno}" if lines else ""
