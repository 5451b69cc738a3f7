"""Where weights live in the imported module: at the path that their ONNX name spells.

`encoder.layer.0.weight` of a Conv makes an nn.Conv2d at `encoder.layer.0`, so names that came from torch come back;
any other name, made legal, is the module's own, and its tensors are `NAME.weight` and so on. A tensor that several
nodes use is one nn.Parameter, so tied weights stay tied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Constant", "Tree"]

_ENDINGS = (".weight", ".bias")


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A tensor that does not depend on the inputs. `learned`: training may change it."""

    name: str
    tensor: Tensor
    learned: bool

    @property
    def small(self) -> bool:
        """Whether it is written into the graph as Python numbers."""
        return not self.learned and self.tensor.dim() <= 1 and self.tensor.numel() <= 64

    @property
    def numbers(self) -> Any:
        """The tensor as a Python number, or nested tuples of them."""
        return _tuples(self.tensor.tolist())


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class Tree:
    """A module to which submodules, parameters and buffers are added, each at a path of its own."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self._parameters: dict[tuple[int, bool], nn.Parameter] = {}
        self._paths: dict[int, str] = {}

    def parameter(self, constant: Constant, *, transposed: bool = False) -> nn.Parameter:
        """Return the constant, or its transpose, as a parameter; the same one each time."""
        key = (id(constant), transposed)
        if key not in self._parameters:
            value = constant.tensor.t() if transposed else constant.tensor
            self._parameters[key] = nn.Parameter(value.contiguous().clone())
        return self._parameters[key]

    def add(self, name: str, module: nn.Module) -> str:
        """Add `module` at the path that `name`, a weight of it, spells; return the path."""
        base = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
        path = self._attach(base, module)
        for inner, parameter in module.named_parameters():
            self._paths.setdefault(id(parameter), f"{path}.{inner}")
        return path

    def tensor(self, constant: Constant) -> str:
        """Return the path of the constant, added as a parameter or buffer when it isn't there yet."""
        value = self.parameter(constant) if constant.learned else constant.tensor
        if id(value) not in self._paths:
            self._paths[id(value)] = self._attach(constant.name, value)
        return self._paths[id(value)]

    def _attach(self, name: str, item: Any) -> str:
        *outer, last = _legal(name)
        spot = self._container(outer)
        if spot is None:
            spot, outer, last = self.root, [], "_".join((*outer, last))
        free, number = last, 1
        while hasattr(spot, free) or hasattr(torch.fx.GraphModule, free):
            number += 1
            free = f"{last}_{number}"
        if isinstance(item, nn.Module):
            spot.add_module(free, item)
        elif isinstance(item, nn.Parameter):
            spot.register_parameter(free, item)
        else:
            spot.register_buffer(free, item)
        return ".".join((*outer, free))

    def _container(self, path: list[str]) -> nn.Module | None:
        """Return the plain module at `path`, made where it is missing; None where something else is in the way."""
        spot = self.root
        for segment in path:
            if segment not in spot._modules:
                if hasattr(spot, segment) or hasattr(torch.fx.GraphModule, segment):
                    return None
                spot.add_module(segment, nn.Module())
            spot = spot._modules[segment]
            if type(spot) is not nn.Module:
                return None
        return spot


def _legal(name: str) -> list[str]:
    """Return the segments of a path: letters, digits and underscores only."""
    segments = [re.sub(r"\W", "_", segment, flags=re.ASCII) for segment in name.split(".")]
    return [segment for segment in segments if segment] or ["tensor"]
