"""Makes Core ML packages: conversion from ONNX to MIL, coremltools' own weight compression, NNCF's quantization."""

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
    Traits,
    installed,
)

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "CoreMlInt4",
    "CoreMlInt8",
    "CoreMlPalette",
    "build",
    "methods",
    "operators",
    "smaller",
    "toolchain",
    "variations",
]


class CoreMlInt8(Method, frozen=True, tag="coreml-int8"):
    """Weights in 8 bits, symmetric, one scale per channel; arithmetic in float16. From iOS 17 on."""

    precision: ClassVar[Precision] = "int8 weights"


class CoreMlInt4(Method, frozen=True, tag="coreml-int4", kw_only=True):
    """Weights in 4 bits, symmetric, one scale per `block` inputs of a channel; arithmetic in float16. From iOS 18 on."""

    precision: ClassVar[Precision] = "int4 weights"
    block: int = 32


class CoreMlPalette(Method, frozen=True, tag="coreml-palette", kw_only=True):
    """Weights as places in a palette of 16 numbers found by k-means; arithmetic in float16.

    One palette per tensor (`group` 0, from iOS 17 on), or one per `group` channels (from iOS 18 on).
    """

    precision: ClassVar[Precision] = "4-bit palette"
    group: int = 0


FORMAT: Literal["mlpackage"] = "mlpackage"
MAIN = "model.mlpackage/Manifest.json"
METHODS: tuple[type[Method], ...] = (Original, Fp16, NncfPtq, CoreMlInt8, CoreMlInt4, CoreMlPalette)


def toolchain() -> str:
    """Return coremltools, and what else converting and compressing takes, with their versions."""
    return f"{installed('coreml', 'coremltools')}, {installed('lab', 'onnx', 'scikit-learn', 'nncf')}"


def methods(traits: Traits) -> Iterator[Method]:
    """Yield what to try, among it each tool's default.

    - coremltools.convert, which computes in float16 unless told otherwise: `Fp16()`
    - coremltools.optimize.coreml.linear_quantize_weights: `CoreMlInt8()`
    - nncf.quantize on ONNX, whose integers the package keeps: `NncfPtq()`; told that the model is a transformer,
      its default is the preset "mixed"
    """
    yield from (Original(), Fp16(), CoreMlInt8(), NncfPtq())
    if traits.transformer:
        yield NncfPtq(preset="mixed", transformer=True)


def variations(method: Method, traits: Traits) -> Iterator[Method]:
    """Yield what is worth a try around a method that comes near; what `method` protects stays protected."""
    match method:
        case NncfPtq():
            yield from method.variations(traits)
        case CoreMlInt4():
            yield from (CoreMlInt4(block=block) for block in (16, 64) if block != method.block)


def smaller(traits: Traits) -> Iterator[Method]:
    """Yield what stores fewer than 8 bits, the most robust first.

    coremltools.optimize.coreml.palettize_weights wants to be told how many bits; its default else is the last.
    """
    yield from (CoreMlInt4(), CoreMlPalette(group=16), CoreMlPalette())


def build(method: Method, job: Job) -> None:
    """Write `model.mlpackage`, and `io.json`, which tells how its inputs and outputs differ from the original's."""
    toolchain()
    from edgewise.targets.coreml.compress import Compression
    from edgewise.targets.coreml.convert import convert

    half, compression = not isinstance(method, Original), None
    match method:
        case CoreMlInt8():
            compression = Compression(bits=8)
        case CoreMlInt4():
            compression = Compression(bits=4, block=method.block)
        case CoreMlPalette():
            compression = Compression(bits=4, palette=True, block=method.group)
    source = job.onnx(method) if isinstance(method, NncfPtq) else job.source
    convert(source, job.folder, job.calibration, half=half, compression=compression)


def operators(main: Path) -> Operators:
    """Count the operators of a package that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.coreml import counting

    return counting.operators(main)
