"""Trying a function on tensors that have shapes and types but no data: torch's fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from edgewise.lab.model.torch_graph.proto import is_open
from edgewise.targets.graph import spec

__all__ = ["Trial"]


class Trial:
    """Runs functions on fake tensors. `symbolic`: sizes that the model leaves open are symbols."""

    def __init__(self, *, symbolic: bool) -> None:
        self.symbolic = symbolic
        self._mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False), allow_non_fake_inputs=True)
        self._open: dict[str, tuple[Any, ...]] = {}

    def example(self, value: onnx.ValueInfoProto, array: NDArray[Any]) -> Any:
        """Return a fake tensor like `array`, with a symbol for each size that the input `value` leaves open.

        A size of 1 is made 2: torch takes 1 for a size that never changes.
        """
        fixed = [not (self.symbolic and is_open(size)) for size in spec(value).shape]
        shape = [size if known else max(size, 2) for size, known in zip(array.shape, fixed, strict=True)]
        real = torch.zeros(shape, dtype=torch.from_numpy(array).dtype)
        context = StatelessSymbolicContext(
            dynamic_sizes=[DimDynamic.STATIC if known else DimDynamic.DYNAMIC for known in fixed]
        )
        made = self._mode.from_tensor(real, source=ConstantSource(value.name), symbolic_context=context)
        self._open[value.name] = tuple(size for size in made.shape if isinstance(size, torch.SymInt))
        return made

    def decided(self) -> str | None:
        """Return the name of an input with an open size that some function took for a number, or None."""
        for name, sizes in self._open.items():
            if any(size.node.expr.is_number for size in sizes):
                return name
        return None

    def run(self, function: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
        """Return what the function makes of the arguments."""
        with self._mode, enable_python_dispatcher():
            return function(*arguments, **keywords)
