"""One name, one tensor: in an ONNX model every stored tensor of a nested body gets a name of its own.

ONNX asks for it, and runtimes do not insist, so tools write graphs whose branches store different tensors under
one name, or hide one of the graph around them; converters that keep all tensors in one table then fail.
Source: ONNX IR specification, "Name Scopes", https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edgewise.targets.graph import bodies

__all__ = ["distinct"]


def distinct(model: onnx.ModelProto) -> None:
    """Rename initializers of bodies in place, so that no two of the model have one name; the outermost keeps it."""
    _rename(model.graph, set(), {})


def _rename(graph: onnx.GraphProto, taken: set[str], given: Mapping[str, str]) -> None:
    """Rename what `graph` stores under a name that is taken; `given` holds the new names of the graphs around it."""
    own = {}
    for tensor in graph.initializer:
        old = tensor.name
        tensor.name = own[old] = _free(old, taken)
        taken.add(tensor.name)
    known = {**given, **own}
    for value in graph.output:
        value.name = known.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [known.get(name, name) for name in node.input]
        for body in bodies(node):
            _rename(body, taken, known)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
