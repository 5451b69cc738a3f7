"""Makes ONNX files for ONNX Runtime: edgewise's own methods as they are, and ONNX Runtime's quantizers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from edgewise.targets.building import (
    Fp16,
    Job,
    Method,
    NncfPtq,
    Operators,
    Original,
    Traits,
    WeightInt4,
    WeightInt8,
    installed,
)
from edgewise.targets.onnxruntime.recipes import DynamicInt8, Fused, Int4Blocks, StaticInt8

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "DynamicInt8",
    "Fused",
    "Int4Blocks",
    "StaticInt8",
    "build",
    "methods",
    "operators",
    "smaller",
    "toolchain",
    "variations",
]

FORMAT: Literal["onnx"] = "onnx"
MAIN = "model.onnx"
METHODS: tuple[type[Method], ...] = (
    Original,
    Fp16,
    WeightInt4,
    WeightInt8,
    DynamicInt8,
    StaticInt8,
    NncfPtq,
    Fused,
    Int4Blocks,
)


def toolchain() -> str:
    """Return ONNX Runtime, whose wheel holds the quantizers, and onnx, which they need."""
    return installed("lab", "onnxruntime", "onnx")


def methods(traits: Traits) -> Iterator[Method]:
    """Yield what to try, among it the default of each tool that writes ONNX.

    - onnxruntime.quantization.quantize_dynamic: `DynamicInt8()`
    - onnxruntime.quantization.quantize_static: `StaticInt8(calibration="minmax", per_channel=False)`, with the
      uint8 activations its documentation asks for on x86
    - onnxruntime.transformers.float16: `Fp16()`
    - nncf.quantize on ONNX: `NncfPtq()`; told that the model is a transformer, its default is the preset "mixed"
    """
    yield from (Original(), Fp16(), WeightInt8())
    yield from (DynamicInt8(), DynamicInt8(per_channel=True))
    if traits.transformer:
        yield DynamicInt8(per_channel=True, fused=True)
    yield StaticInt8(per_channel=False)
    yield NncfPtq()
    yield NncfPtq(preset="mixed", transformer=True) if traits.transformer else StaticInt8()


def variations(method: Method, traits: Traits) -> Iterator[Method]:
    """Yield what is worth a try around a method that comes near; what `method` protects stays protected."""
    match method:
        case DynamicInt8():
            yield replace(method, per_channel=not method.per_channel)
            if traits.transformer:
                yield replace(method, fused=not method.fused)
        case StaticInt8():
            yield from _static_variations(method)
        case NncfPtq():
            yield from method.variations(traits)
        case Int4Blocks():
            yield from _int4_variations(method)


def _static_variations(method: StaticInt8) -> Iterator[StaticInt8]:
    if not method.per_channel:
        yield replace(method, per_channel=True)
    for ranges in ("mse", "percentile", "entropy", "minmax"):
        if ranges != method.calibration:
            yield replace(method, calibration=ranges, per_channel=True)
    yield replace(method, per_channel=True, bias_correction=not method.bias_correction)


def _int4_variations(method: Int4Blocks) -> Iterator[Int4Blocks]:
    if method.rounding != "gptq":
        yield replace(method, rounding="gptq")
        yield replace(method, rounding="gptq", tables="int8" if method.tables == "int4" else "int4")
    if method.rounding != "k-quant" and not method.symmetric:
        yield replace(method, rounding="k-quant")


def smaller(traits: Traits) -> Iterator[Method]:
    """Yield what stores fewer than 8 bits and is made in seconds, the most robust first."""
    yield WeightInt4()
    yield Int4Blocks()
    yield Int4Blocks(tables="int4")


def build(method: Method, job: Job) -> None:
    """Write `model.onnx` (and its weights beside it, above 2 GB)."""
    from edgewise.targets.onnxruntime import fuse, int4, quantize

    destination = job.folder / MAIN
    match method:
        case Fused():
            fuse.fuse(job.prepared(), destination)
        case DynamicInt8():
            source = job.prepared()
            if method.fused:
                source = fuse.fuse(source, job.work / "fused.onnx", method.protected)
            quantize.quantize_dynamic(
                source,
                destination,
                job.work,
                per_channel=method.per_channel,
                protected=method.protected,
            )
        case StaticInt8():
            quantize.quantize_static(
                job.prepared(),
                destination,
                job.work,
                job.calibration,
                method=method.calibration,
                per_channel=method.per_channel,
                bias_correction=method.bias_correction,
                protected=method.protected,
                kept=job.kept,
            )
        case Int4Blocks():
            int4.compress(method, job, destination)
        case _:
            _move(job.onnx(method), job.folder)


def _move(made: Path, folder: Path) -> None:
    for file in made.parent.iterdir():  # external data lies beside the graph, which names it
        shutil.move(file, folder / file.name)


def operators(main: Path) -> Operators:
    """Count the operators of an ONNX file that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.onnxruntime import operators as counting

    return counting.operators(main)
