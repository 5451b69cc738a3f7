"""Transformers' patterns as one operator each, by onnxruntime.transformers.optimizer, without what it needs torch for.

Its patterns are those of exporters; simplifiers join two Unsqueezes in a row into one, and its attention, which looks
for two behind the mask, then finds none. So they are taken apart first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgewise.errors import ToolchainError, missing_extra
from edgewise.targets.graph import write

__all__ = ["fuse"]

_FUSED = frozenset(
    {
        "Attention",
        "BiasGelu",
        "EmbedLayerNormalization",
        "FastGelu",
        "Gelu",
        "LayerNormalization",
        "MultiHeadAttention",
        "SkipLayerNormalization",
    }
)


def fuse(source: Path, destination: Path, kept: Collection[str] = ()) -> Path:
    """Write `source`, whose constants are initializers, with what can be fused as one operator; return `destination`.

    The optimizer finds out the number of heads by itself. Raises ToolchainError where nothing was fused, and where
    a tensor in `kept` is gone, as its operator became a part of another.
    """
    try:
        from onnxruntime.transformers import optimizer
    except ImportError as error:
        raise missing_extra("onnx, which ONNX Runtime's optimizer needs,", "lab") from error
    model = onnx.load(source)
    before = _fused(model)
    _take_apart(model.graph)
    # Level 0: its own fusions only. Above it, ONNX Runtime is asked first, by way of torch.
    made = optimizer.optimize_model(model, model_type="bert", num_heads=0, hidden_size=0, opt_level=0).model
    if not _fused(made) - before:
        raise ToolchainError(
            "nothing to fuse: no attention, skip connection, normalisation or GELU of this model has a form that "
            "ONNX Runtime's optimizer knows"
        )
    if lost := set(kept).difference(name for node in made.graph.node for name in node.output):
        raise ToolchainError(
            f"fusing takes away layers that are to stay as they are: {', '.join(sorted(lost))}"
        )
    _settle(made, model.producer_name, model.producer_version)
    write(made, destination)
    return destination


def _fused(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node if node.op_type in _FUSED)


def _take_apart(graph: onnx.GraphProto) -> None:
    """Replace each Unsqueeze of several axes, counted from the front, by one for each axis."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    listed: list[onnx.NodeProto] = []
    for node in graph.node:
        axes = _axes(node, stored)
        if len(axes) > 1 and min(axes) >= 0:
            listed.extend(_one_by_one(graph, node, axes))
        else:
            listed.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(listed)


def _axes(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> list[int]:
    if node.op_type != "Unsqueeze" or len(node.input) < 2 or node.input[1] not in stored:
        return []
    return [int(axis) for axis in numpy_helper.to_array(stored[node.input[1]]).reshape(-1)]


def _one_by_one(graph: onnx.GraphProto, node: onnx.NodeProto, axes: list[int]) -> Iterator[onnx.NodeProto]:
    source, output = node.input[0], node.output[0]
    for place, axis in enumerate(sorted(axes), start=1):
        name = f"{output}/axis {axis}"
        graph.initializer.append(numpy_helper.from_array(np.array([axis], np.int64), name))
        made = output if place == len(axes) else f"{output}/{place} of {len(axes)}"
        yield helper.make_node("Unsqueeze", [source, name], [made], made)
        source = made


def _settle(model: onnx.ModelProto, producer: str, version: str) -> None:
    """Undo what says nothing of the model: the optimizer signs as its producer, and declares domains at random."""
    model.producer_name, model.producer_version = producer, version
    imports = sorted(model.opset_import, key=lambda entry: str(entry.domain))
    copies = [onnx.OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in imports]
    del model.opset_import[:]
    model.opset_import.extend(copies)
