"""Control flow: If, Loop and Scan. What is decided while converting leaves no trace in the program."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, axis_of, cast, known, mb, scalar, sizes

__all__: list[str] = []

_UNROLLED = 64
"""Passes up to which a loop of a known number of them is written out."""

_SCAN_OF_ONE = 9
"""Before this version, Scan took a batch of sequences and their lengths."""


def _graph(node: Node, name: str) -> onnx.GraphProto:
    graph: Any = node.attributes[name]
    return graph


@operator("If")
def branch(node: Node) -> tuple[Var, ...]:
    """Convert both branches, or only the one that is taken where that is known.

    torch writes a squeeze of a dynamic axis as "if its size is 1, drop it, else keep it", but a MIL value has one
    number of axes. The model goes on with the axis dropped, so that branch is meant; the other fails when run.
    """
    condition = known(node[0])
    if condition is not None or _squeezes(node):
        taken = condition is None or condition.all()
        return tuple(node.body(_graph(node, "then_branch" if taken else "else_branch"), ()))

    def made(name: str) -> list[Var]:
        # A block may not hand out what it did not make.
        return [mb.identity(x=value) for value in node.body(_graph(node, name), ())]

    found = mb.cond(
        pred=scalar(node[0]), _true_fn=lambda: made("then_branch"), _false_fn=lambda: made("else_branch")
    )
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def _squeezes(node: Node) -> bool:
    then, other = (
        {inner.op_type for inner in _graph(node, name).node} - {"Constant"}
        for name in ("then_branch", "else_branch")
    )
    return then == {"Squeeze"} and other == {"Identity"}


@operator("Loop")
def loop(node: Node) -> tuple[Var, ...]:
    """Write a loop out where the number of passes is known, else convert it to MIL's, which collects nothing."""
    graph, trips = _graph(node, "body"), known(node.input(0))
    carried = list(node.inputs[2:])
    start = known(node.input(1))
    if trips is not None and trips.item() <= _UNROLLED and (start is None or start.all()):
        return _written_out(node, graph, int(trips.item()), carried)
    if len(node.outputs) > len(carried):
        raise UnsupportedError(
            "collects the results of a number of passes that depends on the model's inputs"
        )
    return _while(node, graph, carried)


def _written_out(node: Node, graph: onnx.GraphProto, trips: int, carried: list[Var]) -> tuple[Var, ...]:
    collected: list[list[Var]] = [[] for _ in range(len(node.outputs) - len(carried))]
    for count in range(trips):
        going = mb.const(val=True)
        condition, *found = node.body(graph, [mb.const(val=np.int32(count)), going, *carried])
        carried, rows = found[: len(carried)], found[len(carried) :]
        for row, rows_so_far in zip(rows, collected, strict=True):
            rows_so_far.append(row)
        goes_on = known(condition)
        if goes_on is None:
            raise UnsupportedError("may stop early, by a condition that depends on the model's inputs")
        if not goes_on.all():
            break
    return (*carried, *(mb.stack(values=rows, axis=0) for rows in collected))


def _while(node: Node, graph: onnx.GraphProto, carried: list[Var]) -> tuple[Var, ...]:
    limit = node.input(0) if node.input(0) is not None else mb.const(val=np.int32(np.iinfo(np.int32).max))
    start = node.input(1) if node.input(1) is not None else mb.const(val=True)

    def more(count: Var, going: Var, *_: Var) -> Var:
        return mb.logical_and(x=mb.less(x=count, y=scalar(limit)), y=going)

    def body(count: Var, going: Var, *values: Var) -> tuple[Var, ...]:
        condition, *found = node.body(graph, [count, going, *values])
        return mb.add(x=count, y=1), *(mb.identity(x=value) for value in (scalar(condition), *found))

    first = mb.const(val=np.int32(0))
    values = mb.while_loop(_cond=more, _body=body, loop_vars=(first, scalar(cast(start, "bool")), *carried))
    return tuple(values[2:])


@operator("Scan")
def scan(node: Node) -> tuple[Var, ...]:
    """Write out a scan over a short, known length."""
    if node.opset < _SCAN_OF_ONE:
        raise UnsupportedError("scans a batch of sequences: export the model with opset 9 or later")
    graph, count = _graph(node, "body"), int(node.get("num_scan_inputs", 0))
    states, inputs = list(node.inputs[:-count]), [node[at] for at in range(-count, 0)]
    axes = [
        axis_of(axis, x.rank)
        for axis, x in zip(node.get("scan_input_axes", [0] * count), inputs, strict=True)
    ]
    steps = sizes(inputs[0])[axes[0]]
    if steps is None or steps > _UNROLLED or any(node.get("scan_input_directions", [])):
        raise UnsupportedError(f"scans backwards, or over a length that changes or is above {_UNROLLED}")
    collected: list[list[Var]] = [[] for _ in range(len(node.outputs) - len(states))]
    for step in range(steps):
        now = [
            mb.gather(x=x, indices=np.int32(step), axis=axis) for x, axis in zip(inputs, axes, strict=True)
        ]
        found = node.body(graph, [*states, *now])
        states, rows = found[: len(states)], found[len(states) :]
        for row, rows_so_far in zip(rows, collected, strict=True):
            rows_so_far.append(row)
    out_axes = node.get("scan_output_axes", [0] * len(collected))
    return (
        *states,
        *(mb.stack(values=rows, axis=axis) for rows, axis in zip(collected, out_axes, strict=True)),
    )
