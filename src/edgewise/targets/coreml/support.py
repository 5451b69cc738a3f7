"""What Core ML's converter takes of a model, told without building it.

Every operator is looked up by its type. Then the model is written as a MIL program, which is quick, for some
operators convert in some of their forms only: the first that does not is named with the reason. What Core ML runs
on the CPU, the GPU or the Neural Engine it decides on the device, so that is not told: docs/coreml.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version

import onnx

from edgewise.bundle.evidence import Evidence
from edgewise.errors import ToolchainError
from edgewise.targets.coreml import silent
from edgewise.targets.coreml.build import toolchain
from edgewise.targets.coreml.refused import RefusedError
from edgewise.targets.operator import Operator, operators
from edgewise.targets.placement import Partitioning, Placement, partitions

__all__ = ["partitionings", "supported"]

_UNKNOWN = "edgewise's Core ML converter has no such operator"
_NOTE = "which unit runs an operator is known on the device only: ask MLComputePlan, see docs/coreml.md"
_FIRST = "the first operator that does not convert is named; those behind it were judged by their type"


def supported() -> frozenset[str]:
    """Return the operators that convert, those of other domains as "com.microsoft.Gelu".

    Raises ToolchainError when coremltools is missing.
    """
    toolchain()
    with silent():
        from edgewise.targets.coreml.mil.registry import supported as registered
    return registered()


def partitionings(model: onnx.ModelProto) -> Iterator[Partitioning]:
    """Place the operators: in Core ML, or nowhere. Raises ToolchainError when coremltools is missing."""
    found = tuple(operators(model))
    refused = dict(_unknown(found)) or dict(_refused(model, found))
    placements = tuple(
        Placement(each.node.name, each.type, "unsupported", refused[each.node.name])
        if each.node.name in refused
        else Placement(each.node.name, each.type, "accelerator")
        for each in found
    )
    on = {placement.name for placement in placements if placement.where == "accelerator"}
    yield Partitioning(
        accelerator="Core ML",
        evidence=Evidence.COMPILED,
        source=f"edgewise's converter, coremltools {version('coremltools')}",
        placements=placements,
        partitions=partitions(model.graph, on) if refused else 1,  # the whole model is one program
        notes=(_NOTE, _FIRST) if refused else (_NOTE,),
    )


def _unknown(found: Sequence[Operator]) -> Iterator[tuple[str, str]]:
    """Yield the nodes whose type has no function here, and no definition by operators that have one."""
    from edgewise.targets.coreml.convert import defined

    known = supported()
    for each in found:
        if each.type not in known and not defined(each.type):
            yield each.node.name, _UNKNOWN


def _refused(model: onnx.ModelProto, found: Sequence[Operator]) -> Iterator[tuple[str, str]]:
    """Yield the node that does not convert, or all of them where the model as a whole does not."""
    from edgewise.targets.coreml.convert import inlined, written

    try:
        with silent():
            written(inlined(model))
    except RefusedError as refusal:
        names = {each.node.name for each in found}
        if refusal.node in names:
            yield refusal.node, refusal.reason
            return
        yield from ((name, str(refusal)) for name in names)  # inside a function that was inlined
    except ToolchainError as error:
        yield from ((each.node.name, str(error)) for each in found)
