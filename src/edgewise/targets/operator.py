"""An operator of an ONNX graph with what its file says about it: types, shapes, constants, attributes.

Nothing is run. What is unknown is None, so that a rule over it stays undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from edgewise.targets.graph import bodies

__all__ = ["Operator", "operators"]

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A node; `since` is the opset that defined its type as it is used here, 0 where ONNX does not define it.

    `within` is the type of the operator whose body holds it ("If"), empty in the main graph.
    """

    node: onnx.NodeProto = field(repr=False)
    within: str
    schema: Any
    values: Mapping[str, onnx.TypeProto.Tensor] = field(repr=False)
    constants: Mapping[str, onnx.TensorProto] = field(repr=False)

    @property
    def type(self) -> str:
        """Return "Conv", or with its domain "com.microsoft.QLinearConv"."""
        return f"{self.domain}.{self.node.op_type}" if self.domain != "ai.onnx" else str(self.node.op_type)

    @property
    def domain(self) -> str:
        """Return the domain of its type; ONNX's own is "ai.onnx"."""
        return self.node.domain or "ai.onnx"

    @property
    def since(self) -> int:
        """Return the opset that last changed its type, 0 where ONNX does not define it."""
        return int(self.schema.since_version) if self.schema else 0

    def input(self, position: int) -> str:
        """Return the name of an input, empty when it is left out."""
        return self.node.input[position] if position < len(self.node.input) else ""

    def inputs(self) -> Iterator[tuple[str, str]]:
        """Yield (what ONNX calls the input, the tensor's name) of each input given, of variadic ones the first."""
        for formal, name in zip(self.schema.inputs if self.schema else (), self.node.input, strict=False):
            if name:
                yield formal.name, name

    def shape(self, position: int) -> Shape | None:
        """Return an input's shape, None for each dimension without a value, or None for one of unknown rank."""
        name = self.input(position)
        if name in self.constants:
            return tuple(self.constants[name].dims)
        value = self.values.get(name)
        if value is None or not value.HasField("shape"):
            return None
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.shape.dim)

    def dtype(self, position: int) -> int | None:
        """Return an input's ONNX element type."""
        name = self.input(position)
        if name in self.constants:
            return int(self.constants[name].data_type)
        return int(self.values[name].elem_type) or None if name in self.values else None

    def constant(self, position: int) -> bool:
        """Whether an input is stored in the model."""
        return self.input(position) in self.constants

    def value(self, position: int) -> NDArray[Any] | None:
        """Return a stored input."""
        tensor = self.constants.get(self.input(position))
        return None if tensor is None else onnx.numpy_helper.to_array(tensor)

    def attribute(self, name: str) -> Any:
        """Return an attribute's value, else its default, else None; text comes decoded."""
        found = next((given for given in self.node.attribute if given.name == name), None)
        if found is None and self.schema and name in self.schema.attributes:
            found = self.schema.attributes[name].default_value
        if found is None or not found.type:
            return None
        value = onnx.helper.get_attribute_value(found)
        return value.decode() if isinstance(value, bytes) else value


def operators(model: onnx.ModelProto) -> Iterator[Operator]:
    """Yield every operator of `model` but Constants in file order, each followed by those of its bodies."""
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    yield from _operators(model.graph, "", opsets, {}, {})


def _operators(
    graph: onnx.GraphProto,
    within: str,
    opsets: Mapping[str, int],
    values: Mapping[str, onnx.TypeProto.Tensor],
    constants: Mapping[str, onnx.TensorProto],
) -> Iterator[Operator]:
    infos = (*graph.input, *graph.value_info, *graph.output)
    values = {**values, **{info.name: info.type.tensor_type for info in infos}}
    constants = {**constants, **dict(_constants(graph))}
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        yield Operator(node, within, _schema(node, opsets), values, constants)
        for body in bodies(node):
            yield from _operators(body, node.op_type, opsets, values, constants)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], held.t) for held in node.attribute if held.HasField("t"))


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int]) -> Any:
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain or "ai.onnx", 1), domain)
    except onnx.defs.SchemaError:
        return None
