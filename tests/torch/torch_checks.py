"""What tests in this folder ask of an imported module: its answers, alone and after torch.export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgewise.bundle.golden import compare
from edgewise.lab.model.runtime import open_session
from edgewise.lab.model.torch_graph import dynamic_shapes
from edgewise.targets.graph import spec

Feed = Mapping[str, NDArray[Any]]


def feed(proto: onnx.ModelProto, sizes: Mapping[str, int], seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return normal values (0 … 7 where integers are asked for), each open size as in `sizes`."""
    random = np.random.default_rng(seed)
    made = {}
    for item in map(spec, proto.graph.input):
        shape = [sizes[size] if isinstance(size, str) else int(size or 2) for size in item.shape]
        values = (
            random.standard_normal(shape) if item.dtype.startswith("float") else random.integers(0, 8, shape)
        )
        made[item.name] = np.asarray(values, item.dtype)
    return made


def original(proto: onnx.ModelProto, given: Feed) -> dict[str, NDArray[Any]]:
    """Return what ONNX Runtime answers."""
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, open_session(proto).run(names, dict(given)), strict=True))


def answer(module: torch.nn.Module, proto: onnx.ModelProto, given: Feed) -> dict[str, NDArray[Any]]:
    """Return what the module answers to the inputs it takes."""
    with torch.no_grad():
        made = module(*tensors(proto, given))
    found: Sequence[Any] = made if isinstance(made, tuple) else (made,)
    return {value.name: item.numpy() for value, item in zip(proto.graph.output, found, strict=True)}


def tensors(proto: onnx.ModelProto, given: Feed) -> tuple[torch.Tensor, ...]:
    """Return the inputs in the graph's order."""
    return tuple(
        torch.from_numpy(given[value.name].copy()) for value in proto.graph.input if value.name in given
    )


def off(module: torch.nn.Module, proto: onnx.ModelProto, given: Feed) -> float:
    """Return how far the module's answers are from ONNX Runtime's: rms, relative, of the worst output."""
    return compare([original(proto, given)], [answer(module, proto, given)]).rms


def exported(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> torch.nn.Module:
    """Return the module after torch.export, every size that the ONNX model leaves open left open."""
    program = torch.export.export(module, example, dynamic_shapes=dynamic_shapes(module))
    back: torch.nn.Module = program.module()
    return back
