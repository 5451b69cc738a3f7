"""Makes OpenVINO IR: conversion from ONNX, and OpenVINO's own quantizers (NNCF on its graph)."""

from __future__ import annotations

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
    "OpenVinoPtq",
    "OpenVinoWeights",
    "build",
    "methods",
    "operators",
    "toolchain",
]


class OpenVinoPtq(Quantizer, frozen=True, tag="openvino-ptq", kw_only=True):
    """NNCF post-training quantization of the OpenVINO graph."""

    precision: ClassVar[Precision] = "int8"
    preset: Literal["performance", "mixed"] = "performance"
    transformer: bool = False


class OpenVinoWeights(Method, frozen=True, tag="openvino-weights", kw_only=True):
    """NNCF weight compression of the OpenVINO graph."""

    precision: ClassVar[Precision] = "int8 weights"
    mode: Literal["int8-asymmetric", "int8-symmetric"] = "int8-asymmetric"


FORMAT: Literal["openvino-ir"] = "openvino-ir"
MAIN = "model.xml"
METHODS: tuple[type[Method], ...] = (Original, Fp16, WeightInt8, NncfPtq, OpenVinoPtq, OpenVinoWeights)


def toolchain() -> str:
    """Return OpenVINO and NNCF with their versions."""
    return installed("lab", "openvino", "nncf")


def methods(traits: Traits) -> Iterator[Method]:
    """Yield what to try, among it each tool's default.

    - openvino's converter, which stores float16 weights unless told otherwise: `Fp16()`
    - nncf.quantize: `OpenVinoPtq()`; told that the model is a transformer, its default is the preset "mixed"
    - nncf.compress_weights: `OpenVinoWeights()`
    """
    yield from (Original(), Fp16(), OpenVinoWeights(), OpenVinoPtq())
    if traits.transformer:
        yield OpenVinoPtq(transformer=True)
    yield OpenVinoPtq(preset="mixed", transformer=traits.transformer)


def build(method: Method, job: Job) -> None:
    """Write `model.xml` and `model.bin`."""
    from edgewise.targets.openvino import convert

    match method:
        case Fp16():
            convert.convert(job.source, job.folder, half=True)
        case OpenVinoPtq():
            convert.quantize(
                job.source,
                job.folder,
                job.calibration,
                preset=method.preset,
                transformer=method.transformer,
                protected=method.protected,
            )
        case OpenVinoWeights():
            convert.compress_weights(job.source, job.folder, mode=method.mode)
        case _:
            convert.convert(job.onnx(method), job.folder)


def operators(main: Path) -> Operators:
    """Count the operators of an .xml that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.openvino import operators as counting

    return counting.operators(main)
