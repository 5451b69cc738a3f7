"""One node as the rules of `registry` see it, and what is known of the tensors between nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from torch import Tensor, fx

from edgewise.lab.model.torch_graph.proto import attributes
from edgewise.lab.model.torch_graph.tree import Constant, Tree

__all__ = ["Computed", "Seen", "Value"]


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A value that depends on the inputs: the fx node that makes it, and what came out when it was tried."""

    node: fx.Node
    seen: Any


Value = Constant | Computed


class Seen:
    """One node as a rule sees it (`registry.Site`)."""

    def __init__(self, value: Callable[[str], Value], node: onnx.NodeProto, opset: int, tree: Tree) -> None:
        self._value, self._node, self._tree = value, node, tree
        self.opset, self.attributes = opset, attributes(node)

    @property
    def all_constant(self) -> bool:
        """Whether no input depends on the model's."""
        return all(isinstance(self._value(name), Constant) for name in self._node.input if name)

    def given(self, index: int) -> bool:
        """Whether input `index` is there."""
        return index < len(self._node.input) and bool(self._node.input[index])

    def constant(self, index: int) -> Any:
        """Return input `index` if it is a constant, else None."""
        value = self._value(self._node.input[index])
        return value.tensor if isinstance(value, Constant) else None

    def parameter(self, index: int, *, transposed: bool = False) -> Any:
        """Return the constant input `index` as an nn.Parameter."""
        value = self._value(self._node.input[index])
        assert isinstance(value, Constant)
        return self._tree.parameter(value, transposed=transposed)

    def rank(self, index: int) -> int:
        """Return the number of dimensions of input `index`."""
        value = self._value(self._node.input[index])
        seen = value.tensor if isinstance(value, Constant) else value.seen
        return seen.dim() if isinstance(seen, Tensor) else int(isinstance(seen, tuple))
