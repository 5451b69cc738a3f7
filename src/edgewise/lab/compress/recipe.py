"""Recipes: what was done to the original, as data. The type of a method selects the code that applies it.

A recipe, the original and the calibration samples rebuild a byte-identical artifact.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Candidate",
    "DynamicInt8",
    "Fp16",
    "Method",
    "NncfPtq",
    "OpenVinoPtq",
    "OpenVinoWeights",
    "Original",
    "StaticInt8",
    "WeightInt8",
]

Precision = Literal["fp32", "fp16", "int8 weights", "int8"]


class Base(msgspec.Struct, frozen=True, tag_field="method", kw_only=True, forbid_unknown_fields=True):
    """Base of all methods. `version` changes when the same options would give other bytes."""

    version: int = 1


class Original(Base, frozen=True, tag="original"):
    """The user's model, simplified where that does not change its results."""


class Fp16(Base, frozen=True, tag="fp16"):
    """Half-precision weights and arithmetic; inputs and outputs keep their type."""


class WeightInt8(Base, frozen=True, tag="weight-int8"):
    """Weights stored as per-channel symmetric int8 and dequantized on load or use; activations stay float."""


class DynamicInt8(Base, frozen=True, tag="dynamic-int8"):
    """ONNX Runtime dynamic quantization: int8 weights, activations quantized as they come."""

    per_channel: bool = False


class StaticInt8(Base, frozen=True, tag="static-int8", kw_only=True):
    """ONNX Runtime static quantization in QDQ form, ranges from calibration data."""

    calibration: Literal["minmax", "percentile", "entropy"] = "minmax"
    per_channel: bool = True


class NncfPtq(Base, frozen=True, tag="nncf-ptq", kw_only=True):
    """NNCF post-training quantization of the ONNX graph (min-max with fast bias correction)."""

    preset: Literal["performance", "mixed"] = "performance"
    transformer: bool = False


class OpenVinoPtq(Base, frozen=True, tag="openvino-ptq", kw_only=True):
    """NNCF post-training quantization of the OpenVINO graph."""

    preset: Literal["performance", "mixed"] = "performance"
    transformer: bool = False


class OpenVinoWeights(Base, frozen=True, tag="openvino-weights", kw_only=True):
    """NNCF weight compression of the OpenVINO graph."""

    mode: Literal["int8-asymmetric", "int8-symmetric"] = "int8-asymmetric"


Method = Original | Fp16 | WeightInt8 | DynamicInt8 | StaticInt8 | NncfPtq | OpenVinoPtq | OpenVinoWeights


class Candidate(msgspec.Struct, frozen=True):
    """One thing to try: a method, for a target."""

    method: Method
    target: str

    @property
    def id(self) -> str:
        """Short name, unique among candidates: `openvino/openvino-ptq-mixed`."""
        options = msgspec.to_builtins(self.method)
        name = options.pop("method")
        options.pop("version")
        parts = [name, *(_word(key, value) for key, value in options.items())]
        return f"{self.target}/" + "-".join(part for part in parts if part)

    @property
    def precision(self) -> Precision:
        """The coarse class of arithmetic, for tables."""
        match self.method:
            case Original():
                return "fp32"
            case Fp16():
                return "fp16"
            case WeightInt8() | OpenVinoWeights():
                return "int8 weights"
            case _:
                return "int8"


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key.replace("_", "-") if value else ""
    return str(value)
