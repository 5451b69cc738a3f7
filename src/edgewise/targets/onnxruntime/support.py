"""What ONNX Runtime runs where: its CPU kernels, and the tables of its providers for Core ML and NNAPI.

The CPU is asked: a session is opened. The others are not in the builds for Linux and Windows, so their published
tables speak for them (`tables.py`); what a table does not take runs on the CPU.
Source: https://onnxruntime.ai/docs/tutorials/mobile/helpers/model-usability-checker.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import onnx

import edgewise.targets.onnxruntime  # noqa: F401  # switches telemetry off, so it comes before the library
from edgewise.bundle.evidence import Evidence
from edgewise.errors import missing_extra
from edgewise.targets.onnxruntime.tables import FOLDER, Rules, Verdict, judge, read
from edgewise.targets.operator import Operator, operators
from edgewise.targets.placement import CPU, Partitioning, Placement, partitions

__all__ = ["COREML", "partitionings", "provider"]

COREML = Rules("coreml_supported_mlprogram_ops.md", max_rank=5)
PROVIDERS = {
    "Core ML provider (ML program)": COREML,
    "Core ML provider (neural network)": Rules("coreml_supported_neuralnetwork_ops.md", max_rank=5),
    "NNAPI provider": Rules("nnapi_supported_ops.md", fixed=True),
}
"""The limits beside the tables are those of usability_checker.py, which lies with them."""

_INTEGERS = frozenset({onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL})


def partitionings(model: onnx.ModelProto) -> Iterator[Partitioning]:
    """Place the operators on the CPU, then by the tables of Core ML's two formats and of NNAPI."""
    found = tuple(operators(model))
    said = _refusal(model)
    missing = _missing(found, said)
    yield _cpu(found, missing, said)
    for name, rules in PROVIDERS.items():
        yield provider(name, rules, model, missing)


def provider(
    name: str, rules: Rules, model: onnx.ModelProto, missing: Collection[str] | None = None
) -> Partitioning:
    """Place the operators of `model` by one provider's table; `missing` are nodes that the CPU can't run either."""
    found = tuple(operators(model))
    missing = _missing(found, _refusal(model)) if missing is None else missing
    table = read(rules.table)
    verdicts = [(operator, judge(operator, table, rules)) for operator in found]
    on = {operator.node.name for operator, verdict in verdicts if not verdict.why}
    return Partitioning(
        accelerator=name,
        evidence=Evidence.PUBLISHED,
        source=f"onnxruntime {_onnxruntime().__version__}, {FOLDER}/{rules.table} (MIT)",
        placements=tuple(_placement(operator, verdict.why, missing) for operator, verdict in verdicts),
        partitions=partitions(model.graph, on),
        notes=tuple(_notes(verdicts)),
    )


def _placement(operator: Operator, why: str, missing: Collection[str]) -> Placement:
    name = operator.node.name
    if not why:
        return Placement(name, operator.type, "accelerator")
    return Placement(name, operator.type, "unsupported" if name in missing else "cpu", why)


def _notes(verdicts: Sequence[tuple[Operator, Verdict]]) -> Iterator[str]:
    taken = [(operator, verdict) for operator, verdict in verdicts if not verdict.why]
    asked = Counter((operator.type, note) for operator, verdict in taken for note in verdict.open)
    for (op, note), count in asked.items():
        yield f"not decided for {count} {op}: {note}"
    if whole := sum(operator.dtype(0) in _INTEGERS for operator, _ in taken):
        yield f"of those on it, {whole} take integers: the table names no types, and the provider refuses some"


def _cpu(found: Sequence[Operator], missing: Collection[str], said: str) -> Partitioning:
    version = _onnxruntime().__version__
    why = f"onnxruntime {version} does not run it"
    return Partitioning(
        accelerator=CPU,
        evidence=Evidence.COMPILED,
        source=f"onnxruntime {version}, a session opened on this machine",
        placements=tuple(
            Placement(op.node.name, op.type, "unsupported", why)
            if op.node.name in missing
            else Placement(op.node.name, op.type, "cpu")
            for op in found
        ),
        partitions=0,
        notes=(f"no session of the whole model opens: {said}",) if said else (),
    )


def _missing(found: Sequence[Operator], said: str) -> frozenset[str]:
    """Return the nodes that can't run on the CPU: ONNX Runtime's refusal names one, its kernels tell the others."""
    if not said:
        return frozenset()
    kernels = _kernels()
    named = re.findall(r"(?:with name '|in node \()([^')]*)", said)
    return frozenset(named) | {op.node.name for op in found if not _implemented(op, kernels)}


def _refusal(model: onnx.ModelProto) -> str:
    """Return why ONNX Runtime opens no session of `model`, empty where it does."""
    try:
        _open(model)
    except Exception as error:  # noqa: BLE001 - the binding raises plain subclasses of Exception
        return " ".join(str(error).split())[:200]
    return ""


def _open(model: onnx.ModelProto) -> None:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _kernels() -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return (domain, operator) → the opsets, first and last, of each kernel in this build."""
    from onnxruntime.capi import onnxruntime_pybind11_state as binding

    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for kernel in binding.get_all_opkernel_def():
        found.setdefault((kernel.domain or "ai.onnx", kernel.op_name), []).append(kernel.version_range)
    return found


def _implemented(operator: Operator, kernels: dict[tuple[str, str], list[tuple[int, int]]]) -> bool:
    """Whether there is a kernel, or a definition by other operators that takes its place."""
    schema = operator.schema
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        return True
    ranges = kernels.get((operator.domain, operator.node.op_type), ())
    return any(not schema or first <= schema.since_version <= last for first, last in ranges)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnxruntime", "lab") from error
    return onnxruntime
