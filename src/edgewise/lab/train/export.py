"""A trained net back to ONNX: in the original's names, types and open sizes, simplified, and compared with the net.

torch's exporter names open sizes its own way and notes where in the source each operator stood; both go, so that the
same weights give the same bytes everywhere.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from edgewise.bundle.golden import compare
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import ToolchainError, missing_extra
from edgewise.lab.compress.prepare import save
from edgewise.lab.model.load import OnnxModel, load
from edgewise.lab.model.runtime import open_session, reason, run
from edgewise.lab.model.simplify import simplify
from edgewise.lab.train.fit import outputs

__all__ = ["example_of", "to_onnx"]

Feed = dict[str, NDArray[Any]]

_TOLERANCE = 1e-4


def to_onnx(net: nn.Module, original: OnnxModel, feeds: Sequence[Feed], path: Path) -> OnnxModel:
    """Write `net` to `path` in the original's signature, and return the model as it is read back.

    Raises ToolchainError when torch cannot export it, or ONNX Runtime answers otherwise than the net on `feeds`.
    """
    net = net.cpu().eval()
    proto = _exported(net, original, example_of(original, feeds))
    _signed(proto, original)
    save(proto, path)
    slim = simplify(load(path), feeds)
    save(slim.model, path)
    model = load(path)
    _check(net, model, feeds)
    return model


def example_of(original: OnnxModel, feeds: Sequence[Feed]) -> tuple[Tensor, ...]:
    """Return inputs whose open sizes are 2 or more: torch.export takes a 1 for a size that never changes."""
    largest = max(feeds, key=lambda feed: sum(array.size for array in feed.values()))
    return tuple(torch.from_numpy(_grown(largest[spec.name], spec)) for spec in original.inputs)


def _grown(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    for axis, size in enumerate(spec.shape):
        if not isinstance(size, int) and array.shape[axis] == 1:
            array = np.concatenate([array, array], axis)
    return np.array(array, order="C")


def _exported(net: nn.Module, original: OnnxModel, example: tuple[Tensor, ...]) -> onnx.ModelProto:
    shapes = tuple(
        {axis: Dim.DYNAMIC for axis, size in enumerate(spec.shape) if not isinstance(size, int)}
        for spec in original.inputs
    )
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                net,
                example,
                input_names=[spec.name for spec in original.inputs],
                output_names=[spec.name for spec in original.outputs],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise missing_extra("onnxscript", "train") from error
    except Exception as error:
        raise ToolchainError(f"torch does not export the trained net: {reason(error)}") from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def _signed(proto: onnx.ModelProto, original: OnnxModel) -> None:
    """Give the graph the original's inputs and outputs, also those that the net does not use, and no traces."""
    graph, declared = proto.graph, original.proto.graph
    by_name = {value.name: value for value in declared.input}
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(by_name[spec.name] for spec in original.inputs)
    graph.output.extend(declared.output)
    for part in (proto, graph, *graph.node, *graph.input, *graph.output):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def _check(net: nn.Module, model: OnnxModel, feeds: Sequence[Feed]) -> None:
    session, names = open_session(model.proto), [spec.name for spec in model.outputs]
    wanted, got = [], []
    for feed in feeds:
        given = tuple(torch.from_numpy(np.array(feed[spec.name])) for spec in model.inputs)
        with torch.no_grad():
            made = outputs(net, given)
        wanted.append({name: item.numpy() for name, item in zip(names, made, strict=True)})
        got.append(run(session, feed, names))
    difference = compare(wanted, got).rms
    if not difference <= _TOLERANCE:
        raise ToolchainError(
            f"the exported student's answers differ from the trained one's by {difference:.2g}"
        )
