"""The proof: ONNX Runtime and the imported module answer the same requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgewise.bundle.golden import compare
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.runtime import open_session, reason
from edgewise.lab.model.runtime import run as run_original
from edgewise.targets.graph import spec

__all__ = ["TOLERANCE", "answers", "check", "random_feeds"]

Feed = Mapping[str, NDArray[Any]]

TOLERANCE = 1e-4
"""Largest root mean square of the differences of an output, relative to that of the output."""

_OPEN = (2, 3, 5)
"""Sizes that random requests give to dimensions the model leaves open, one request each."""


def random_feeds(model: onnx.ModelProto, seed: int = 0) -> list[dict[str, NDArray[Any]]]:
    """Return a few requests by the model's declared shapes: normal floats, integers 0 and 1, booleans."""
    random = np.random.default_rng(seed)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [spec(value) for value in model.graph.input if value.name not in stored]
    feeds = []
    for size in _OPEN:
        feed: dict[str, NDArray[Any]] = {}
        for item in inputs:
            shape = [length if isinstance(length, int) and length else size for length in item.shape]
            dtype = np.dtype(item.dtype)
            values = random.standard_normal(shape) if dtype.kind == "f" else random.integers(0, 2, shape)
            feed[item.name] = np.asarray(values, dtype)
        feeds.append(feed)
    return feeds


def answers(model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[dict[str, NDArray[Any]]]:
    """Return what ONNX Runtime answers; raise InputError when it can't."""
    names = [value.name for value in model.graph.output]
    try:
        session = open_session(model)
        return [run_original(session, feed, names) for feed in feeds]
    except Exception as error:
        raise InputError(f"the model does not run on the sample requests: {reason(error)}") from error


def check(
    module: torch.nn.Module, model: onnx.ModelProto, feeds: Sequence[Feed], expected: Sequence[Feed]
) -> None:
    """Raise ToolchainError naming the output and how far it is off where the module answers otherwise."""
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    actual = [
        dict(zip(outputs, _run(module, [feed[name] for name in inputs]), strict=True)) for feed in feeds
    ]
    for name in outputs:
        wanted = [{name: case[name]} for case in expected]
        got = [{name: case[name]} for case in actual]
        for (one,), (other,) in zip((w.values() for w in wanted), (g.values() for g in got), strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise ToolchainError(
                    f"the imported module's output {name!r} is {other.dtype}{list(other.shape)} where ONNX Runtime "
                    f"answers {one.dtype}{list(one.shape)}"
                )
        difference = compare(wanted, got)
        if not difference.rms <= TOLERANCE:
            raise ToolchainError(
                f"the imported module's output {name!r} differs from ONNX Runtime's by {difference.rms:.2g} "
                f"(rms, relative), and {TOLERANCE:g} is allowed"
            )


def _run(module: torch.nn.Module, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        with torch.no_grad():
            made = module(*(torch.from_numpy(np.array(array)) for array in arrays))
    except Exception as error:
        raise ToolchainError(
            f"the imported module does not run on the sample requests: {reason(error)}"
        ) from error
    found = made if isinstance(made, tuple) else (made,)
    return [item.numpy() for item in found]
