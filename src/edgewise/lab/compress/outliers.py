"""Outlier channels in what dense layers read: whether it pays to move them into the weights before quantizing.

In some transformers a few channels of an activation are 10 to 100 times as wide as the others; one scale for all of
them then leaves the others a few steps. SmoothQuant is for that, and does nothing where there are none. Source: Xiao
et al. 2023, SmoothQuant, section 3; https://arxiv.org/abs/2211.10438.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.lab.compress.prepare import prepared, save
from edgewise.lab.model.runtime import open_session

__all__ = ["outliers"]

_SAMPLES = 8


def outliers(model: onnx.ModelProto, samples: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, float]:
    """Return, for each dense layer by its result, how wide its widest input channel is, the median one being 1.

    Dense: a MatMul or Gemm whose weights are constant. Of `samples` 8 are asked, in one run each; a channel is as
    wide as its largest magnitude in them. Where most channels are always 0 the result is infinite.
    """
    asked = prepared(model)
    layers = dict(_dense(asked.graph))
    if not layers or not samples:
        return {}
    widths = _widths(asked, layers, samples[:_SAMPLES])
    return {result: _ratio(widths[source]) for result, (source, _) in layers.items()}


def _dense(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each dense layer's result, with the tensor it reads and how many channels that has."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in stored or node.input[0] in stored:
            continue
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        shape = list(stored[node.input[1]].dims)
        if len(shape) == 2 and not flags.get("transA"):
            yield node.output[0], (node.input[0], int(shape[1 if flags.get("transB") else 0]))


def _widths(
    model: onnx.ModelProto,
    layers: Mapping[str, tuple[str, int]],
    samples: Sequence[Mapping[str, NDArray[Any]]],
) -> dict[str, NDArray[np.float32]]:
    """Return the largest magnitude of every channel of the tensors that the layers read."""
    sources = dict(layers.values())
    del model.graph.output[:]
    for source, channels in sources.items():
        model.graph.node.extend(_largest(model.graph, source, channels))
        model.graph.output.append(helper.make_tensor_value_info(f"{source}/width", TensorProto.FLOAT, None))
    fetch = [f"{source}/width" for source in sources]
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "asked.onnx")
        session = open_session(str(Path(folder) / "asked.onnx"))
        runs = [session.run(fetch, dict(sample)) for sample in samples]
    return {
        source: np.max([run[at].reshape(-1) for run in runs], axis=0) for at, source in enumerate(sources)
    }


def _largest(graph: onnx.GraphProto, source: str, channels: int) -> Iterator[onnx.NodeProto]:
    """Yield what pools a tensor's magnitudes over all but its last axis; ReduceMax differs from opset to opset."""
    shapes = {f"{source}/flat shape": [-1, channels], f"{source}/row shape": [1, channels, -1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()
    )
    yield helper.make_node("Abs", [source], [f"{source}/magnitude"])
    yield helper.make_node("Reshape", [f"{source}/magnitude", f"{source}/flat shape"], [f"{source}/flat"])
    yield helper.make_node("Transpose", [f"{source}/flat"], [f"{source}/turned"], perm=[1, 0])
    yield helper.make_node("Reshape", [f"{source}/turned", f"{source}/row shape"], [f"{source}/row"])
    yield helper.make_node("GlobalMaxPool", [f"{source}/row"], [f"{source}/width"])


def _ratio(widths: NDArray[np.float32]) -> float:
    median, largest = float(np.median(widths)), float(widths.max())
    return largest / median if median > 0 else (float("inf") if largest > 0 else 1.0)
