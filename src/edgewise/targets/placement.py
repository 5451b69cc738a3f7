"""Where a target's rules put each operator of a model, told before anything is built.

A target says so in a `support.py` beside its `build.py`; one without it declares nothing:

    lab: model, prepared → partitionings(model) → one Partitioning per accelerator → shares of operators and MACs

The model that comes in has functions inlined, constants folded, shapes inferred and a different name on every
node, bodies of control flow included; placements go by those names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, Protocol

import msgspec
import onnx

from edgewise.bundle.evidence import Evidence
from edgewise.targets.graph import bodies, nodes

__all__ = ["CPU", "Partitioning", "Placement", "SupportModule", "Where", "partitions"]

CPU = "CPU"
"""The name of the device on which nothing is accelerated."""

Where = Literal["accelerator", "cpu", "unsupported"]
"""On the accelerator; on the CPU instead, in the same runtime; or nowhere, so that the model can't be run."""


class Placement(msgspec.Struct, frozen=True):
    """One operator: its node's name, its type ("Conv", "com.microsoft.QLinearAdd"), where it runs and why there.

    `why` is the rule that keeps it off the accelerator, on one line; empty when it is on it.
    """

    name: str
    op: str
    where: Where
    why: str = ""


class Partitioning(msgspec.Struct, frozen=True, kw_only=True):
    """Every operator of a model, placed by one accelerator's rules.

    `partitions` is the number of separate pieces that the accelerator gets: data is handed over at each border
    of one. `notes` are what the rules say and the graph does not decide. `source` names rules and version.
    """

    accelerator: str
    evidence: Evidence
    source: str
    placements: tuple[Placement, ...]
    partitions: int
    notes: tuple[str, ...] = ()


class SupportModule(Protocol):
    """What a target's `support.py` offers."""

    def partitionings(self, model: onnx.ModelProto) -> Iterable[Partitioning]:
        """Place the operators of `model` for each of the target's accelerators, in a fixed order.

        Raises ToolchainError, naming the command that installs it, when what holds the rules is missing.
        """


def partitions(graph: onnx.GraphProto, on: Collection[str]) -> int:
    """Return in how many pieces the nodes named in `on` run, those of bodies counted by themselves.

    A piece takes every node that needs no result from a later one: nodes that do not depend on each other share
    it. Source: CreateSupportedPartitionNodeGroups, onnxruntime/core/providers/partitioning_utils.cc
    """
    place: dict[str, tuple[int, bool]] = {}
    found: set[int] = set()
    for node in graph.node:
        inside = node.name in on
        before = (place[name] for name in _taken(node) if name in place)
        # What comes off the accelerator is at hand only when that piece has ended.
        piece = max((at + (was_inside and not inside) for at, was_inside in before), default=0)
        found |= {piece} if inside else set()
        place |= dict.fromkeys(node.output, (piece, inside))
    return len(found) + sum(partitions(body, on) for node in graph.node for body in bodies(node))


def _taken(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for body in bodies(node):
        for inner in nodes(body):
            yield from inner.input
