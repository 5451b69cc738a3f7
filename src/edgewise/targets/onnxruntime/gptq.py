"""GPTQ: each weight's rounding error is made up for by the weights not yet rounded, for the inputs that are seen.

The rounding is ONNX Runtime's own; the products of the inputs, which it needs, are summed here, one sample at a time,
without torch. Source: Frantar et al. 2023, GPTQ; https://arxiv.org/abs/2210.17323.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.targets.building import Samples

__all__ = ["round_weights"]

_SAMPLES = 128


def round_weights(
    model: onnx.ModelProto, names: Collection[str], samples: Samples, *, block: int, symmetric: bool
) -> None:
    """Move the weights of the MatMuls of these names to where 4 bits can hold them, for the inputs in `samples`.

    A weight that several of them read is rounded for the first one's inputs. Raises InputError without samples.
    """
    from onnxruntime.quantization.neural_compressor.weight_only import gptq

    if not samples:
        raise InputError("the rounding gptq asks calibration samples, and there are none")
    chosen = {node.input[1]: node.input[0] for node in reversed(model.graph.node) if node.name in names}
    sums = _sums(model, set(chosen.values()), samples[:_SAMPLES])
    for tensor in model.graph.initializer:
        if tensor.name in chosen:
            rounded = gptq(
                numpy_helper.to_array(tensor).copy(),
                sums[chosen[tensor.name]].copy(),
                group_size=block,
                scheme="sym" if symmetric else "asym",
                blocksize=block,  # so that a block's scale is taken after what the blocks before it moved
            )
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))


def _sums(model: onnx.ModelProto, wanted: Collection[str], samples: Samples) -> Mapping[str, NDArray[Any]]:
    """Return 2/n · Σ xᵀx over the n rows x that reach each of these tensors."""
    import onnxruntime

    fetch = sorted(wanted)
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fetch)
    session = onnxruntime.InferenceSession(
        asked.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    sums: dict[str, NDArray[Any]] = {}
    rows = dict.fromkeys(fetch, 0)
    for sample in samples:
        for name, found in zip(fetch, session.run(fetch, dict(sample)), strict=True):
            flat = found.reshape(-1, found.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + flat.T @ flat
            rows[name] += len(flat)
    return {name: total * (2 / max(rows[name], 1)) for name, total in sums.items()}
