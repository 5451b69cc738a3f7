"""Small bundles, written by hand: no build is needed to open one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from msgspec import structs
from onnx import helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edgewise.bundle import golden, store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import SCHEMA, Artifact, Licence, Manifest, ModelEntry, TierEntry, Variant
from edgewise.bundle.processing import postprocessor, preprocessor
from edgewise.bundle.steps import Image, Labels, PostStep, PreStep, Tokenize
from edgewise.machine import platform_name
from edgewise.targets.graph import spec
from models import INT64, model, save, tensor, tiny_mlp

HERE = platform_name()
WORDS = {"[UNK]": 0, "battery": 1, "life": 2, "great": 3, "awful": 4}


def tier(name: str, variant: str | None, platform: str = "any") -> TierEntry:
    """One tier of the fleet and what it gets."""
    return TierEntry(
        name=name,
        share=0.5,
        platform=platform,
        runtimes=("onnxruntime",),
        variant=variant,
        reason="fastest",
        verdicts={},
    )


def write(
    folder: Path,
    proto: onnx.ModelProto | None = None,
    *,
    runtimes: Sequence[str] = ("onnxruntime",),
    tiers: Sequence[TierEntry] = (),
    pre: tuple[PreStep, ...] = (),
    post: tuple[PostStep, ...] = (),
    files: Mapping[str, Path] | None = None,
    raw: Any = None,
    cases: Sequence[GoldenCase] | None = None,
) -> Path:
    """Write a bundle of `proto` with one variant per runtime, called as its runtime is; return its folder.

    `files` are those that steps name. The only golden case is `raw`, or ones where there is none;
    `cases` are taken as they are.
    """
    proto = proto or tiny_mlp()
    folder.mkdir()
    source = save(proto, folder.parent / "model.onnx")
    found: dict[str, tuple[Artifact, Path]] = {}

    def add(kind: str, path: Path) -> str:
        artifact = store.artifact_of(kind, [(path.name, path)])
        found[artifact.digest] = (artifact, path)
        return artifact.digest

    digest = add("onnx", source)
    find = dict(files or {})
    if cases is None:
        inputs = preprocessor(pre, find.__getitem__)(raw) if raw is not None else _ones(proto)
        cases = [_answered(proto, inputs, raw, post)]
    kept = folder.parent / "golden.npz"
    kept.write_bytes(golden.encode(cases))
    packed = tuple(
        structs.replace(step, file=add("tokenizer-json", find[step.file]))
        if isinstance(step, Tokenize)
        else step
        for step in pre
    )
    entry = ModelEntry(
        name="small",
        task="classification",
        inputs=tuple(map(spec, proto.graph.input)),
        outputs=tuple(map(spec, proto.graph.output)),
        original=digest,
        golden=add("npz", kept),
        variants=tuple(_variant(runtime, digest) for runtime in runtimes),
        pre=packed,
        post=post,
    )
    manifest = Manifest(
        schema=SCHEMA,
        producer="edgewise tests",
        name="small",
        licence=Licence(),
        artifacts={key: artifact for key, (artifact, _) in found.items()},
        models=(entry,),
        tiers=tuple(tiers) or (tier("all", runtimes[0]),),
    )
    store.write(folder, manifest, {key: {path.name: path} for key, (_, path) in found.items()})
    return folder


def text(folder: Path) -> Path:
    """Write a bundle that calls words positive (great) or negative (awful)."""
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder.parent / "tokenizer.json"))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"], "embed"),
        helper.make_node("ReduceMean", ["each"], ["scores"], "mean", axes=[1], keepdims=0),
        helper.make_node("Softmax", ["scores"], ["probabilities"], "softmax", axis=-1),
    ]
    table = np.array([[0, 0], [0, 0], [0, 0], [0, 9], [9, 0]], np.float32)
    proto = model(
        nodes,
        [tensor("input_ids", ["batch", "length"], INT64)],
        [tensor("probabilities", ["batch", 2])],
        {"table": table},
    )
    return write(
        folder,
        proto,
        pre=(Tokenize(file="tokenizer.json", mask=None),),
        post=(Labels(output="probabilities", names=("negative", "positive")),),
        files={"tokenizer.json": folder.parent / "tokenizer.json"},
        raw="battery life great",
    )


def picture(folder: Path) -> Path:
    """Write a bundle that tells dark pictures (2 × 2 pixels, grey) from bright ones."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"], "pool"),
        helper.make_node("Flatten", ["mean"], ["bright"], "flatten"),
        helper.make_node("Sub", ["one", "bright"], ["dark"], "rest"),
        helper.make_node("Concat", ["dark", "bright"], ["shares"], "both", axis=1),
    ]
    proto = model(
        nodes,
        [tensor("image", ["batch", 1, 2, 2])],
        [tensor("shares", ["batch", 2])],
        {"one": np.ones((1, 1), np.float32)},
    )
    return write(
        folder,
        proto,
        pre=(Image(input="image", height=2, width=2, channels="L"),),
        post=(Labels(output="shares", names=("dark", "bright")),),
        raw=np.full((2, 2), 204, np.uint8),
    )


def png(level: int) -> bytes:
    """Return a grey picture of one level, as a file."""
    from PIL import Image as PilImage

    buffer = io.BytesIO()
    PilImage.fromarray(np.full((4, 4), level, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _variant(runtime: str, artifact: str) -> Variant:
    return Variant(
        id=runtime,
        artifact=artifact,
        runtime=runtime,
        runtime_version="1",
        precision="fp32",
        recipe={"method": "original"},
        figures={},
        verification={},
        golden_tolerance=1e-3,
    )


def _ones(proto: onnx.ModelProto) -> dict[str, Any]:
    return {
        item.name: np.ones([size if isinstance(size, int) else 1 for size in item.shape], item.dtype)
        for item in map(spec, proto.graph.input)
    }


def _answered(proto: onnx.ModelProto, inputs: Any, raw: Any, post: tuple[PostStep, ...]) -> GoldenCase:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in proto.graph.output]
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    answer = postprocessor(post, Path)(outputs).value
    return GoldenCase(inputs, outputs, None if raw is None else np.array(raw), answer)
