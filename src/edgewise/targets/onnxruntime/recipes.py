"""ONNX Runtime's methods as data: what each option means, and nothing of how it is done."""

from __future__ import annotations

from typing import ClassVar, Literal

from edgewise.targets.building import Method, Precision, Quantizer

__all__ = ["DynamicInt8", "Fused", "Int4Blocks", "StaticInt8"]


class Fused(Method, frozen=True, tag="fused"):
    """Attention, skip connections, normalisation and GELU as one operator each (onnxruntime.transformers.optimizer).

    Only ONNX Runtime reads the result; arithmetic stays float32. Measured on a MiniLM it is as fast as the original:
    what ONNX Runtime fuses as it loads does as much. It is there for `DynamicInt8(fused=True)`.
    """

    precision: ClassVar[Precision] = "fp32"


class DynamicInt8(Quantizer, frozen=True, tag="dynamic-int8"):
    """ONNX Runtime dynamic quantization: int8 weights, activations quantized as they come.

    `fused`: after `Fused`, so that attention becomes one integer operator.
    """

    precision: ClassVar[Precision] = "int8"
    per_channel: bool = False
    fused: bool = False


class StaticInt8(Quantizer, frozen=True, tag="static-int8", kw_only=True):
    """ONNX Runtime static quantization in QDQ form, ranges from calibration data.

    `mse` cuts each range where rounding and clipping together err least. `bias_correction` takes the mean error of
    every channel out of its bias.
    """

    precision: ClassVar[Precision] = "int8"
    calibration: Literal["minmax", "percentile", "entropy", "mse"] = "minmax"
    per_channel: bool = True
    bias_correction: bool = False


class Int4Blocks(Quantizer, frozen=True, tag="int4-blocks", kw_only=True):
    """MatMul weights in 4 bits, `block` inputs of a channel sharing a scale; other weights in int8, `tables` in either.

    `rounding`: "rtn" to the nearest, "k-quant" with the scale that errs least, "gptq" making up for each weight's
    error by the next ones (asks the calibration samples), "hqq" robust to outliers (needs torch). `accuracy_level` 4
    multiplies in int8, 0 in float.
    """

    precision: ClassVar[Precision] = "int4 weights"
    block: Literal[16, 32, 64, 128] = 32
    symmetric: bool = False
    rounding: Literal["rtn", "k-quant", "gptq", "hqq"] = "rtn"
    accuracy_level: Literal[0, 4] = 4
    tables: Literal["int8", "int4"] = "int8"
