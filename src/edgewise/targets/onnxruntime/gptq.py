"""GPTQ: each weight's rounding error is made up for by the weights not yet rounded, for the inputs that are seen.

    model, samples → Σ xᵀx of what each layer reads → its weights, moved to where 4 bits can hold them

ONNX Runtime's own rounding by this name (1.32) reads the factor of the inverse on its empty side, and so rounds to the
nearest. Source: Frantar et al. 2023, GPTQ, algorithm 1; https://arxiv.org/abs/2210.17323.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.targets.building import Samples
from edgewise.targets.graph import write

__all__ = ["round_weights"]

_SAMPLES = 128
_LEVELS = 15
_DAMPING = 0.01

Array = NDArray[np.float64]


def round_weights(
    model: onnx.ModelProto,
    names: Collection[str],
    samples: Samples,
    work: Path,
    *,
    block: int,
    symmetric: bool,
) -> None:
    """Move the weights of the MatMuls of these names to where 4 bits can hold them, for the inputs in `samples`.

    A weight that several of them read is rounded for the first one's inputs. Raises InputError without samples.
    """
    if not samples:
        raise InputError("the rounding gptq asks calibration samples, and there are none")
    chosen = {node.input[1]: node.input[0] for node in reversed(model.graph.node) if node.name in names}
    sums = _sums(model, sorted(set(chosen.values())), samples[:_SAMPLES], work / "gptq.onnx")
    for tensor in model.graph.initializer:
        if tensor.name in chosen:
            weight = numpy_helper.to_array(tensor).astype(np.float64)
            rounded = _rounded(weight, sums[chosen[tensor.name]], block, symmetric).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))


def _rounded(weight: Array, products: Array, block: int, symmetric: bool) -> Array:
    """Return the weight [inputs, outputs] with its rows rounded one after the other, `weight` being used up."""
    factor = _factor(products)
    for start in range(0, len(weight), block):
        rows = slice(start, min(start + block, len(weight)))
        inner, errors = factor[rows, rows], np.zeros_like(weight[rows])
        scale, zero = _grid(weight[rows], symmetric)
        for at, row in enumerate(range(rows.start, rows.stop)):
            wanted = weight[row].copy()
            weight[row] = (np.clip(np.rint(wanted / scale) + zero, 0, _LEVELS) - zero) * scale
            errors[at] = (wanted - weight[row]) / inner[at, at]
            weight[row + 1 : rows.stop] -= np.outer(inner[at, at + 1 :], errors[at])
        weight[rows.stop :] -= factor[rows, rows.stop :].T @ errors
    return weight


def _factor(products: Array) -> Array:
    """Return the upper Cholesky factor of the inverse; inputs that never vary are given some variance."""
    damped = products.copy()
    places = np.arange(len(damped))
    damped[places, places] += _DAMPING * max(float(np.mean(np.diag(products))), 1e-12)
    factor: Array = np.linalg.cholesky(np.linalg.inv(damped)).T
    return factor


def _grid(rows: Array, symmetric: bool) -> tuple[Array, Array]:
    """Return the scale and the zero point of every column, as MatMulNBits' own quantizer chooses them."""
    if symmetric:
        low, high = rows.min(axis=0), rows.max(axis=0)
        widest = np.where(high > -low, high, low)
        return np.where(widest == 0, 1.0, widest / -8), np.full(rows.shape[1], 8.0)
    low, high = np.minimum(rows.min(axis=0), 0), np.maximum(rows.max(axis=0), 0)
    scale = np.where(high > low, (high - low) / _LEVELS, 1.0)
    return scale, np.rint(-low / scale)


def _sums(
    model: onnx.ModelProto, fetch: Sequence[str], samples: Samples, path: Path
) -> Mapping[str, NDArray[Any]]:
    """Return 2/n · Σ xᵀx over the n rows x that reach each of the tensors `fetch`."""
    session = _asked(model, fetch, path)
    sums: dict[str, NDArray[Any]] = {}
    rows = dict.fromkeys(fetch, 0)
    for sample in samples:
        for name, found in zip(fetch, session.run(fetch, dict(sample)), strict=True):
            flat = found.reshape(-1, found.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + flat.T @ flat
            rows[name] += len(flat)
    return {name: total * (2 / max(rows[name], 1)) for name, total in sums.items()}


def _asked(model: onnx.ModelProto, fetch: Sequence[str], path: Path) -> Any:
    """Return a session that gives the tensors `fetch`; the model is written to `path` for it."""
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fetch)
    write(asked, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
