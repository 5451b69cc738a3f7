"""Empirical bias correction: what quantization adds to a channel on average is taken out of the channel's bias.

    float model → quantized once → layer by layer: mean over samples, float − quantized → bias of the float model

The quantizer then runs again, on the float model with these biases and with the same ranges. Layers are corrected in
the order of the graph, each after those before it: what they passed on would otherwise be corrected twice.
Source: Nagel et al. 2019, Data-Free Quantization through Weight Equalization and Bias Correction, section 4.2;
https://arxiv.org/abs/1906.04721.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.targets.building import Samples
from edgewise.targets.graph import write

__all__ = ["corrected"]

_RUNS, _FEWEST, _MOST = 1024, 8, 64
"""Every sample asked is run once for every layer: so many are asked that it comes to about 1024 runs."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer with a bias of its own: the node that multiplies, the one that adds, and where its channels are."""

    weighted: str
    node: str
    output: str
    bias: str
    channels: int
    rank: int | None  # None: channels are the last axis, of how many is not known

    @property
    def mean(self) -> str:
        return f"{self.output}/mean"

    @property
    def shift(self) -> str:
        return f"{self.output}/shift"

    @property
    def zeros(self) -> NDArray[np.float32]:
        return np.zeros((self.channels, *[1] * ((self.rank or 2) - 2)), np.float32)


