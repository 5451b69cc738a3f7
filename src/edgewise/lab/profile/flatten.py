"""One straight line of operators: local functions inlined, every If replaced by one of its branches.

A branch with weights is a part of the model, so the heavier one is counted, whatever the inputs would pick.
An If that only rearranges (exporters write one round a Squeeze) follows the inputs, or its shapes would be
wrong. Loop and Scan stay: their bodies repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import inliner

from edgewise.errors import InputError
from edgewise.lab.model.runtime import reason
from edgewise.lab.profile.weights import stored
from edgewise.targets.graph import bodies, nodes

__all__ = ["Flat", "flatten", "inlined"]

# Bytes by which one branch must outweigh the other to be "the heavier": below it are axes and shapes.
_HEAVY = 1024

Decide = Callable[[onnx.ModelProto, list[str]], Mapping[str, bool]]


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """The straight model, and what was assumed on the way."""

    model: onnx.ModelProto = field(repr=False)
    notes: tuple[str, ...]


def flatten(proto: onnx.ModelProto, decide: Decide) -> Flat:
    """Return `proto` without functions and Ifs; `decide` gives the value of the conditions it is asked for.

    `proto` is not changed; it is returned as it is when there is nothing to do.
    """
    proto = inlined(proto)
    notes: list[str] = []
    followed = 0
    while ifs := [node for node in proto.graph.node if node.op_type == "If"]:
        sizes = {item.name: item.bytes for item in stored(proto.graph)}
        branches = {node.output[0]: _heavier(node, sizes) for node in ifs}
        notes += [
            f"If {node.name or node.output[0]!r}: {branches[node.output[0]]}, the heavier one, is counted"
            for node in ifs
            if branches[node.output[0]]
        ]
        light = [node for node in ifs if not branches[node.output[0]]]
        followed += len(light)
        taken = decide(proto, sorted({node.input[0] for node in light})) if light else {}
        branches |= {n.output[0]: "then_branch" if taken[n.input[0]] else "else_branch" for n in light}
        proto = _without_ifs(proto, branches)
    if followed:
        notes.append(f"{followed} If operators without weights of their own follow the inputs used here")
    return Flat(proto, tuple(notes))


def _without_ifs(proto: onnx.ModelProto, branches: Mapping[str, str | None]) -> onnx.ModelProto:
    """Return a copy in which each If, known by its first output, is replaced by the named branch."""
    flat = onnx.ModelProto()
    flat.CopyFrom(proto)
    del flat.graph.node[:]
    for node in proto.graph.node:
        if node.op_type == "If":
            _splice(flat.graph, node, _branch(node, branches[node.output[0]]))
        else:
            flat.graph.node.append(node)
    return flat


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return `proto` with its local functions replaced by their bodies. Raises InputError where that fails."""
    if not proto.functions:
        return proto
    try:
        return inliner.inline_local_functions(proto)
    except Exception as error:
        raise InputError(
            f"the model's local functions can't be inlined: {reason(error)}. Export it without functions."
        ) from error


def _heavier(node: onnx.NodeProto, sizes: Mapping[str, int]) -> str | None:
    weights = {name: _bytes(_branch(node, name), sizes) for name in ("then_branch", "else_branch")}
    small, large = sorted(weights, key=lambda name: weights[name])
    return large if weights[large] - weights[small] >= _HEAVY else None


def _bytes(branch: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """Return the bytes of what the branch stores and of what it takes from outside."""
    own = {item.name: item.bytes for item in stored(branch)}
    taken = {name for node in nodes(branch) for name in node.input} - own.keys()
    return sum(own.values()) + sum(sizes.get(name, 0) for name in taken)


def _branch(node: onnx.NodeProto, name: str | None) -> onnx.GraphProto:
    return next(attribute.g for attribute in node.attribute if attribute.name == name)


def _splice(graph: onnx.GraphProto, node: onnx.NodeProto, branch: onnx.GraphProto) -> None:
    """Append the branch's nodes to `graph`, its names made unique, its outputs named as the If's."""
    prefix = f"{node.output[0]}/"
    inner = {tensor.name for tensor in branch.initializer}
    inner |= {name for item in branch.node for name in item.output if name}
    names = {name: prefix + name for name in inner}
    for tensor in branch.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for item in branch.node:
        graph.node.add().CopyFrom(item)
        _rename(graph.node[-1], names)
    for value, output in zip(branch.output, node.output, strict=False):
        if output:
            source = names.get(value.name, value.name)
            graph.node.append(onnx.helper.make_node("Identity", [source], [output]))


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Apply `names` to a node's tensors, and to what its bodies take from outside."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for body in bodies(node):
        for item in body.node:
            _rename(item, names)
        for value in body.output:
            value.name = names.get(value.name, value.name)
