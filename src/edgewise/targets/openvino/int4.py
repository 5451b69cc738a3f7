"""Weights in 4 bits for OpenVINO, by nncf.compress_weights: MatMuls only, as no other operator has an int4 kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.errors import ToolchainError
from edgewise.targets.building import Job
from edgewise.targets.openvino import convert

if TYPE_CHECKING:
    from edgewise.targets.openvino.build import OpenVinoInt4

__all__ = ["compress"]

_INT4 = frozenset({"i4", "u4"})


def compress(job: Job, method: OpenVinoInt4) -> None:
    """Write the job's source as IR with int4 weights. Raises ToolchainError where none can be stored so."""
    # NNCF's options that ask samples take weights that lie turned: GPTQ refuses others, and the scales that it
    # estimates for them are wrong (a MiniLM then answers at chance).
    asked = method.awq or method.scale_estimation or method.gptq or method.ratio < 1
    convert.compress_weights(
        job.source,
        job.folder,
        "int4_sym" if method.symmetric else "int4_asym",
        job.calibration if asked else (),
        turn=asked,
        group_size=method.group,
        ratio=method.ratio,
        awq=method.awq,
        scale_estimation=method.scale_estimation,
        gptq=method.gptq,
        advanced_parameters=_adjusted(),
    )
    if not _has_int4(job.folder / "model.xml"):
        raise ToolchainError(
            "no MatMul weight of this model can be stored in 4 bits (convolutions, tables and the last layer have "
            "8): take an int8 method"
        )


def _adjusted() -> Any:
    """Return the setting by which a weight that the group does not divide takes a smaller one, or stays in int8."""
    from nncf.quantization.advanced_parameters import AdvancedCompressionParameters, GroupSizeFallbackMode

    return AdvancedCompressionParameters(group_size_fallback_mode=GroupSizeFallbackMode.ADJUST)


def _has_int4(graph: Any) -> bool:
    import openvino

    model = openvino.Core().read_model(str(graph))
    return any(
        node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in _INT4
        for part in convert.graphs(model)
        for node in part.get_ordered_ops()
    )