def corrected(
    source: Path, quantized: Callable[[Path, Path], None], samples: Samples, work: Path
) -> tuple[Path, int]:
    """Return the float model with corrected biases, and how many layers have one.

    `quantized(source, destination)` quantizes a file; layers that it leaves in float keep their bias. Convolutions
    without a bias get one.
    """
    model = onnx.load(source)
    layers = list(_layers(model.graph))
    biased, once = work / "biased.onnx", work / "once.onnx"
    write(model, biased)
    quantized(biased, once)
    layers = _quantized(layers, onnx.load(once, load_external_data=False).graph)
    model = onnx.load(biased)
    if layers:
        asked = samples[: max(_FEWEST, min(_MOST, _RUNS // len(layers)))]
        wanted = _means(_measuring(biased, layers, shifted=False, work=work), layers, asked)
        shifts = _shifts(_measuring(once, layers, shifted=True, work=work), layers, wanted, asked)
        _shift_biases(model.graph, layers, shifts)
    path = work / "corrected.onnx"
    write(model, path)
    return path, len(layers)


def _layers(graph: onnx.GraphProto) -> Iterator[_Layer]:
    """Yield the layers in the order of the graph; each is given a name and a bias that no other reads."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for place, node in enumerate(graph.node):
        node.name = node.name or f"node {place}"
        weighted = _weighted(node, makers, stored)
        if weighted is None:
            continue
        weight, position = stored[weighted.input[1]], _bias_position(node, stored)
        channels = _channels(weighted, weight)
        if position is None and node.op_type == "Conv":
            node.input.extend([""] * (2 - len(node.input)) + [f"{node.output[0]}/bias"])
            array = np.zeros(channels, np.float32)
        elif position is None or list(stored[node.input[position]].dims) != [channels]:
            continue
        else:
            array = numpy_helper.to_array(stored[node.input[position]])
            node.input[position] = f"{node.output[0]}/bias"
        graph.initializer.append(numpy_helper.from_array(array, f"{node.output[0]}/bias"))
        rank = len(weight.dims) if node.op_type == "Conv" else None
        yield _Layer(weighted.name, node.name, node.output[0], f"{node.output[0]}/bias", channels, rank)


def _weighted(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], stored: Mapping[str, TensorProto]
) -> onnx.NodeProto | None:
    """Return the node whose constant float weights make `node` a layer: itself, or the MatMul that it adds to."""
    found: Any = node
    if node.op_type == "Add":
        found = next((makers[name] for name in node.input if name in makers), None)
        if found is None or found.op_type != "MatMul":
            return None
    elif node.op_type not in ("Conv", "Gemm"):
        return None
    tensor = stored.get(found.input[1])
    return found if tensor is not None and tensor.data_type == TensorProto.FLOAT else None


def _bias_position(node: onnx.NodeProto, stored: Mapping[str, TensorProto]) -> int | None:
    positions = range(2) if node.op_type == "Add" else range(2, 3)
    return next((at for at in positions if at < len(node.input) and node.input[at] in stored), None)


def _channels(node: onnx.NodeProto, weight: TensorProto) -> int:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return int(weight.dims[0] if node.op_type == "Conv" or transposed else weight.dims[-1])


def _quantized(layers: Sequence[_Layer], graph: onnx.GraphProto) -> list[_Layer]:
    """Return the layers whose weights are no longer float constants in the quantized graph."""
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    rounded = {node.name for node in graph.node if len(node.input) > 1 and node.input[1] not in stored}
    present = {node.name for node in graph.node}
    return [layer for layer in layers if layer.weighted in rounded and layer.node in present]


def _measuring(path: Path, layers: Sequence[_Layer], *, shifted: bool, work: Path) -> Any:
    """Return a session that gives the mean of every channel of the layers; `shifted`: after adding an input to it."""
    import onnxruntime

    model = onnx.load(path)
    graph = model.graph
    del graph.output[:]
    by_node = {layer.node: layer for layer in layers}
    listed: list[onnx.NodeProto] = []
    for node in graph.node:
        listed.append(onnx.NodeProto.FromString(node.SerializeToString()))
        if (layer := by_node.get(node.name)) is not None:
            listed.extend(_looked_at(graph, layer, listed[-1], shifted=shifted))
    del graph.node[:]
    graph.node.extend(listed)
    measured = work / f"measured-{path.name}"
    write(model, measured)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(measured), options, providers=["CPUExecutionProvider"])


def _looked_at(
    graph: onnx.GraphProto, layer: _Layer, node: onnx.NodeProto, *, shifted: bool
) -> Iterator[onnx.NodeProto]:
    """Yield what stands behind `node`: an input added to its channels, and their mean as an output."""
    output = node.output[0]
    if shifted:
        zeros = layer.zeros
        graph.input.append(helper.make_tensor_value_info(layer.shift, TensorProto.FLOAT, zeros.shape))
        node.output[0] = f"{output}/as made"
        yield helper.make_node("Add", [node.output[0], layer.shift], [output])
    # ReduceMean takes its axes by attribute or by input, as the opset has it; a pool over all places does not ask.
    flat, turned = (
        ([-1, layer.channels], [1, 0]) if layer.rank is None else ([0, layer.channels, -1], [1, 0, 2])
    )
    shapes = {f"{layer.mean}/flat shape": flat, f"{layer.mean}/row shape": [1, layer.channels, -1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()
    )
    steps = [f"{layer.mean}/{step}" for step in ("flat", "turned", "row")]
    yield helper.make_node("Reshape", [output, f"{layer.mean}/flat shape"], [steps[0]])
    yield helper.make_node("Transpose", [steps[0]], [steps[1]], perm=turned)
    yield helper.make_node("Reshape", [steps[1], f"{layer.mean}/row shape"], [steps[2]])
    yield helper.make_node("GlobalAveragePool", [steps[2]], [layer.mean])
    graph.output.append(helper.make_tensor_value_info(layer.mean, TensorProto.FLOAT, None))


def _means(
    session: Any, layers: Sequence[_Layer], samples: Samples, more: Mapping[str, Any] | None = None
) -> list[NDArray[np.float64]]:
    """Return the mean of every channel of the layers over the samples, each of which counts alike."""
    fetch = [layer.mean for layer in layers]
    runs = [session.run(fetch, {**sample, **(more or {})}) for sample in samples]
    return [np.mean([run[at].reshape(-1) for run in runs], axis=0) for at in range(len(layers))]


def _shifts(
    session: Any, layers: Sequence[_Layer], wanted: Sequence[NDArray[Any]], samples: Samples
) -> list[NDArray[np.float32]]:
    shifts = {layer.shift: layer.zeros for layer in layers}
    for layer, mean in zip(layers, wanted, strict=True):
        (found,) = _means(session, [layer], samples, shifts)
        shifts[layer.shift] = (mean - found).astype(np.float32).reshape(layer.zeros.shape)
    return [shifts[layer.shift].reshape(-1) for layer in layers]


def _shift_biases(
    graph: onnx.GraphProto, layers: Sequence[_Layer], shifts: Sequence[NDArray[np.float32]]
) -> None:
    by_bias = {layer.bias: shift for layer, shift in zip(layers, shifts, strict=True)}
    for tensor in graph.initializer:
        if tensor.name in by_bias:
            array = numpy_helper.to_array(tensor) + by_bias[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
