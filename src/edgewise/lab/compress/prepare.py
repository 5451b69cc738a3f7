"""ONNX files for the compression tools: read, written, and brought into the form they all understand.

Exporters put weights in initializers or in Constant nodes (Paddle's does), and quantizers look at
initializers only: over a Paddle model NNCF reports success and leaves every weight as it was. It also
stumbles over casts of constants, and per-channel scales need opset 13.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgewise.targets.graph import PROTOBUF_LIMIT, bodies

__all__ = ["is_large", "prepared", "read", "save"]

_PER_CHANNEL_OPSET = 13


def read(path: Path) -> onnx.ModelProto:
    """Return the model with its external data in memory."""
    return onnx.load(str(path))


def is_large(model: onnx.ModelProto) -> bool:
    """Tell whether the model is too large for one protobuf message: its weights then need a second file."""
    return int(model.ByteSize()) > PROTOBUF_LIMIT


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model to `path`; weights beyond protobuf's 2 GB go to `<name>.data` beside it."""
    large = is_large(model)
    location = f"{path.name}.data" if large else None
    onnx.save(model, str(path), save_as_external_data=large, location=location)


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with its constants in initializers, at opset 13 or above where it can be converted."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _store_constants(copy.graph)
    return _raised(copy)


def _store_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes, and casts of constants, into initializers of the same name, in bodies too."""
    outputs = {value.name for value in graph.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        for body in bodies(node):
            _store_constants(body)
        # A graph output has to be made by a node: an initializer may not be one in every runtime.
        tensor = None if outputs.intersection(node.output) else _constant(node, stored)
        if tensor is None:
            kept.append(node)
        else:
            stored[tensor.name] = tensor
            graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)


def _constant(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> onnx.TensorProto | None:
    """Return what `node` makes when that is known beforehand."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Constant":
        return _held_tensor(node.attribute[0], node.output[0])
    if node.op_type == "Cast" and node.input[0] in stored:
        wanted = next(attribute.i for attribute in node.attribute if attribute.name == "to")
        if onnx.TensorProto.STRING not in (wanted, stored[node.input[0]].data_type):
            array = numpy_helper.to_array(stored[node.input[0]])
            return numpy_helper.from_array(
                array.astype(helper.tensor_dtype_to_np_dtype(wanted)), node.output[0]
            )
    return None


def _held_tensor(attribute: onnx.AttributeProto, name: str) -> onnx.TensorProto | None:
    match attribute.name:
        case "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(attribute.t)
            tensor.name = name
            return tensor
        case "value_float" | "value_floats":
            value = attribute.f if attribute.name == "value_float" else attribute.floats
            return numpy_helper.from_array(np.asarray(value, np.float32), name)
        case "value_int" | "value_ints":
            value = attribute.i if attribute.name == "value_int" else attribute.ints
            return numpy_helper.from_array(np.asarray(value, np.int64), name)
    return None


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= _PER_CHANNEL_OPSET or is_large(model):
        return model
    try:
        converted = onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET)
    except Exception:  # noqa: BLE001 - raises RuntimeError, ValueError and its own; the tools say what they need
        return model
    assert isinstance(converted, onnx.ModelProto)
    return converted
