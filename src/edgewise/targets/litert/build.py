"""Makes .tflite files: from ONNX by onnx2tf, without TensorFlow, and by ai-edge-quantizer's recipes.

A source that is a .tflite itself is taken as it is: it is the original, and the same recipes quantize it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec.structs import replace

from edgewise.targets.building import (
    Job,
    Method,
    Operators,
    Original,
    Precision,
    Traits,
    installed,
)

if TYPE_CHECKING:
    from edgewise.targets.litert.sensitivity import Layer

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "LiteRtDynamic",
    "LiteRtFp16",
    "LiteRtInt4",
    "LiteRtStatic",
    "LiteRtStatic16",
    "LiteRtWeights",
    "build",
    "install",
    "methods",
    "operators",
    "smaller",
    "toolchain",
    "variations",
]

Scope = Literal["all", "layers"]


class LiteRtFp16(Method, frozen=True, tag="litert-fp16"):
    """Weights stored in float16 and widened on load; arithmetic stays float32."""

    precision: ClassVar[Precision] = "fp16"


class LiteRtDynamic(Method, frozen=True, tag="litert-dynamic", kw_only=True):
    """ai-edge-quantizer dynamic range: int8 weights per channel, activations quantized as they come.

    `sparing`: layers that cost most in int8, tried one by one on calibration samples, stay float.
    """

    precision: ClassVar[Precision] = "int8"
    sparing: bool = False


class LiteRtWeights(Method, frozen=True, tag="litert-weights", kw_only=True):
    """ai-edge-quantizer weight-only: int8 weights per channel, activations stay float. `sparing` as above."""

    precision: ClassVar[Precision] = "int8 weights"
    sparing: bool = False


class LiteRtInt4(Method, frozen=True, tag="litert-int4", kw_only=True):
    """ai-edge-quantizer dynamic range with dense layers and embeddings in int4, the rest in int8.

    `block`: inputs that share a scale; 0 gives each output channel one.
    """

    precision: ClassVar[Precision] = "int4 weights"
    block: Literal[0, 32] = 32


class LiteRtStatic(Method, frozen=True, tag="litert-static", kw_only=True):
    """ai-edge-quantizer static: int8 weights and activations, ranges from calibration data.

    `scope`: `all` operators that can, or only `layers`, the operators with weights.
    """

    precision: ClassVar[Precision] = "int8"
    scope: Scope = "layers"


class LiteRtStatic16(Method, frozen=True, tag="litert-static-int16", kw_only=True):
    """ai-edge-quantizer static: int8 weights and int16 activations, ranges from calibration data."""

    precision: ClassVar[Precision] = "int16"
    scope: Scope = "layers"


FORMAT: Literal["tflite"] = "tflite"
MAIN = "model.tflite"
METHODS: tuple[type[Method], ...] = (
    Original,
    LiteRtFp16,
    LiteRtWeights,
    LiteRtDynamic,
    LiteRtInt4,
    LiteRtStatic,
    LiteRtStatic16,
)


def install() -> None:
    """Make onnx2tf's own environment. Raises ToolchainError with pip's reason."""
    from edgewise.targets.litert import toolchain as own

    own.install()


def toolchain() -> str:
    """Return LiteRT, its quantizer and the converter with their versions."""
    from edgewise.targets.litert import toolchain as own

    return f"{installed('litert-lab', 'ai-edge-litert', 'ai-edge-quantizer')}, {own.version()}"


def methods(traits: Traits) -> Iterator[Method]:
    """Yield what to try, among it the quantizer's default, `LiteRtDynamic()`.

    A transformer's masks and normalisation leave no room in 8 or 16 bits, so its layers alone are quantized.
    """
    yield from (Original(), LiteRtFp16(), LiteRtWeights(), LiteRtDynamic())
    yield LiteRtStatic(scope="layers")
    if not traits.transformer:
        yield LiteRtStatic(scope="all")


def variations(method: Method, traits: Traits) -> Iterator[Method]:
    """Yield what is worth a try around a method that comes near: sparing layers, and activations in 16 bits."""
    match method:
        case LiteRtWeights() | LiteRtDynamic():
            yield replace(method, sparing=not method.sparing)
        case LiteRtStatic():
            yield LiteRtStatic16(scope=method.scope)
            if not traits.transformer:
                yield replace(method, scope="all" if method.scope == "layers" else "layers")


def smaller(traits: Traits) -> Iterator[Method]:
    """Yield what stores fewer than 8 bits, the most robust first."""
    yield from (LiteRtInt4(block=32), LiteRtInt4(block=0))


def build(method: Method, job: Job) -> None:
    """Write `model.tflite`, and `io.json` where an input became a constant.

    A finished file is loaded and run before it counts.
    """
    from edgewise.targets.litert import convert, quantize

    source = _source(job)
    made = job.folder / MAIN
    match method:
        case LiteRtFp16():
            quantize.half(source, made)
        case LiteRtDynamic():
            quantize.dynamic(source, made, _spared(method.sparing, source, job))
        case LiteRtWeights():
            quantize.weights(source, made, _spared(method.sparing, source, job))
        case LiteRtInt4():
            quantize.int4(source, made, block=method.block)
        case LiteRtStatic():
            quantize.static(source, made, job.calibration, job.kept, bits=8, scope=method.scope)
        case LiteRtStatic16():
            quantize.static(source, made, job.calibration, job.kept, bits=16, scope=method.scope)
        case _:
            shutil.copyfile(source, made)
    if (source.parent / convert.IO).exists():
        shutil.copyfile(source.parent / convert.IO, job.folder / convert.IO)
    convert.verify(made, job.calibration)


def _source(job: Job) -> Path:
    from edgewise.targets.litert import convert

    return job.source if job.source.suffix == ".tflite" else convert.floats(job) / MAIN


def _spared(sparing: bool, source: Path, job: Job) -> list[Layer]:
    from edgewise.targets.litert import quantize

    return quantize.sensitive(source, job.calibration, job.kept) if sparing else []


def operators(main: Path) -> Operators:
    """Count the operators of a .tflite that have weights, and those whose weights have 8 bits or fewer."""
    from edgewise.targets.litert import operators as counting

    return counting.operators(main)
