"""A net of the user's as the student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.bundle.processing import load_function
from edgewise.errors import InputError
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.train.fit import outputs

__all__ = ["named"]


def named(
    reference: str, base: Path, model: OnnxModel, example: tuple[Tensor, ...], answers: Any
) -> nn.Module:
    """Return the net that `file.py:function` makes, shown to answer in the original's shapes.

    Raises InputError with what the function raised, or where it returns something else.
    """
    file, _, name = reference.rpartition(":")
    function = load_function(base / file, name)
    try:
        net = function()
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{reference} raised {type(error).__name__}: {error}") from error
    if not isinstance(net, nn.Module):
        raise InputError(f"{reference} returned {type(net).__name__}: return a torch.nn.Module")
    _check(reference, net.eval(), model, example, answers)
    return net


def _check(
    reference: str, net: nn.Module, model: OnnxModel, example: tuple[Tensor, ...], answers: Any
) -> None:
    names = ", ".join(spec.name for spec in model.inputs)
    try:
        with torch.no_grad():
            made = outputs(net, example)
    except Exception as error:
        raise InputError(
            f"the net of {reference} does not take {names}, in this order: {type(error).__name__}: {error}"
        ) from error
    if len(made) != len(answers):
        raise InputError(f"the net of {reference} gives {len(made)} outputs, the original {len(answers)}")
    for spec, ours, theirs in zip(model.outputs, made, answers, strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise InputError(
                f"the net of {reference} gives {spec.name!r} as {_described(ours)}, the original as "
                f"{_described(theirs)}: give the same"
            )


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
