"""From an ONNX model to a torch module that was shown to answer alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewise.errors import EdgewiseError, InputError, ToolchainError, missing_extra
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.torch_graph.proto import is_open, prepared
from edgewise.targets.graph import spec

if TYPE_CHECKING:
    import torch

__all__ = ["dynamic_shapes", "to_torch"]

Feed = Mapping[str, NDArray[Any]]


def to_torch(
    model: OnnxModel | onnx.ModelProto,
    feeds: Sequence[Feed] | None = None,
    *,
    fixed: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
) -> torch.nn.Module:
    """Return `model` as a torch module in eval mode whose answers were compared with ONNX Runtime's.

    `forward` takes the graph's inputs by position, in its order, without those in `fixed` (input name → its value),
    and returns its outputs in order: a tensor, or a tuple of several. Weights are nn.Parameters, in nn.Conv2d,
    nn.Linear and the like where the operator has one. `feeds` are sample requests (input name → array); random
    ones are made up by the declared shapes when there are none. `shapes` (input name → sizes, None where one may
    change) narrows the declared shape of an input where the model leaves open what it relies on.

    Raises InputError naming the operator the importer lacks, or the `If` that depends on data; ToolchainError
    naming the output that differs by more than 1e-4 (rms, relative), or when torch is missing.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_extra("torch", "torch") from error
    from edgewise.lab.model.torch_graph.translate import translate
    from edgewise.lab.model.torch_graph.verify import answers, check, random_feeds

    original = model.proto if isinstance(model, OnnxModel) else model
    ready = prepared(original, _arrays(original, fixed or {}), shapes or {})
    cases = random_feeds(ready) if not feeds else _without(feeds, fixed or {}, ready)
    expected = answers(ready, cases)

    def made(*, symbolic: bool) -> torch.nn.Module:
        module = translate(ready, cases[0], symbolic=symbolic)
        check(module, ready, cases, expected)
        return module

    try:
        module = made(symbolic=True)
    except ToolchainError as first:  # what was concluded from symbolic sizes may be what fails
        try:
            module = made(symbolic=False)
        except EdgewiseError:
            raise first from None
    module.meta["inputs"] = tuple(map(spec, ready.graph.input))
    return module


def dynamic_shapes(module: torch.nn.Module) -> tuple[dict[int, Any], ...]:
    """Return what torch.export takes as `dynamic_shapes` for a module that `to_torch` made: each open size may change.

    The example inputs given to torch.export need sizes of 2 or more there: it takes a 1 for one that never changes.
    """
    from torch.export import Dim

    return tuple(
        {axis: Dim.DYNAMIC for axis, size in enumerate(item.shape) if is_open(size)}
        for item in module.meta["inputs"]
    )


def _arrays(model: onnx.ModelProto, fixed: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the fixed values as arrays of the inputs' types."""
    types = {value.name: spec(value).dtype for value in model.graph.input}
    return {name: np.asarray(value, types.get(name)) for name, value in fixed.items()}


def _without(
    feeds: Sequence[Feed], fixed: Mapping[str, Any], model: onnx.ModelProto
) -> list[dict[str, NDArray[Any]]]:
    """Return the requests without fixed inputs; raise InputError where one lacks an input."""
    wanted = [value.name for value in model.graph.input]
    for feed in feeds:
        if missing := [name for name in wanted if name not in feed]:
            raise InputError(f"a sample request has no input {missing[0]!r}: it has {', '.join(feed)}")
    return [{name: feed[name] for name in wanted} for feed in feeds]
