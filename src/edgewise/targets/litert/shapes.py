"""Prepares an ONNX graph for onnx2tf: what every sample shows is fixed, and shapes are written out.

A phone asks one question at a time, so a free dimension that is 1 in every sample (the batch, as a rule) becomes
1; all others stay free. Where onnx2tf cannot follow a graph even so, everything that every sample has in common
is fixed: each such dimension, and each input that only ever held one number (`constants`, kept in `io.json`).

onnx2tf 2.6.9 reads free dimensions as 1 in places: a Reshape that copies one ("0"), and a Squeeze beside one,
become files that XNNPACK cannot plan; the padding of a MaxPool is placed wrong. The first two are written as a
Reshape with at most one "-1", the third as a Pad.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewise.errors import missing_extra
from edgewise.targets import Tensors

__all__ = ["fixed"]

_MOVES_NO_DATA = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


def fixed(
    model: onnx.ModelProto, samples: Sequence[Tensors], *, everything: bool
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Return a copy with dimensions fixed as the samples have them, and the inputs that became constants.

    `everything`: not only dimensions that are always 1, but all that never differ, and inputs of one number.
    """
    copy = _copy(model)
    constants = dict(_constants(copy.graph, samples)) if everything else {}
    for value in copy.graph.input:
        _fix(value, [sample[value.name].shape for sample in samples], everything=everything)
    for value in copy.graph.output:  # what follows from the inputs is found again
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.Clear()
    del copy.graph.value_info[:]
    plain = _folded(copy)
    _write_shapes(plain.graph)
    _write_pads(plain.graph)
    return plain, constants


def _constants(graph: onnx.GraphProto, samples: Sequence[Tensors]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Turn inputs that hold one whole number, the same in every sample, into initializers, and yield them."""
    for value in list(graph.input):
        first = samples[0][value.name]
        same = all(np.array_equal(sample[value.name], first) for sample in samples)
        if same and first.size == 1 and first.dtype.kind in "iub" and len(graph.input) > 1:
            graph.input.remove(value)
            graph.initializer.append(numpy_helper.from_array(first, value.name))
            yield value.name, first


def _fix(value: onnx.ValueInfoProto, shapes: Sequence[tuple[int, ...]], *, everything: bool) -> None:
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        sizes = {shape[axis] for shape in shapes}
        free = dim.dim_value <= 0
        if free and (sizes == {1} or (everything and len(sizes) == 1)):
            dim.Clear()
            dim.dim_value = sizes.pop()


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold what is known now, and infer shapes: with onnxslim, which follows them through arithmetic."""
    try:
        import onnxslim
    except ImportError as error:
        raise missing_extra("onnxslim", "lab") from error
    names = [[value.name for value in values] for values in (model.graph.input, model.graph.output)]
    try:
        slim: onnx.ModelProto = onnxslim.slim(_copy(model))
    except Exception:  # noqa: BLE001 - whatever it fails on, the graph is good without it
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    same = names == [[value.name for value in values] for values in (slim.graph.input, slim.graph.output)]
    return slim if same else onnx.shape_inference.infer_shapes(model, data_prop=True)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _write_shapes(graph: onnx.GraphProto) -> None:
    """Give every operator that moves no data a written shape, where at most one dimension is free."""
    known = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}
    for node in graph.node:
        if node.op_type in _MOVES_NO_DATA and node.output[0] in known:
            shape = _shape(known[node.output[0]])
            if shape.count(-1) <= 1 and 0 not in shape:
                name = f"{node.output[0]}/shape"
                graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
                node.op_type = "Reshape"
                node.input[:] = [node.input[0], name]
                del node.attribute[:]


def _write_pads(graph: onnx.GraphProto) -> None:
    """Let a Pad do what pooling over a free dimension would pad, with the smallest of all numbers."""
    known = {value.name: value for value in (*graph.input, *graph.value_info)}
    nodes = []
    for node in graph.node:
        pads = next((list(one.ints) for one in node.attribute if one.name == "pads"), [])
        source = known.get(node.input[0]) if node.op_type == "MaxPool" and len(node.output) == 1 else None
        if source is not None and any(pads) and -1 in _shape(source)[2:]:
            nodes.append(_pad(graph, node, pads))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _pad(graph: onnx.GraphProto, node: onnx.NodeProto, pads: list[int]) -> onnx.NodeProto:
    """Take the padding from a pooling node and return the Pad to put before it."""
    half, name = len(pads) // 2, f"{node.output[0]}/padded"
    amounts = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
    lowest = np.array(np.finfo(np.float32).min, np.float32)
    graph.initializer.append(numpy_helper.from_array(amounts, f"{name}/amounts"))
    graph.initializer.append(numpy_helper.from_array(lowest, f"{name}/value"))
    made = helper.make_node("Pad", [node.input[0], f"{name}/amounts", f"{name}/value"], [name])
    kept = [one for one in node.attribute if one.name != "pads"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.input[0] = name
    return made


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") else -1 for dim in dims]
