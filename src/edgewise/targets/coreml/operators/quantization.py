"""Quantized activations, and weights in their compressed forms (`constexpr_*`), which are unpacked at load."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator
from edgewise.targets.coreml.operators.windows import ints

Array = NDArray[Any]


def _along(values: Any, rank: int, axis: Any) -> Array:
    """Return one value, or one for each place on `axis`, in the shape that broadcasts."""
    array: Array = np.asarray(values)
    if array.ndim == 0:
        return array
    shape = [1] * rank
    shape[int(axis)] = -1
    return array.reshape(shape)


@operator("quantize")
def _quantize(input: Array, scale: Any, output_dtype: str, zero_point: Any = 0, axis: Any = None) -> Any:  # noqa: A002
    limits = np.iinfo(output_dtype)
    steps = np.rint(input / _along(scale, input.ndim, axis))
    return np.clip(steps + _along(zero_point, input.ndim, axis), limits.min, limits.max)


@operator("dequantize")
def _dequantize(input: Array, scale: Any, zero_point: Any = 0, axis: Any = None) -> Any:  # noqa: A002
    steps = input.astype(np.float32) - _along(zero_point, input.ndim, axis).astype(np.float32)
    return steps * _along(scale, input.ndim, axis)


@operator("constexpr_affine_dequantize")
def _affine_dequantize(quantized_data: Array, zero_point: Any, scale: Any, axis: Any) -> Any:
    return _dequantize(quantized_data, scale, zero_point, axis)


@operator("constexpr_cast")
def _cast(source_val: Array, output_dtype: str) -> Any:
    return source_val


@operator("constexpr_blockwise_shift_scale")
def _shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Any:
    """Each axis of `scale` divides the same axis of `data` into blocks."""
    steps = data.astype(np.float32)
    if offset is not None:
        steps = steps - _blocks(offset.astype(np.float32), data.shape)
    return steps * _blocks(scale, data.shape)


def _blocks(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat `values` along each axis until it has `shape`."""
    for axis, size in enumerate(shape):
        if values.shape[axis] != size:
            values = np.repeat(values, size // values.shape[axis], axis=axis)
    return values


@operator("constexpr_sparse_blockwise_shift_scale")
def _sparse_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    dense = _sparse_to_dense(nonzero_data, data_mask)
    return data_mask, _shift_scale(dense, scale, offset)[data_mask.astype(bool)]


@operator("constexpr_lut_to_dense")
def _lut_to_dense(indices: Array, lut: Array, shape: Any = None, vector_axis: Any = None) -> Any:
    """Up to iOS 16 there is one table, and `indices` are packed bits in the `shape` given."""
    if shape is None:
        return _looked_up(indices, lut, vector_axis)
    sizes = ints(shape)
    bits = int(math.log2(len(lut)))
    return lut[_unpacked(indices, bits, math.prod(sizes))].reshape(sizes)


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """Return `count` numbers of `bits` bits each, the lowest bit first."""
    stream = np.unpackbits(packed.view(np.uint8).ravel(), bitorder="little")[: count * bits]
    return np.packbits(stream.reshape(count, bits), axis=1, bitorder="little").ravel()


def _looked_up(indices: Array, lut: Array, vector_axis: Any) -> Array:
    """`lut` is (tables on each axis of `indices` …, entries, length of an entry's vector)."""
    *tables, entries, length = lut.shape
    numbers = np.arange(math.prod(tables)).reshape(tables)
    table = _blocks(numbers, indices.shape)
    values = lut.reshape(-1, entries, length)[table, indices.astype(np.intp)]
    if length == 1:
        return values[..., 0]
    axis = int(vector_axis) % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= length
    return np.moveaxis(values, -1, axis + 1).reshape(shape)


@operator("constexpr_lut_to_sparse")
def _lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Any = None
) -> tuple[Array, Array]:
    values = _looked_up(_sparse_to_dense(indices_nonzero_data, indices_mask), lut, vector_axis)
    length = lut.shape[-1]
    mask = indices_mask if length == 1 else np.repeat(indices_mask, length, axis=int(vector_axis))
    return mask, values[mask.astype(bool)]


@operator("constexpr_sparse_to_dense")
def _sparse_to_dense(nonzero_data: Array, mask: Array, shape: Any = None) -> Array:
    """Up to iOS 16 `mask` is packed bits in the `shape` given."""
    if shape is not None:
        sizes = ints(shape)
        mask = _unpacked(mask, 1, math.prod(sizes)).reshape(sizes)
    dense = np.zeros(mask.shape, nonzero_data.dtype)
    dense[mask.astype(bool)] = nonzero_data
    return dense
