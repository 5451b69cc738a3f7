"""Makes ONNX files for ONNX Runtime: edgewise's own methods as they are, and ONNX Runtime's quantizers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from edgewise.targets.building import (
    Fp16,
    Job,
    Method,
    NncfPtq,
    Operators,
    Original,
    Precision,
    Quantizer,
    Traits,
    WeightInt8,
    installed,
)

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "DynamicInt8",
    "StaticInt8",
    "build",
    "methods",
    "operators",
    "toolchain",
]


class DynamicInt8(Quantizer, frozen=True, tag="dynamic-int8"):
    """ONNX Runtime dynamic quantization: int8 weights, activations quantized as they come."""

    precision: ClassVar[Precision] = "int8"
    per_channel: bool = False


class StaticInt8(Quantizer, frozen=True, tag="static-int8", kw_only=True):
    """ONNX Runtime static quantization in QDQ form, ranges from calibration data."""

    precision: ClassVar[Precision] = "int8"
    calibration: Literal["minmax", "percentile", "entropy"] = "minmax"
    per_channel: bool = True


FORMAT: Literal["onnx"] = "onnx"
MAIN = "model.onnx"
METHODS: tuple[type[Method], ...] = (Original, Fp16, WeightInt8, DynamicInt8, StaticInt8, NncfPtq)


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
    for per_channel in (False, True):
        yield StaticInt8(calibration="minmax", per_channel=per_channel)
        yield StaticInt8(calibration="percentile", per_channel=per_channel)
        yield StaticInt8(calibration="entropy", per_channel=per_channel)
    yield NncfPtq()
    if traits.transformer:
        yield NncfPtq(transformer=True)
    yield NncfPtq(preset="mixed", transformer=traits.transformer)


def build(method: Method, job: Job) -> None:
    """Write `model.onnx` (and its weights beside it, above 2 GB)."""
    from edgewise.targets.onnxruntime import quantize

    destination = job.folder / MAIN
    match method:
        case DynamicInt8():
            quantize.quantize_dynamic(
                job.prepared(),
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
                protected=method.protected,
                kept=job.kept,
            )
        case _:
            _move(job.onnx(method), job.folder)


def _move(made: Path, folder: Path) -> None:
    for file in made.parent.iterdir():  # external data lies beside the graph, which names it
        shutil.move(file, folder / file.name)


def operators(main: Path) -> Operators:
    """Count the operators of an ONNX file that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.onnxruntime import operators as counting

    return counting.operators(main)
