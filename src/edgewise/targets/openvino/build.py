"""Makes OpenVINO IR: conversion from ONNX, and OpenVINO's own quantizers (NNCF on its graph)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from msgspec.structs import replace

from edgewise.targets.building import (
    Fp16,
    Job,
    Method,
    Nncf,
    NncfPtq,
    Operators,
    Original,
    Precision,
    Traits,
    WeightInt8,
    installed,
)

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "OpenVinoInt4",
    "OpenVinoPtq",
    "OpenVinoWeights",
    "build",
    "methods",
    "operators",
    "smaller",
    "toolchain",
    "variations",
]


class OpenVinoPtq(Nncf, frozen=True, tag="openvino-ptq", kw_only=True):
    """NNCF post-training quantization of the OpenVINO graph."""


class OpenVinoWeights(Method, frozen=True, tag="openvino-weights", kw_only=True):
    """NNCF weight compression of the OpenVINO graph."""

    precision: ClassVar[Precision] = "int8 weights"
    mode: Literal["int8-asymmetric", "int8-symmetric"] = "int8-asymmetric"


class OpenVinoInt4(Method, frozen=True, tag="openvino-int4", kw_only=True):
    """NNCF weight compression: MatMul weights in 4 bits, `group` inputs of a channel sharing a scale, the rest in int8.

    `ratio`: the share of those weights that is stored in 4 bits, the least sensitive first. The last layer and the
    tables stay in int8. What asks the calibration samples: `awq` scales channels by what passes through them,
    `scale_estimation` finds the scales with the smallest error of the output, `gptq` makes up for each weight's error
    by the next ones.
    """

    precision: ClassVar[Precision] = "int4 weights"
    symmetric: bool = False
    group: Literal[32, 64, 128] = 32
    ratio: float = 1.0
    awq: bool = False
    scale_estimation: bool = False
    gptq: bool = False


FORMAT: Literal["openvino-ir"] = "openvino-ir"
MAIN = "model.xml"
METHODS: tuple[type[Method], ...] = (
    Original,
    Fp16,
    WeightInt8,
    NncfPtq,
    OpenVinoPtq,
    OpenVinoWeights,
    OpenVinoInt4,
)


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
    yield OpenVinoPtq(preset="mixed", transformer=traits.transformer)


def variations(method: Method, traits: Traits) -> Iterator[Method]:
    """Yield what is worth a try around a method that comes near; what `method` protects stays protected."""
    match method:
        case Nncf():
            yield from method.variations(traits)
        case OpenVinoWeights():
            yield OpenVinoWeights(
                mode="int8-symmetric" if method.mode == "int8-asymmetric" else "int8-asymmetric"
            )
        case OpenVinoInt4():
            around = (
                replace(method, gptq=True),
                replace(method, awq=True, scale_estimation=True),
                replace(method, symmetric=not method.symmetric),
                replace(method, ratio=0.8),
            )
            yield from (one for one in around if one != method)


def smaller(traits: Traits) -> Iterator[Method]:
    """Yield what stores fewer than 8 bits and is made in seconds."""
    yield OpenVinoInt4()


def build(method: Method, job: Job) -> None:
    """Write `model.xml` and `model.bin`."""
    from edgewise.targets.openvino import convert, int4

    match method:
        case Fp16():
            convert.convert(job.source, job.folder, half=True)
        case OpenVinoPtq():
            convert.quantize(job.source, job.folder, job.calibration, method)
        case OpenVinoWeights():
            mode = "int8_sym" if method.mode == "int8-symmetric" else "int8_asym"
            convert.compress_weights(job.source, job.folder, mode)
        case OpenVinoInt4():
            int4.compress(job, method)
        case _:
            convert.convert(job.onnx(method), job.folder)


def operators(main: Path) -> Operators:
    """Count the operators of an .xml that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.openvino import operators as counting

    return counting.operators(main)
