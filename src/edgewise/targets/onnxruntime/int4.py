"""MatMul weights in blocks of 4 bits (the operator MatMulNBits), by ONNX Runtime's own quantizers.

    source → the other weights in int8 → Gemm as MatMul and Add → rounding → MatMulNBits

Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import InputError, ToolchainError, missing_extra
from edgewise.targets.building import Job, WeightInt8
from edgewise.targets.graph import nodes, write
from edgewise.targets.onnxruntime import gathered, gptq
from edgewise.targets.onnxruntime.recipes import Int4Blocks

__all__ = ["compress"]

_DOMAIN = "com.microsoft"
_SMALLEST = 4096
"""Weights of a matrix below which it stays in int8: scales eat the gain, and a small last layer decides a lot."""


def compress(method: Int4Blocks, job: Job, destination: Path) -> None:
    """Write the job's source with MatMul weights in 4 bits and what else is large in int8.

    Raises ToolchainError where no weight can be stored in 4 bits, and where a rounding needs what is not installed;
    InputError for a rounding that has no symmetric form.
    """
    if method.symmetric and method.rounding in ("k-quant", "hqq"):
        raise InputError(
            f"the rounding {method.rounding} is never symmetric: leave that out, or take rtn or gptq"
        )
    graph = onnx.load(job.prepared()).graph
    chosen = [node.output[0] for node in _matrices(graph, method.block)]
    gathers = gathered.tables(graph, method.block) if method.tables == "int4" else []
    chosen, gathers = ([one for one in found if one not in method.protected] for found in (chosen, gathers))
    if not (chosen or gathers):
        raise ToolchainError(
            f"no MatMul or Gemm of this model has {_SMALLEST} weights in blocks of {method.block} or more, and no "
            "other operator (such as a convolution) can hold 4 bits here: take an int8 method"
        )
    model = onnx.load(_others_in_int8(job, (*chosen, *gathers, *method.protected)))
    gathered.store(model.graph, gathers, method.block)
    names = _split_gemms(model.graph, chosen)
    _name_the_others(model.graph)
    made = _rounded(model, method, names, job) if names else model
    _settle(made, method.accuracy_level)
    write(made, destination)


def _matrices(graph: onnx.GraphProto, block: int) -> Iterator[onnx.NodeProto]:
    """Yield the operators whose weights fit: float matrices, constant, with at least one block of inputs."""
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in stored:
            continue
        shape = list(stored[node.input[1]].dims)
        flipped = node.op_type == "Gemm" and _value(node, "transB", 0)
        plain = node.op_type == "MatMul" or all(
            _value(node, name, default) == default
            for name, default in (("transA", 0), ("alpha", 1.0), ("beta", 1.0))
        )
        if plain and len(shape) == 2 and shape[flipped] >= block and shape[0] * shape[1] >= _SMALLEST:
            yield node


def _value(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = (helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name)
    return next(found, default)


def _others_in_int8(job: Job, spared: tuple[str, ...]) -> Path:
    """Return the source with every other large weight in int8; as it was where there is none."""
    try:
        return job.onnx(WeightInt8(protected=spared))
    except ValueError:
        return job.prepared()


def _split_gemms(graph: onnx.GraphProto, chosen: Collection[str]) -> list[str]:
    """Write each chosen Gemm as MatMul and Add; name the MatMuls of all that are chosen, and return the names."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    listed, names = list[onnx.NodeProto](), list[str]()
    for node in graph.node:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        if node.output[0] in chosen:
            copy.name = f"{node.output[0]}/int4"
            names.append(copy.name)
        listed.extend(
            _split(graph, copy, stored) if copy.name in names and copy.op_type == "Gemm" else [copy]
        )
    del graph.node[:]
    graph.node.extend(listed)
    return names


def _split(
    graph: onnx.GraphProto, node: onnx.NodeProto, stored: Mapping[str, TensorProto]
) -> Iterator[onnx.NodeProto]:
    source, weight, *bias = node.input
    if _value(node, "transB", 0):
        turned = np.ascontiguousarray(numpy_helper.to_array(stored[weight]).T)
        weight = f"{node.output[0]}/turned"
        graph.initializer.append(numpy_helper.from_array(turned, weight))
    made = f"{node.output[0]}/product" if bias else node.output[0]
    yield helper.make_node("MatMul", [source, weight], [made], node.name)
    if bias:
        yield helper.make_node("Add", [made, *bias], [node.output[0]], f"{node.name}/bias")


def _name_the_others(graph: onnx.GraphProto) -> None:
    """Give every MatMul a name: the quantizers are told by name which to leave alone."""
    for node in nodes(graph):
        if node.op_type == "MatMul":
            node.name = node.name or f"{node.output[0]}/float"


def _rounded(model: onnx.ModelProto, method: Int4Blocks, names: Sequence[str], job: Job) -> onnx.ModelProto:
    """Replace the MatMuls of these names by MatMulNBits, and leave all others as they are."""
    try:
        from onnxruntime.quantization import matmul_nbits_quantizer as library
    except ImportError as error:
        raise missing_extra("onnx-ir, which ONNX Runtime's 4-bit quantizer needs,", "lab") from error
    if method.rounding == "gptq":
        gptq.round_weights(
            model, names, job.calibration, job.work, block=method.block, symmetric=method.symmetric
        )
    config = None
    if method.rounding == "k-quant":
        config = library.KQuantWeightOnlyQuantConfig()
    elif method.rounding == "hqq":
        _need_torch()
        config = library.HQQWeightOnlyQuantConfig(block_size=method.block, bits=4)
    others = [node.name for node in nodes(model.graph) if node.op_type == "MatMul" and node.name not in names]
    quantizer = library.MatMulNBitsQuantizer(
        model,
        block_size=method.block,
        is_symmetric=method.symmetric,
        accuracy_level=method.accuracy_level or None,
        nodes_to_exclude=others,
        algo_config=config,
    )
    quantizer.process()
    made = quantizer.model.model
    assert isinstance(made, onnx.ModelProto)
    return made


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise missing_extra("torch, which the rounding hqq needs,", "torch")


def _settle(model: onnx.ModelProto, accuracy_level: int) -> None:
    """Say what some roundings leave out: the operator's domain, and how it multiplies; drop what nobody reads."""
    if not any(entry.domain == _DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    for node in nodes(model.graph):
        if node.op_type == "MatMulNBits" and accuracy_level and not _value(node, "accuracy_level", 0):
            node.attribute.append(helper.make_attribute("accuracy_level", accuracy_level))
    used = {name for node in nodes(model.graph) for name in node.input}
    used.update(value.name for value in model.graph.output)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
