"""ONNX Runtime's own quantizers: dynamic, and static in QDQ form with ranges from calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgewise.errors import ToolchainError, missing_extra
from edgewise.targets.building import Samples
from edgewise.targets.graph import nodes
from edgewise.targets.onnxruntime import bias, ranges

__all__ = ["quantize_dynamic", "quantize_static"]

_LARGE = 1_900_000_000
"""Bytes above which files keep their weights in a second file: protobuf ends at 2 GB."""


def quantize_dynamic(
    source: Path, destination: Path, work: Path, *, per_channel: bool, protected: Sequence[str] = ()
) -> None:
    """Write `source` with int8 weights (per tensor or per channel) and activations quantized as they come.

    Preprocessing may lose a type that the quantizer needs; the file is then taken as it came.
    """
    try:
        ready = _preprocessed(source, work / "dynamic.onnx")
        _quantize_dynamic(ready, destination, per_channel=per_channel, protected=protected)
    except Exception:  # noqa: BLE001 - the second try says what is wrong with the model itself
        _quantize_dynamic(source, destination, per_channel=per_channel, protected=protected)


def _quantize_dynamic(
    source: Path, destination: Path, *, per_channel: bool, protected: Sequence[str]
) -> None:
    quantization = _tools()
    quantization.quantize_dynamic(
        source,
        destination,
        per_channel=per_channel,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=named(source, protected),
        use_external_data_format=_is_large(source),
    )


def quantize_static(
    source: Path,
    destination: Path,
    work: Path,
    calibration: Samples,
    *,
    method: ranges.Method,
    per_channel: bool,
    bias_correction: bool = False,
    protected: Sequence[str] = (),
    kept: Path | None = None,
) -> None:
    """Write `source` in QDQ form: symmetric int8 weights, uint8 activations whose ranges `method` finds.

    uint8 activations are what ONNX Runtime recommends on x86: its VNNI kernels multiply unsigned by signed.
    `protected` are outputs of operators that stay in float. `kept` is a folder where ranges stay for other builds from the same source and samples.
    Raises ToolchainError where there is no bias to correct.
    """
    _tools()
    ready = _preprocessed(source, work / "static.onnx")
    found = ranges.find(ready, calibration, method, kept or work, large=_is_large(ready))
    write = partial(
        _quantize_static, method=method, found=found, per_channel=per_channel, protected=protected
    )
    if bias_correction:
        ready, count = bias.corrected(ready, write, calibration, work)
        if not count:
            raise ToolchainError("bias correction: no quantized layer of this model has a bias to correct")
    write(ready, destination)


def _quantize_static(
    source: Path,
    destination: Path,
    *,
    method: ranges.Method,
    found: Path,
    per_channel: bool,
    protected: Sequence[str],
) -> None:
    quantization = _tools()
    methods = quantization.CalibrationMethod
    quantization.quantize_static(
        source,
        destination,
        calibration_cache_path=found,
        calibrate_method={"minmax": methods.MinMax, "percentile": methods.Percentile}.get(
            method, methods.Entropy
        ),
        per_channel=per_channel,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=named(source, protected),
        use_external_data_format=_is_large(source),
    )


def named(source: Path, protected: Sequence[str]) -> list[str]:
    """Return the names of the nodes that make the tensors `protected`; those that have none get one in the file."""
    import onnx

    if not protected:
        return []
    model = onnx.load(source, load_external_data=False)
    found = [node for node in nodes(model.graph) if set(protected).intersection(node.output)]
    unnamed = [node for node in found if not node.name]
    for node in unnamed:
        node.name = f"protected {node.output[0]}"
    if unnamed:
        onnx.save(model, source)
    return [node.name for node in found]


def _tools() -> Any:
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise missing_extra("onnx, which ONNX Runtime's quantizers need,", "lab") from error
    return quantization


def _preprocessed(source: Path, destination: Path) -> Path:
    """Infer shapes and fold constants, as ONNX Runtime advises before it quantizes; return the file written.

    Its symbolic shape inference does not know every operator, and ONNX's own refuses some graphs; each is
    left out where it fails, and the quantizers then leave tensors of unknown shape in float.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reason: Exception | None = None
    for options in _fewer_and_fewer():
        try:
            quant_pre_process(
                source,
                destination,
                save_as_external_data=_is_large(source),
                all_tensors_to_one_file=True,
                external_data_location=f"{destination.name}.data",
                **options,
            )
        except Exception as error:  # noqa: BLE001 - asserts, sympy's and protobuf's errors: another way is tried
            reason = error
        else:
            _flatten_biases(destination)
            return destination
    raise ToolchainError(
        f"ONNX Runtime cannot preprocess {source.name} for quantization: {reason}"
    ) from reason


def _flatten_biases(path: Path) -> None:
    """Make Gemm biases of [1, N] plain [N], which adds the same: the per-channel quantizer fails on the others."""
    import onnx

    if _is_large(path):
        return
    model = onnx.load(path)
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    others = {
        name for node in model.graph.node for name in node.input[: 2 if node.op_type == "Gemm" else None]
    }
    for tensor in model.graph.initializer:
        if tensor.name in biases - others and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]
    onnx.save(model, path)


def _fewer_and_fewer() -> Iterator[dict[str, bool]]:
    yield {}
    yield {"skip_symbolic_shape": True}
    yield {"skip_symbolic_shape": True, "skip_onnx_shape": True}


def _is_large(path: Path) -> bool:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) > _LARGE
