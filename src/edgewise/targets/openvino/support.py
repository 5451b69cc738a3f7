"""What OpenVINO runs on each of its devices here, as it answers itself; no artifact is made.

What it can't convert is named by its reader, the rest by `Core.query_model` for each device.
Source: https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes/hetero-execution.html
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

import edgewise.targets.openvino  # noqa: F401  # switches telemetry off, so it comes before the library
from edgewise.bundle.evidence import Evidence
from edgewise.errors import missing_extra
from edgewise.targets.operator import Operator, operators
from edgewise.targets.placement import CPU, Partitioning, Placement, partitions

__all__ = ["partitionings"]

_UNKNOWN = re.compile(r"No conversion rule found for operations: (?P<kinds>.*)")
_FAILED = re.compile(
    r"^-- (?P<kind>\S+)-\d+ with a message:\n(?P<log>.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL
)
_NODE = re.compile(r"<Node\(\w+\): (?P<tensor>[^>]*)>")
_UNREAD = "OpenVINO cannot read this model, so nothing of it runs there"

Refused = Mapping[str, str]
"""Node → why it is not taken."""


def partitionings(model: onnx.ModelProto) -> Iterator[Partitioning]:
    """Place the operators for each device that OpenVINO finds on this machine, the CPU among them."""
    core, found = _openvino().Core(), tuple(operators(model))
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            read = core.read_model(str(path))
        except Exception as error:  # noqa: BLE001 - OpenVINO raises RuntimeError for everything
            refused = dict(_unconverted(found, str(error)))
            note = f"{_UNREAD}: {str(error).strip().splitlines()[-1][:200]}"
            for device in sorted(core.available_devices):
                yield _partitioning(model, found, device, refused, (note,))
            return
        for device in sorted(core.available_devices):
            refused = dict(_left(found, read, core.query_model(read, device), device))
            yield _partitioning(model, found, device, refused, ())


def _partitioning(
    model: onnx.ModelProto, found: tuple[Operator, ...], device: str, refused: Refused, notes: tuple[str, ...]
) -> Partitioning:
    placements = tuple(_placement(operator, device, refused) for operator in found)
    on = {placement.name for placement in placements if placement.where == "accelerator"}
    return Partitioning(
        accelerator=device,
        evidence=Evidence.COMPILED,
        source=f"OpenVINO {_openvino().get_version()}, query_model on this machine",
        placements=placements,
        partitions=partitions(model.graph, on),
        notes=notes,
    )


def _placement(operator: Operator, device: str, refused: Refused) -> Placement:
    name, kind = operator.node.name, operator.type
    if name in refused:
        return Placement(name, kind, "unsupported", refused[name])
    return Placement(name, kind, "cpu" if device == CPU else "accelerator")


def _unconverted(found: tuple[Operator, ...], said: str) -> Iterator[tuple[str, str]]:
    """Yield the nodes that OpenVINO's reader complains of: types it does not know, and nodes that failed."""
    unknown = {
        re.sub(r"-\d+$", "", kind.strip(" ."))
        for line in _UNKNOWN.finditer(said)
        for kind in line["kinds"].split(",")
    }
    for operator in found:
        if operator.type in unknown:
            yield operator.node.name, "OpenVINO has no conversion for it"
    for failed in _FAILED.finditer(said):
        tensors = set(_NODE.findall(failed["log"]))
        why = failed["log"].strip().splitlines()[-1].strip()
        for operator in found:
            if operator.type == failed["kind"] and (not tensors or tensors & set(operator.node.output)):
                yield operator.node.name, why


def _left(
    found: tuple[Operator, ...], read: Any, answers: Mapping[str, str], device: str
) -> Iterator[tuple[str, str]]:
    """Yield the nodes with an operation that the device's plugin does not take.

    OpenVINO names an operation after its ONNX node ("Gemm:3", "Gemm:3/WithoutBiases") or after the tensor.
    """
    left = [node for node in read.get_ordered_ops() if node.get_friendly_name() not in answers]
    names = {node.get_friendly_name().split("/")[0] for node in left}
    tensors = {name for node in left for output in node.outputs() for name in output.get_names()}
    for operator in found:
        if operator.node.name in names or tensors & set(operator.node.output):
            yield operator.node.name, f"the plugin for {device} does not take it"


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino", "openvino") from error
    return openvino
