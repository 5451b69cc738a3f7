"""The single tools that edgewise is compared with: each by its own API and its own defaults.

All start from the user's own ONNX file and the calibration samples of the build. ai-edge-quantizer starts from the
float .tflite that edgewise's converter makes of it, because its vendor has no converter from ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PEERS", "Peer", "listed"]


@dataclass(frozen=True, slots=True)
class Peer:
    """What is called, and the runtime of what it makes; `transformer`: only for models with attention."""

    about: str
    target: str
    transformer: bool = False


PEERS: Mapping[str, Peer] = {
    "ort-dynamic": Peer("onnxruntime.quantization.quantize_dynamic", "onnxruntime"),
    "ort-static": Peer("quant_pre_process and quantize_static of ONNX Runtime", "onnxruntime"),
    "nncf-onnx": Peer("nncf.quantize on the ONNX graph", "onnxruntime"),
    "nncf-onnx-transformer": Peer("the same, told that it is a transformer", "onnxruntime", transformer=True),
    "nncf-openvino": Peer("nncf.quantize on the OpenVINO graph", "openvino"),
    "nncf-openvino-transformer": Peer(
        "the same, told that it is a transformer", "openvino", transformer=True
    ),
    "nncf-accuracy": Peer("nncf.quantize_with_accuracy_control, OpenVINO, max_drop 0.01", "openvino"),
    "aeq-dynamic": Peer("ai-edge-quantizer, recipe dynamic_wi8_afp32", "litert"),
    "aeq-static": Peer("ai-edge-quantizer, recipe static_wi8_ai8", "litert"),
    "olive": Peer("olive auto-opt --precision int8 --device cpu", "onnxruntime"),
}


def listed(*, transformer: bool) -> dict[str, Peer]:
    """Return the peers that apply to a model."""
    return {name: peer for name, peer in PEERS.items() if transformer or not peer.transformer}
