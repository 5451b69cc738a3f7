"""ONNX Runtime as the lab's referee: which versions it reads, whether it opens a graph, what it answers."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import edgewise.targets.onnxruntime  # noqa: F401  # switches telemetry off, so it comes before the library

# isort: split
import onnxruntime as ort

__all__ = ["fold", "open_session", "profiled", "reason", "run", "too_new"]

Arrays = dict[str, NDArray[Any]]

_FATAL = 4
_KERNEL = "_kernel_time"
_NEWEST_OPSET = re.compile(r"till opset (?P<newest>\d+)")
_NEWEST_IR = re.compile(r"max supported IR version: (?P<newest>\d+)")


def open_session(source: onnx.ModelProto | str, *, optimise: bool = True) -> ort.InferenceSession:
    """Open a model (or the path of one) on the CPU, silent on stderr. ONNX Runtime's errors pass through."""
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    opened = source if isinstance(source, str) else source.SerializeToString()
    return ort.InferenceSession(opened, options, providers=["CPUExecutionProvider"])


def fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime hands to its providers: constants folded, nothing fused for the CPU.

    ONNX Runtime's errors pass through.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def profiled(
    proto: onnx.ModelProto, feeds: Sequence[Mapping[str, NDArray[Any]]], folder: Path
) -> list[tuple[str, float]]:
    """Run the graph as it is, nothing fused, on all `feeds`; return (node name, microseconds) of each kernel call.

    The first request is run once before, unmeasured. ONNX Runtime's errors pass through.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in (feeds[0], *feeds):
        session.run(None, dict(feed))
    events = json.loads(Path(session.end_profiling()).read_bytes())
    calls = [
        (event["name"].removesuffix(_KERNEL), float(event["dur"]))
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)
    ]
    return calls[len(calls) // (len(feeds) + 1) :]


def run(session: ort.InferenceSession, feeds: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Arrays:
    """Return the tensors in `names`, by name. Sequences, maps and absent optionals are left out."""
    values = session.run(list(names), dict(feeds))
    return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}


def too_new(proto: onnx.ModelProto) -> str | None:
    """Return why this ONNX Runtime can't read the model's opset or IR version, or None when it can.

    ONNX Runtime publishes no such table, so a graph of one Identity with the same versions is shown to it.
    """
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "probe", [value], [result]
    )
    probe = onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    try:
        open_session(probe)
    except Exception as error:  # noqa: BLE001 - the binding raises plain subclasses of Exception
        for kind, pattern in (("opset", _NEWEST_OPSET), ("IR version", _NEWEST_IR)):
            if found := pattern.search(str(error)):
                return f"ONNX Runtime {ort.__version__} reads {kind} {found['newest']} at most"
    return None


def reason(error: BaseException) -> str:
    """Return what ONNX, its checker or ONNX Runtime complained of, on one line of at most 200 characters."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"/onnxruntime_src/\S+ .*?[)>] (?=[A-Z])", "", text, flags=re.DOTALL)
    text = " ".join(text.split()) or type(error).__name__
    text = text.rstrip(".")
    return text if len(text) <= 200 else text[:199] + "…"
