"""Shape and type of every tensor in a graph: ONNX's inference first, one run in ONNX Runtime for the rest.

Weights are left out of inference (it needs their shapes only), so this part works on models of any size.
A run needs the whole graph in one protobuf message, which models of 2 GB and more don't fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewise.lab.model.runtime import Arrays, open_session, reason, run
from edgewise.targets.graph import bodies, bytes_of, dtype_name

__all__ = ["InfeasibleError", "Value", "evaluate", "infer", "made_up", "missing"]

Shapes = Mapping[str, tuple[int, ...]]

# Elements: constants up to this size may be axes, scales or shapes, whose values inference reads.
_SMALL = 1024


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor's numpy dtype name and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size in bytes, 4-bit types packed."""
        return bytes_of(self.dtype, math.prod(self.shape))


class InfeasibleError(Exception):
    """The graph can't be run with these sizes, or not at all."""


def infer(proto: onnx.ModelProto, shapes: Shapes) -> dict[str, Value]:
    """Return what ONNX's shape inference finds with the inputs fixed to `shapes`, bodies included."""
    try:
        inferred = onnx.shape_inference.infer_shapes(_skeleton(proto, shapes), data_prop=True)
    except Exception:  # noqa: BLE001 - a graph it can't infer is run instead
        return {}
    values: dict[str, Value] = {}
    _collect(inferred.graph, values)
    return values


def evaluate(
    proto: onnx.ModelProto, shapes: Shapes, feeds: Mapping[str, NDArray[Any]], names: Iterable[str]
) -> Arrays:
    """Run the graph once, unoptimised, and return the tensors in `names`. Raises InfeasibleError."""
    wanted = list(names)
    if not wanted:
        return {}
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _fix_inputs(copy.graph, shapes)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    try:
        return run(open_session(copy, optimise=False), feeds, wanted)
    except Exception as error:
        raise InfeasibleError(reason(error)) from error


def missing(graph: onnx.GraphProto, values: Mapping[str, Value]) -> list[str]:
    """Return the outputs of top-level nodes without a usable shape: empty ones can be inference's slip."""
    produced = (name for node in graph.node for name in node.output if name)
    return [name for name in produced if name not in values or 0 in values[name].shape]


def made_up(inputs: Iterable[onnx.ValueInfoProto], shapes: Shapes, number: int) -> Arrays:
    """Return an array filled with `number` (text: "a") for each input."""
    feeds: Arrays = {}
    for value in inputs:
        if value.name in shapes:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            filler = "a" if dtype == np.dtype(object) else number
            feeds[value.name] = np.full(shapes[value.name], filler, dtype=dtype)
    return feeds


def _skeleton(proto: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """Return the model without old shape notes, large weights turned into inputs of their shape."""
    graph = onnx.GraphProto(name=proto.graph.name)
    graph.input.extend(value for value in proto.graph.input if value.name in shapes)
    for node in proto.graph.node:
        value = next((a.t for a in node.attribute if a.HasField("t")), None)
        if node.op_type == "Constant" and value is not None and math.prod(value.dims) > _SMALL:
            graph.input.append(_typed(node.output[0], value.data_type, value.dims))
        else:
            graph.node.append(node)
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) > _SMALL:
            graph.input.append(_typed(tensor.name, tensor.data_type, tensor.dims))
        else:
            graph.initializer.append(tensor)
    graph.output.extend(_typed(o.name, o.type.tensor_type.elem_type, None) for o in proto.graph.output)
    _fix_inputs(graph, shapes)
    return onnx.helper.make_model(
        graph, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4)
    )


def _typed(name: str, element: int, shape: Iterable[int] | None) -> onnx.ValueInfoProto:
    dims = None if shape is None else list(shape)
    return onnx.helper.make_tensor_value_info(name, element, dims)


def _fix_inputs(graph: onnx.GraphProto, shapes: Shapes) -> None:
    del graph.value_info[:]
    fixed = {value.name: value for value in graph.input if value.name in shapes}
    for name, value in fixed.items():
        value.CopyFrom(_typed(name, value.type.tensor_type.elem_type, shapes[name]))


def _collect(graph: onnx.GraphProto, values: dict[str, Value]) -> None:
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        if tensor.elem_type and known and all(d.dim_value >= 0 for d in tensor.shape.dim):
            values[info.name] = Value(
                dtype_name(tensor.elem_type), tuple(d.dim_value for d in tensor.shape.dim)
            )
    for stored in graph.initializer:
        values[stored.name] = Value(dtype_name(stored.data_type), tuple(stored.dims))
    for node in graph.node:
        for body in bodies(node):
            _collect(body, values)
