"""A model that somebody quantized before: found by its nodes and weights, and not quantized a second time.

Rounding twice costs quality and gains nothing, and the tools fail on it, each in its own way: ONNX Runtime's loses
scales, NNCF's finds no float weights. The float model gives a better file.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from edgewise.errors import ToolchainError
from edgewise.targets.building import Method, Operators
from edgewise.targets.graph import nodes
from edgewise.targets.onnxruntime.operators import counted

__all__ = ["is_quantized", "quantized_share", "refuse"]

_WHOLE = ("fp32", "fp16")
_INTEGER = (
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantize",
    "GatherBlockQuantized",
    "MatMulInteger",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinear",
    "QuantizeLinear",
)
"""How the operators begin that compute in integers or unpack them."""


def quantized_share(model: onnx.ModelProto) -> Operators:
    """Return how many of the model's layers have weights of 8 bits or fewer, or are computed in integers.

    `quantized` is 0 for a float model, half precision included. Its external data need not be loaded.
    """
    return counted(model.graph)


def is_quantized(model: onnx.ModelProto) -> bool:
    """Tell whether the model computes in integers anywhere, or stores most of its weights in 8 bits or fewer.

    A table of bytes alone, which a float model may have, makes no quantized one.
    """
    share = quantized_share(model)
    integers = any(node.op_type.startswith(_INTEGER) for node in nodes(model.graph))
    return integers or 2 * share.quantized > share.total


def refuse(method: Method, source: Path) -> None:
    """Raise ToolchainError where `method` would quantize a model that is quantized already."""
    if method.precision in _WHOLE or source.suffix != ".onnx":
        return
    model = onnx.load(str(source), load_external_data=False)
    if is_quantized(model):
        share = quantized_share(model)
        raise ToolchainError(
            f"the model is already quantized: {share.quantized} of {share.total} layers; quantizing again would "
            "round twice. Bring the float model"
        )
