"""What an `Nncf` method asks of nncf.quantize, for its ONNX and its OpenVINO graphs alike."""

from __future__ import annotations

from typing import Any

from edgewise.targets.building import Nncf

__all__ = ["nncf_options"]


def nncf_options(method: Nncf, **advanced: Any) -> dict[str, Any]:
    """Return the arguments of nncf.quantize that `method` decides; `advanced` parameters go with them.

    The preset "performance" quantizes activations symmetrically, "mixed" asymmetrically. For a transformer NNCF
    keeps what attention is sensitive to in float, and only then it smooths: `smooth` asks for both.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters

    if method.smooth is not None:
        advanced["smooth_quant_alphas"] = AdvancedSmoothQuantParameters(matmul=method.smooth)
    transformer = method.transformer or method.smooth is not None
    return {
        "preset": nncf.QuantizationPreset(method.preset),
        "fast_bias_correction": not method.full_bias_correction,
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "advanced_parameters": nncf.AdvancedQuantizationParameters(**advanced),
    }
