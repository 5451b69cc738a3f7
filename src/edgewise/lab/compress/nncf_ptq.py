"""NNCF's post-training quantization of the ONNX graph: int8 weights and activations in QDQ form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray

from edgewise.errors import missing_extra
from edgewise.targets.building import Nncf
from edgewise.targets.graph import nodes
from edgewise.targets.nncf_options import nncf_options

__all__ = ["to_int8"]


def to_int8(
    model: onnx.ModelProto,
    calibration: Sequence[Mapping[str, NDArray[Any]]],
    method: Nncf,
) -> onnx.ModelProto:
    """Return `model`, whose weights are in initializers, quantized on all calibration samples.

    All that `method` does not say is the default of nncf.quantize, with one exception: before depthwise
    convolutions it would give activations one scale per channel, which ONNX Runtime refuses to run.
    """
    try:
        import nncf
        from nncf.quantization.advanced_parameters import QuantizationParameters
    except ImportError as error:
        raise missing_extra("nncf", "lab") from error
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(calibration)),
        subset_size=len(calibration),
        ignored_scope=_scope(model, method.protected),
        **nncf_options(method, activations_quantization_params=QuantizationParameters(per_channel=False)),
    )
    assert isinstance(quantized, onnx.ModelProto)
    _drop_unused(quantized.graph)
    del quantized.graph.value_info[:]  # types and shapes that NNCF inferred; runtimes infer them again
    return quantized


def _scope(model: onnx.ModelProto, protected: Sequence[str]) -> Any:
    """Return NNCF's list of the nodes that make the tensors `protected`; those without a name get one."""
    import nncf

    if not protected:
        return None
    found = [node for node in nodes(model.graph) if not set(protected).isdisjoint(node.output)]
    for node in found:
        node.name = node.name or f"protected {node.output[0]}"
    return nncf.IgnoredScope(names=[node.name for node in found])


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove float weights that were replaced but left in the file."""
    used = {name for node in nodes(graph) for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)
