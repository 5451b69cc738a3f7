"""Tables (embeddings) in blocks of 4 bits: the operator GatherBlockQuantized unpacks the rows that are asked for.

Memory then holds the table in 4 bits, too. Two values are packed into a byte, the first in its lower half.
Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.GatherBlockQuantized
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.targets.graph import nodes

__all__ = ["store", "tables"]

_SMALLEST = 4096


def tables(graph: onnx.GraphProto, block: int) -> list[str]:
    """Return the results of the Gathers whose tables fit: float matrices that only Gathers read, row by row."""
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    read_otherwise = {name for node in nodes(graph) if node.op_type != "Gather" for name in node.input}
    return [
        node.output[0]
        for node in graph.node
        if node.op_type == "Gather"
        and not any(attribute.name == "axis" and attribute.i for attribute in node.attribute)
        and node.input[0] in stored.keys() - read_otherwise
        and _fits(list(stored[node.input[0]].dims), block)
    ]


def _fits(shape: list[int], block: int) -> bool:
    return len(shape) == 2 and shape[1] % block == 0 and shape[0] * shape[1] >= _SMALLEST


def store(graph: onnx.GraphProto, results: Collection[str], block: int) -> None:
    """Store the tables of the Gathers that make `results` in 4 bits."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    packed = set[str]()
    listed: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] not in results:
            listed.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        table, places = node.input
        names = [f"{table}/int4", f"{table}/int4 scales"]
        if table not in packed:
            arrays = _packed(numpy_helper.to_array(stored[table]), block)
            graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
            packed.add(table)
        listed.append(
            helper.make_node(
                "GatherBlockQuantized",
                [names[0], places, names[1]],
                list(node.output),
                node.name,
                domain="com.microsoft",
                bits=4,
                block_size=block,
                gather_axis=0,
                quantize_axis=1,
            )
        )
    del graph.node[:]
    graph.node.extend(listed)


def _packed(table: NDArray[np.float32], block: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the table with two values in a byte, and a scale for each block; the widest value becomes -8."""
    blocks = table.reshape(len(table), -1, block)
    low, high = blocks.min(axis=2), blocks.max(axis=2)
    widest = np.where(high > -low, high, low)
    scales = np.where(widest == 0, 1, widest / -8).astype(np.float32)
    values = np.clip(np.rint(blocks / scales[..., None]), -8, 7).astype(np.int8).reshape(len(table), -1)
    halves = (values + 8).astype(np.uint8)
    return halves[:, ::2] | (halves[:, 1::2] << 4), scales
