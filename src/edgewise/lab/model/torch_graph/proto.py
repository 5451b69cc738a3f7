"""An ONNX model made ready to be translated: functions inlined, inputs fixed, a product and its bias joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.inliner import inline_local_functions

from edgewise.errors import InputError
from edgewise.lab.model.names import distinct
from edgewise.targets.graph import bodies

__all__ = ["attributes", "is_open", "joined", "prepared"]

_PLAIN = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def prepared(
    model: onnx.ModelProto,
    fixed: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, Sequence[int | str | None]],
) -> onnx.ModelProto:
    """Return a copy without local functions, the inputs in `fixed` made constants, those in `shapes` of that shape."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = inline_local_functions(copy)
    _store_constants(copy.graph)
    distinct(copy)
    stored = {tensor.name for tensor in copy.graph.initializer}
    inputs = {value.name: value for value in copy.graph.input}
    if unknown := [name for name in (*fixed, *shapes) if name not in inputs]:
        raise InputError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(inputs)}")
    for name, sizes in shapes.items():
        kind = inputs[name].type.tensor_type.elem_type
        inputs[name].CopyFrom(onnx.helper.make_tensor_value_info(name, kind, list(sizes)))
    for name, array in fixed.items():
        copy.graph.initializer.append(numpy_helper.from_array(array, name))
        stored.add(name)
    fed = [value for value in copy.graph.input if value.name not in stored]
    del copy.graph.input[:]
    copy.graph.input.extend(fed)
    return copy


def is_open(size: int | str | None) -> bool:
    """Whether a declared size may change: it is a name, unknown, or the 0 some exporters write for unknown."""
    return not isinstance(size, int) or size == 0


def _store_constants(graph: onnx.GraphProto) -> None:
    """Make every Constant node an initializer of its graph: exporters differ in where they keep weights."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            graph.initializer.append(_tensor(node))
            continue
        for body in bodies(node):
            _store_constants(body)
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _tensor(node: onnx.NodeProto) -> onnx.TensorProto:
    held, name = node.attribute[0], node.output[0]
    if held.name == "value":
        made = onnx.TensorProto()
        made.CopyFrom(held.t)
        made.name = name
        return made
    if held.name not in _PLAIN:
        raise InputError(f"Constant {name!r} holds {held.name}, which the importer lacks")
    return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(held), _PLAIN[held.name]), name)


def joined(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes, each MatMul that only an Add of a constant vector follows made one of three inputs."""
    vectors = {tensor.name: tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 1}
    matrices = {tensor.name: tensor.dims[1] for tensor in graph.initializer if len(tensor.dims) == 2}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    followers = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    dropped: set[str] = set()
    nodes = []
    for node in graph.node:
        made = node
        if node.op_type == "MatMul" and node.input[1] in matrices and uses[node.output[0]] == 1:
            add = followers.get(node.output[0])
            bias = next((name for name in add.input if name in vectors), None) if add else None
            if add and bias and vectors[bias] == matrices[node.input[1]]:
                made = onnx.NodeProto()
                made.CopyFrom(node)
                made.input.append(bias)
                made.output[0] = add.output[0]
                dropped.add(add.output[0])
        nodes.append(made)
    return [node for node in nodes if not (node.op_type == "Add" and node.output[0] in dropped)]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes as Python values. A tensor of one element becomes that number, and its type."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.type == onnx.AttributeProto.TENSOR:
            array = numpy_helper.to_array(value)
            found[attribute.name] = array.item() if array.size == 1 else array
            found[f"{attribute.name}_dtype"] = value.data_type
        elif isinstance(value, bytes):
            found[attribute.name] = value.decode()
        elif attribute.type == onnx.AttributeProto.STRINGS:
            found[attribute.name] = [item.decode() for item in value]
        elif attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
            found[attribute.name] = list(value)
        else:
            found[attribute.name] = value
    return found
