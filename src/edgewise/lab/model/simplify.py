"""Simplify: fold constants and merge operators with onnxslim, and keep the result only if nothing changed.

onnxslim rewrites → the declared signature is put back → both graphs answer the same feeds in ONNX Runtime →
the simplified one is kept when every output agrees. Else the original is kept and `note` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError, missing_extra
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.names import distinct
from edgewise.lab.model.runtime import open_session, reason, run
from edgewise.targets.graph import PROTOBUF_LIMIT, nodes, spec

__all__ = ["Simplified", "simplify"]

TOLERANCE = 1e-5
"""Largest difference accepted, as a share of the largest magnitude in the same output."""


@dataclass(frozen=True, slots=True, eq=False)
class Simplified:
    """The graph to go on with: simplified, or the original when `note` says that it was kept.

    Node counts leave Constant nodes out. `max_abs_diff` is the largest difference of any output on the
    feeds, in the output's own unit; 0.0 when the original was kept.
    """

    model: onnx.ModelProto = field(repr=False)
    nodes_before: int
    nodes_after: int
    max_abs_diff: float
    note: str


class _KeptError(Exception):
    """Why the original is kept."""


def simplify(model: OnnxModel, feeds: Sequence[dict[str, NDArray[Any]]]) -> Simplified:
    """Return `model` simplified, checked on `feeds` (one dict of input arrays per run).

    Never changes `model`. Raises InputError only when the original itself can't answer the feeds.
    """
    before = count(model.proto)
    try:
        return _verified(model, feeds, before)
    except _KeptError as why:
        return Simplified(model.proto, before, before, 0.0, f"original kept: {why}")


def _verified(model: OnnxModel, feeds: Sequence[dict[str, NDArray[Any]]], before: int) -> Simplified:
    if not feeds:
        raise _KeptError("there are no samples to compare answers on")
    slim = _slim(model)
    after = count(slim)
    if after >= before:
        raise _KeptError("nothing to simplify")
    difference = _largest_difference(model, slim, feeds)
    note = f"{before} operators became {after}; same answers on {len(feeds)} samples"
    return Simplified(slim, before, after, difference, note)


def count(proto: onnx.ModelProto) -> int:
    """Return the number of operators, nested bodies included, Constant nodes left out."""
    return sum(node.op_type != "Constant" for node in nodes(proto.graph))


def _slim(model: OnnxModel) -> onnx.ModelProto:
    try:
        import onnxslim
    except ImportError as error:
        raise missing_extra("onnxslim", "lab") from error
    if model.size >= PROTOBUF_LIMIT:
        raise _KeptError("models of 2 GB and more are not simplified")
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)  # onnxslim changes its argument
    try:
        slim = onnxslim.slim(copy)
        distinct(slim)
        _restore_signature(model, slim)
        onnx.checker.check_model(slim)
    except _KeptError:
        raise
    except Exception as error:
        raise _KeptError(f"onnxslim failed ({reason(error)})") from error
    grown = slim.ByteSize() - model.proto.ByteSize()
    if grown > model.size // 20 and grown > 65_536:
        raise _KeptError(f"folding constants would add {grown:,} bytes")
    assert isinstance(slim, onnx.ModelProto)
    return slim


def _restore_signature(model: OnnxModel, slim: onnx.ModelProto) -> None:
    """Put the declared inputs and outputs back: onnxslim names unnamed dimensions and fixes dynamic ones."""
    for declared, values, kind in (
        (model.inputs, slim.graph.input, "inputs"),
        (model.outputs, slim.graph.output, "outputs"),
    ):
        if [_outline(item) for item in declared] != [_outline(spec(value)) for value in values]:
            raise _KeptError(f"onnxslim changed the names, types or ranks of {kind}")
        by_name = {value.name: value for value in (*model.proto.graph.input, *model.proto.graph.output)}
        del values[:]
        values.extend(by_name[item.name] for item in declared)


def _outline(item: TensorSpec) -> tuple[str, str, int]:
    return item.name, item.dtype, len(item.shape)


def _largest_difference(
    model: OnnxModel, slim: onnx.ModelProto, feeds: Sequence[dict[str, NDArray[Any]]]
) -> float:
    names = [output.name for output in model.outputs]
    try:
        original = open_session(model.proto)
        expected = [run(original, feed, names) for feed in feeds]
    except Exception as error:
        raise InputError(f"{model.path} does not run on the samples: {reason(error)}") from error
    try:
        session = open_session(slim)
        answers = [run(session, feed, names) for feed in feeds]
    except Exception as error:
        raise _KeptError(f"the simplified graph does not run ({reason(error)})") from error
    pairs = zip(expected, answers, strict=True)
    return max(_difference(name, want[name], got[name]) for want, got in pairs for name in names)


def _difference(name: str, want: NDArray[Any], got: NDArray[Any]) -> float:
    """Return max |want − got|; raise _KeptError if it is too large or the best class is another."""
    if want.shape != got.shape or want.dtype != got.dtype:
        raise _KeptError(f"output {name!r} changed its shape or type")
    if not np.issubdtype(want.dtype, np.floating):
        if not np.array_equal(want, got):
            raise _KeptError(f"output {name!r} changed")
        return 0.0
    wide, other = want.astype(np.float64), got.astype(np.float64)
    if not np.array_equal(np.isfinite(wide), np.isfinite(other)):
        raise _KeptError(f"output {name!r} is finite in one graph only")
    finite = np.isfinite(wide)
    difference = float(np.abs(wide - other, where=finite, out=np.zeros_like(wide)).max(initial=0.0))
    scale = float(np.abs(wide[finite]).max(initial=0.0))
    if difference > TOLERANCE * scale:
        raise _KeptError(f"output {name!r} changed by {difference:.3g}, its largest value being {scale:.3g}")
    if _best_differs(wide, other):
        raise _KeptError(f"output {name!r} names another class")
    return difference


def _best_differs(want: NDArray[np.float64], got: NDArray[np.float64]) -> bool:
    """Whether the largest entry along the last axis moved; between exact ties it may."""
    if want.ndim == 0 or want.size == 0:
        return False
    chosen = np.take_along_axis(want, got.argmax(axis=-1, keepdims=True), axis=-1)
    return bool((chosen < want.max(axis=-1, keepdims=True)).any())
