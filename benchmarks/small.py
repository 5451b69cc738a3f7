"""Two small models of known cost, each in a bundle without pre- or post-processing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle import golden, store
from edgewise.bundle.atomic import replace_directory
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import SCHEMA, Licence, Manifest, ModelEntry, TensorSpec, Variant

__all__ = ["chain", "inputs", "trivial", "write"]

ROWS, WIDTH = 64, 256
INPUT, OUTPUT = "x", "y"


def trivial() -> bytes:
    """Add a row of four numbers to itself: nearly all of a run is the way in and out."""
    from onnx import helper

    return _model([helper.make_node("Add", [INPUT, INPUT], [OUTPUT])], (1, 4), {})


def chain(layers: int) -> bytes:
    """Multiply a matrix by the same weights `layers` times: the cost of a run is proportional to them."""
    from onnx import helper

    nodes = []
    for layer in range(layers):
        before, after = f"a{layer}" if layer else INPUT, f"a{layer + 1}" if layer + 1 < layers else OUTPUT
        nodes += [
            helper.make_node("MatMul", [before, "w"], [f"m{layer}"]),
            helper.make_node("Relu", [f"m{layer}"], [after]),
        ]
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)) * np.sqrt(2 / WIDTH)
    return _model(nodes, (ROWS, WIDTH), {"w": weights.astype(np.float32)})


def inputs(shape: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """Return the one request that is asked again and again."""
    return {INPUT: np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


def write(model: bytes, folder: Path) -> Path:
    """Write a bundle with `model` as its only variant, as `edgewise build` would; return its folder."""
    import onnxruntime

    source = folder.with_suffix(".onnx")
    source.write_bytes(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    spec = TensorSpec(INPUT, "float32", tuple(session.get_inputs()[0].shape))
    feeds = inputs(session.get_inputs()[0].shape)
    cases = folder.with_suffix(".npz")
    cases.write_bytes(golden.encode([GoldenCase(feeds, {OUTPUT: session.run([OUTPUT], feeds)[0]})]))
    manifest, sources = _manifest(source, cases, spec, onnxruntime.__version__)
    with replace_directory(folder, marker=store.MANIFEST) as staging:
        store.write(staging, manifest, sources)
    return folder


def _manifest(
    source: Path, cases: Path, spec: TensorSpec, version: str
) -> tuple[Manifest, dict[str, dict[str, Path]]]:
    model = store.artifact_of("onnx", [("model.onnx", source)])
    answers = store.artifact_of("npz", [("golden.npz", cases)])
    variant = Variant(
        id="onnxruntime/original",
        artifact=model.digest,
        runtime="onnxruntime",
        runtime_version=version,
        precision="fp32",
        recipe={"method": "original"},
        figures={},
        verification={},
        golden_tolerance=1e-3,
    )
    entry = ModelEntry(
        name="benchmark",
        task="unspecified",
        inputs=(spec,),
        outputs=(TensorSpec(OUTPUT, "float32", spec.shape),),
        original=model.digest,
        golden=answers.digest,
        variants=(variant,),
    )
    manifest = Manifest(
        schema=SCHEMA,
        producer="edgewise benchmarks",
        name="benchmark",
        licence=Licence(model="Apache-2.0"),
        artifacts={model.digest: model, answers.digest: answers},
        models=(entry,),
        tiers=(),
    )
    return manifest, {model.digest: {"model.onnx": source}, answers.digest: {"golden.npz": cases}}


def _model(nodes: list[Any], shape: Sequence[int], weights: dict[str, NDArray[np.float32]]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (INPUT, OUTPUT)]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "benchmark", ends[:1], ends[1:], stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(proto.SerializeToString(deterministic=True))
