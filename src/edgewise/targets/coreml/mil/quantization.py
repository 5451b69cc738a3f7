"""Quantized tensors: what a quantizer of ONNX wrote stays in 8 bits in the package.

Weights become MIL's `constexpr_affine_dequantize`, which is unpacked when the model is loaded; activations pass
through `quantize` and `dequantize`, from which Core ML makes integer arithmetic where the device has it (iOS 17).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Var, axis_of, cast, constant, is_byte, known, mb

__all__: list[str] = []

Array = NDArray[Any]
_UINT8, _INT8 = 2, 3  # of onnx.TensorProto


@operator("QuantizeLinear")
def quantize(node: Node) -> Var:
    """Round to 8 bits; a constant at once."""
    x, scale, zero, axis = node[0], *_parameters(node)
    if node.get("block_size", 0):
        raise UnsupportedError("quantizes by blocks while the model runs")
    if zero.dtype not in (np.int8, np.uint8):
        raise UnsupportedError(f"quantizes to {zero.dtype}; MIL's activations have 8 bits")
    found, limits = known(x), np.iinfo(zero.dtype)
    if found is not None:
        rounded = np.rint(found / _spread(scale, found.ndim, axis)) + _spread(zero, found.ndim, axis)
        return constant(np.clip(rounded, limits.min, limits.max).astype(zero.dtype))
    along = {} if scale.ndim == 0 else {"axis": axis}
    return mb.quantize(input=x, scale=scale, zero_point=zero, output_dtype=str(zero.dtype), **along)


@operator("DequantizeLinear")
def dequantize(node: Node) -> Var:
    """Return floats; of a constant of 8 bits as one that is unpacked when loaded."""
    x, scale, zero, axis = node[0], *_parameters(node)
    found, block = known(x), int(node.get("block_size", 0))
    if found is None and block:
        raise UnsupportedError("dequantizes by blocks what depends on the model's inputs")
    along = {} if scale.ndim == 0 else {"axis": axis}
    if found is None and is_byte(x):
        return mb.dequantize(input=x, scale=scale, zero_point=zero.astype(_bytes(x)), **along)
    if found is None:
        shifted = mb.sub(x=cast(x, "fp32"), y=_spread(zero, x.rank, axis).astype(np.float32))
        return mb.mul(x=shifted, y=_spread(scale, x.rank, axis))
    if is_byte(x) and found.ndim > 1 and not block:
        return mb.constexpr_affine_dequantize(
            quantized_data=found, zero_point=zero.astype(found.dtype), scale=scale, axis=axis
        )
    if block:
        scale, zero = (np.repeat(each, block, axis) if each.ndim else each for each in (scale, zero))
        return constant((found.astype(np.float32) - zero.astype(np.float32)) * scale)
    wide = found.astype(np.float32) - _spread(zero, found.ndim, axis).astype(np.float32)
    return constant(wide * _spread(scale, found.ndim, axis))


def _parameters(node: Node) -> tuple[Array, Array, int]:
    """Return scale and zero point, both a number or both one per channel, and the channels' axis."""
    scale, zero = node.fixed(1, "scales"), node.fixed(2, "zero points")
    if zero is None:
        zero = np.zeros((), np.int8 if node.get("output_dtype", _UINT8) == _INT8 else np.uint8)
    if scale.size == 1 and not node.get("block_size", 0):
        scale, zero = scale.reshape(()), zero.reshape(())
    axis = axis_of(node.get("axis", 1), node[0].rank) if scale.ndim else 0
    return scale.astype(np.float32), np.broadcast_to(zero, scale.shape), axis


def _spread(values: Array, rank: int, axis: int) -> Array:
    """Return one value per channel with axes of size 1 around."""
    return values if values.ndim == 0 else values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _bytes(x: Var) -> type[np.generic]:
    return np.uint8 if x.dtype.is_unsigned() else np.int8
