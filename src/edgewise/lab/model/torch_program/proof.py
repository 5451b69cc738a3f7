"""The proof: ONNX Runtime and the torch program answer the same requests, at the example's sizes and at others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgewise.bundle.golden import compare
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.runtime import open_session, reason, run
from edgewise.lab.model.torch_program.convert import input_names

__all__ = ["TOLERANCE", "Proof", "prove"]

TOLERANCE = 1e-4
"""Largest root mean square of the differences of an output, relative to that of the output."""
_HALF = 5e-3  # for a program whose answers are 16-bit floats

Tensors = dict[str, torch.Tensor]


class Proof(msgspec.Struct, frozen=True):
    """On how many requests the answers were compared, in how many sizes, and how far they are (rms, relative)."""

    requests: int
    sizes: int
    rms: float


def prove(program: torch.export.ExportedProgram, proto: onnx.ModelProto, who: str) -> Proof:
    """Compare; raise ToolchainError where ONNX Runtime answers otherwise, InputError where torch does not answer."""
    first = _example(program)
    requests, wanted = [first], [_answers(program, first, proto, who)]
    sizes = 1
    for other in _resized(program, first):
        try:
            wanted.append(_answers(program, other, proto, who))
        except InputError:
            continue  # a size that the program itself refuses proves nothing
        requests.append(other)
        sizes = 2
        break
    got = _onnx(proto, requests, who)
    difference = compare(wanted, got)
    half = any(array.dtype == np.float16 for array in wanted[0].values())
    if not difference.rms <= (_HALF if half else TOLERANCE):
        raise ToolchainError(
            f"{who}: the ONNX file answers otherwise than the torch program: {difference.rms:.2g} (rms, relative), "
            f"and {TOLERANCE:g} is allowed"
        )
    return Proof(len(requests), sizes, difference.rms)


def _example(program: torch.export.ExportedProgram) -> Tensors:
    """Return the example inputs that the program keeps, or some of its shapes; constant floats become noise."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    fakes = [values[name] for name in program.graph_signature.user_inputs]
    kept: list[Any] = (
        torch.utils._pytree.tree_leaves(program.example_inputs) if program.example_inputs else []
    )
    if len(kept) != len(fakes):
        kept = [torch.zeros([_size(program, n) for n in fake.shape], dtype=fake.dtype) for fake in fakes]
    return dict(zip(input_names(program), map(_lively, kept), strict=True))


def _size(program: torch.export.ExportedProgram, length: Any) -> int:
    if isinstance(length, int):
        return length
    return int(
        _evaluated(length.node.expr, {s: max(2, _low(program, s)) for s in length.node.expr.free_symbols})
    )


def _low(program: torch.export.ExportedProgram, symbol: Any) -> int:
    return int(program.range_constraints[symbol].lower) if symbol in program.range_constraints else 0


def _lively(tensor: torch.Tensor) -> torch.Tensor:
    """Return an example that tells answers apart: seeded noise for floats that are all alike."""
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point() or tensor.numel() < 2 or tensor.min() != tensor.max():
        return tensor
    return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype)


def _resized(program: torch.export.ExportedProgram, example: Tensors) -> list[Tensors]:
    """Return requests of other sizes where the program leaves sizes open: longer ones, then shorter."""
    nodes = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    fakes = dict(zip(example, (nodes[name] for name in program.graph_signature.user_inputs), strict=True))
    known = {
        length.node.expr: example[name].shape[axis]
        for name, fake in fakes.items()
        for axis, length in enumerate(fake.shape)
        if not isinstance(length, int) and length.node.expr.is_Symbol
    }
    found = []
    for step in (3, 1, -1):
        sizes = {symbol: _within(program, symbol, size + step) for symbol, size in known.items()}
        if known and sizes != known:
            other = {name: _tiled(example[name], fake.shape, sizes) for name, fake in fakes.items()}
            found.append({name: tensor for name, tensor in other.items() if tensor is not None})
    return [other for other in found if len(other) == len(example)]


def _within(program: torch.export.ExportedProgram, symbol: Any, size: int) -> int:
    if symbol not in program.range_constraints:
        return max(size, 1)
    limits = program.range_constraints[symbol]
    return int(max(min(size, limits.upper), limits.lower, 1))


def _tiled(tensor: torch.Tensor, shape: Sequence[Any], sizes: dict[Any, int]) -> torch.Tensor | None:
    """Repeat or cut a tensor along its open axes, so that its values stay valid; None where a size is not known."""
    for axis, length in enumerate(shape):
        if isinstance(length, int):
            continue
        expression = length.node.expr
        if not expression.free_symbols <= sizes.keys() or not tensor.shape[axis]:
            return None
        wanted = int(_evaluated(expression, sizes))
        tensor = tensor.index_select(axis, torch.arange(wanted) % tensor.shape[axis])
    return tensor


def _evaluated(expression: Any, sizes: dict[Any, int]) -> Any:
    return expression.subs(sizes)


def _answers(
    program: torch.export.ExportedProgram, request: Tensors, proto: onnx.ModelProto, who: str
) -> dict[str, NDArray[Any]]:
    """Run the program itself. Its guards are texts to be executed, so they are left out."""
    spec = program.call_spec.in_spec
    try:
        args, kwargs = torch.utils._pytree.tree_unflatten(list(request.values()), spec)
        with torch.no_grad():
            made = program.module(check_guards=False)(*args, **kwargs)
    except Exception as error:
        raise InputError(f"{who}: the program does not run on its example inputs: {reason(error)}") from error
    leaves = torch.utils._pytree.tree_leaves(made)
    return {value.name: leaf.detach().numpy() for value, leaf in zip(proto.graph.output, leaves, strict=True)}


def _onnx(proto: onnx.ModelProto, requests: Sequence[Tensors], who: str) -> list[dict[str, NDArray[Any]]]:
    names = [value.name for value in proto.graph.output]
    try:
        session = open_session(proto)
        return [run(session, {n: t.numpy() for n, t in request.items()}, names) for request in requests]
    except Exception as error:
        raise ToolchainError(
            f"{who}: ONNX Runtime does not run what torch exported: {reason(error)}"
        ) from error
