"""Makes OpenVINO IR: conversion from ONNX, and OpenVINO's own quantizers (NNCF on its graph).

`Core.read_model` converts; OpenVINO's Python converter, which reports to its vendor, is never called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgewise.errors import missing_extra
from edgewise.targets.building import Nncf, Samples
from edgewise.targets.nncf_options import nncf_options
from edgewise.targets.openvino.turn import turned

__all__ = ["compress_weights", "convert", "graphs", "quantize"]


def convert(source: Path, folder: Path, *, half: bool = False) -> None:
    """Write the ONNX file `source` as `model.xml` and `model.bin`; `half` stores the weights in float16."""
    _save(_read(source), folder, half=half)


def quantize(source: Path, folder: Path, calibration: Samples, method: Nncf) -> None:
    """Write the ONNX file `source` as IR with int8 weights and activations (NNCF, all calibration samples).

    What `method` protects are ONNX tensors: the operators that make them stay in float. Source: nncf.quantize.
    """
    nncf = _nncf()
    model = _read(source)
    protected = method.protected
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(calibration)),
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=_makers(model, protected)) if protected else None,
        **nncf_options(method),
    )
    _save(quantized, folder)


def _makers(model: Any, protected: Sequence[str]) -> list[str]:
    """Return the names of the nodes that make these ONNX tensors: a layer's bias is a node of its own here."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_output_size() and not node.output(0).get_names().isdisjoint(protected):
            found.append(node.get_friendly_name())
            if node.get_type_name() == "Add":
                found.append(node.input_value(0).get_node().get_friendly_name())
    return found


def compress_weights(
    source: Path,
    folder: Path,
    mode: str,
    calibration: Samples = (),
    *,
    turn: bool = False,
    **options: Any,
) -> None:
    """Write the ONNX file `source` as IR with weights in fewer bits (nncf.compress_weights).

    `mode` and `options` are NNCF's; `calibration` is for the options that ask samples, and `turn` for those that need
    the weights turned first. Activations stay float in the file; OpenVINO may quantize them as it runs, in groups of
    32 values.
    """
    nncf = _nncf()
    if calibration:
        options |= {"dataset": nncf.Dataset(list(calibration)), "subset_size": len(calibration)}
    model = turned(_read(source)) if turn else _read(source)
    _save(nncf.compress_weights(model, mode=nncf.CompressWeightsMode(mode), **options), folder)


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino", "openvino") from error
    return openvino


def _read(source: Path) -> Any:
    model = _openvino().Core().read_model(str(source))
    _name_nodes(model)
    return model


def _nncf() -> Any:
    try:
        import nncf
    except ImportError as error:
        raise missing_extra("nncf", "lab") from error
    return nncf


def _save(model: Any, folder: Path, *, half: bool = False) -> None:
    import openvino

    _name_nodes(model)
    graph = folder / "model.xml"
    openvino.save_model(model, str(graph), compress_to_fp16=half)
    # Indentation is a fifth of the graph file, which in a small model outweighs the weights.
    graph.write_bytes(re.sub(rb">\s+<", b"><", graph.read_bytes()))


def _name_nodes(model: Any) -> None:
    """Number the nodes that have no name of their own by their place in the graph.

    OpenVINO numbers them by a counter of the process ("Constant_36365"), so that the same model saved twice
    gives two different files. It runs before NNCF too, whose names derive from these.
    """
    for graph in graphs(model):
        for place, node in enumerate(graph.get_ordered_ops()):
            kind = node.get_type_name()
            if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
                node.set_friendly_name(f"{kind}_{place}")


def graphs(model: Any) -> Iterator[Any]:
    """Yield the model and the bodies of its If, Loop and TensorIterator nodes."""
    yield model
    for node in model.get_ordered_ops():
        if hasattr(node, "get_then_body"):
            yield from graphs(node.get_then_body())
            yield from graphs(node.get_else_body())
        elif hasattr(node, "get_function"):
            yield from graphs(node.get_function())
