"""Walks over an ONNX graph: every node and tensor, nested bodies included.

If, Loop and Scan keep their bodies in attributes, so a flat loop over ``graph.node`` misses them.
Source: ONNX IR specification, https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import onnx

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError

__all__ = [
    "PROTOBUF_LIMIT",
    "attribute_tensors",
    "bodies",
    "bytes_of",
    "constants",
    "dtype_name",
    "initializers",
    "nodes",
    "spec",
    "tensors",
    "write",
]

PROTOBUF_LIMIT = 2_000_000_000
"""Bytes: a protobuf message above it can't be serialised, so it can't cross into C++ in memory."""

_PACKED_BITS = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
_UNKNOWN = frozenset({"", "?", "-1"})


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that `node` holds in its attributes (If, Loop, Scan, SequenceMap)."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of `graph` in file order, each followed by the nodes of its bodies."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes(body)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every stored tensor: initializers and attributes, in bodies and functions too."""
    yield from _initializers(model.graph)
    for node in chain(nodes(model.graph), *(function.node for function in model.functions)):
        for attribute in node.attribute:
            yield from attribute_tensors(attribute)
        for body in bodies(node):
            yield from _initializers(body)


def initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the dense initializers of `graph` and of the bodies in it."""
    yield from graph.initializer
    for node in graph.node:
        for body in bodies(node):
            yield from initializers(body)


def constants(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all tensors that do not depend on the inputs."""
    found = {tensor.name for tensor in initializers(graph)}
    for node in nodes(graph):
        if all(name in found for name in node.input) and node.op_type not in ("If", "Loop", "Scan"):
            found.update(node.output)
    return found


def attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors an attribute holds; a sparse one gives its values, then its indices."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("sparse_tensor"):
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write the model to `path`; weights beyond protobuf's 2 GB go to `<name>.data` beside it."""
    large = int(model.ByteSize()) > PROTOBUF_LIMIT
    location = f"{path.name}.data" if large else None
    onnx.save(model, str(path), save_as_external_data=large, location=location)


def dtype_name(element: int) -> str:
    """Return the numpy name of an ONNX element type: 'float32', 'int4', 'bool' or 'str', for example.

    Raises InputError for one that this version of ONNX doesn't define.
    """
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
    except KeyError as error:
        raise InputError(f"the model has a tensor of unknown type {element}: export it again") from error
    return "str" if dtype == np.dtype(object) else dtype.name


def bytes_of(dtype: str, elements: int) -> int:
    """Return the bytes of `elements` values; 2- and 4-bit types are packed, text counts as 0."""
    if dtype == "str":
        return 0
    bits = _PACKED_BITS.get(dtype) or 8 * onnx.helper.tensor_dtype_to_np_dtype(_element(dtype)).itemsize
    return (elements * bits + 7) // 8


def _element(dtype: str) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Return name, dtype and shape of a tensor; a dimension without a value or name is None."""
    tensor = value.type.tensor_type
    shape = tuple(_dimension(dim) for dim in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype_name(tensor.elem_type), shape=shape)


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.WhichOneof("value") == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    # Paddle writes '?' for every unknown dimension: two of them need not be equal.
    return None if dim.dim_param in _UNKNOWN else str(dim.dim_param)
