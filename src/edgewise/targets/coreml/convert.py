"""Makes Core ML packages: an ONNX file → a MIL program → coremltools' passes → weights in fewer bits → a package.

The program is written for iOS 17 (macOS 14, watchOS 10), except where weights are stored in a form that iOS 18
brought. In float16 every input and output keeps its type.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.inliner

from edgewise.errors import ToolchainError
from edgewise.targets.building import Samples
from edgewise.targets.coreml import silent
from edgewise.targets.coreml.compress import Compression, compressed
from edgewise.targets.coreml.features import IO, Feature, signature
from edgewise.targets.coreml.precision import worth_rounding
from edgewise.targets.coreml.saving import write
from edgewise.targets.graph import PROTOBUF_LIMIT, nodes, tensors

__all__ = ["MOST", "OLDEST", "convert", "defined", "inlined", "written"]

OLDEST = "iOS17"
"""The system that packages are made for, unless they store weights in a form that came later."""

MOST = 4096
"""Largest size of a dynamic dimension, unless the calibration samples have a larger one: then the double of that."""

_INFINITE = 1e38
"""A float from which on coremltools makes infinity of it in float16."""


def convert(
    source: Path,
    folder: Path,
    calibration: Samples = (),
    *,
    half: bool = False,
    compression: Compression | None = None,
) -> None:
    """Write the ONNX file `source` as `model.mlpackage` and `io.json` into `folder`.

    `half` computes in float16. Raises RefusedError, which names the first operator that cannot be converted.
    """
    target = compression.target if compression else OLDEST
    with silent(), tempfile.TemporaryDirectory() as work:
        io, program = written(_read(source, half=half), calibration, target)
        package = _made(program, target, half=half, folder=Path(work) / "made.mlpackage")
        write(compressed(package, compression) if compression else package, folder / "model.mlpackage")
    (folder / "io.json").write_bytes(msgspec.json.format(msgspec.json.encode(io), indent=1) + b"\n")


def _read(source: Path, *, half: bool) -> onnx.ModelProto:
    model = inlined(onnx.load(str(source)))
    if half:
        _bound(model)
    return model


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with functions in place of their calls, its own and those that ONNX defines operators by."""
    from edgewise.targets.coreml.mil import registry

    every = chain(nodes(model.graph), *(function.node for function in model.functions))
    foreign = any(defined(kind) for kind in {node.op_type for node in every} - registry.supported())
    if not (foreign or model.functions) or model.ByteSize() > PROTOBUF_LIMIT:
        return model
    kept = [("", kind) for kind in sorted(registry.supported())]
    if foreign:
        # It fails where it lacks the types that a definition needs; that operator is then refused by name.
        with contextlib.suppress(RuntimeError):
            return onnx.inliner.inline_selected_functions(
                model, kept, exclude=True, inline_schema_functions=True
            )
    return onnx.inliner.inline_local_functions(model)


def defined(kind: str) -> bool:
    """Tell whether ONNX defines an operator by others."""
    if not onnx.defs.has(kind):
        return False
    schema = onnx.defs.get_schema(kind)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _bound(model: onnx.ModelProto) -> None:
    """Bring constants that stand for infinity into float16's range: masks are multiplied, and 0 times infinity is NaN."""
    most = float(np.finfo(np.float16).max)
    for tensor in tensors(model):
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            continue
        array = onnx.numpy_helper.to_array(tensor)
        if (np.abs(array) >= _INFINITE).any():
            bounded = np.where(np.abs(array) >= _INFINITE, np.clip(array, -most, most), array)
            tensor.CopyFrom(onnx.numpy_helper.from_array(bounded.astype(array.dtype), tensor.name))


def written(model: onnx.ModelProto, calibration: Samples = (), target: str = OLDEST) -> tuple[IO, Any]:
    """Return the features and the MIL program, with dynamic dimensions where that can be told in MIL.

    In some models the number of axes depends on a size: "drop this axis if it is 1". Of these the dimensions that
    are the same in all calibration samples are fixed at that size.
    """
    import coremltools as ct

    from edgewise.targets.coreml.mil.program import converted

    io, deployment = signature(model), getattr(ct.target, target)
    try:
        return io, converted(model, io, dict(_ranges(io, calibration)), deployment)
    except ToolchainError:
        settled = msgspec.structs.replace(io, inputs=tuple(_settled(part, calibration) for part in io.inputs))
        if settled == io:
            raise
        return settled, converted(model, settled, dict(_ranges(settled, calibration)), deployment)


def _settled(feature: Feature, calibration: Samples) -> Feature:
    """Return a feature with the dimensions fixed that never change."""
    shapes = {sample[feature.name].shape for sample in calibration} or {feature.shape}
    shape = tuple(
        part if isinstance(part, int) or len(set(found)) > 1 else found[0]
        for part, found in zip(feature.feature_shape, zip(*shapes, strict=True), strict=False)
    )
    return msgspec.structs.replace(feature, feature_shape=shape or feature.feature_shape)


def _ranges(io: IO, calibration: Samples) -> Iterator[tuple[str, Any]]:
    """Yield how far each dynamic dimension reaches: the default is the first sample's size."""
    from edgewise.targets.coreml.mil.program import Range

    seen: dict[str, list[int]] = {}
    for feature in io.inputs:
        for axis, part in enumerate(feature.feature_shape):
            if not isinstance(part, int):
                found = seen.setdefault(part or f"{feature.name}[{axis}]", [])
                found.extend(sample[feature.name].shape[axis] for sample in calibration)
    for name, found in seen.items():
        yield name, Range(default=found[0] if found else 1, most=max(MOST, 2 * max(found, default=0)))


def _made(program: Any, target: str, *, half: bool, folder: Path) -> Any:
    import coremltools as ct

    rounded = ct.transform.FP16ComputePrecision(op_selector=worth_rounding())
    return ct.convert(
        program.program,
        convert_to="mlprogram",
        inputs=program.inputs,
        minimum_deployment_target=getattr(ct.target, target),
        compute_precision=rounded if half else ct.precision.FLOAT32,
        pass_pipeline=_passes(),
        skip_model_load=True,
        package_dir=str(folder),
    )


def _passes() -> Any:
    """Return coremltools' passes, without the one that stores integers in 16 bits: it wraps those above 32767."""
    import coremltools as ct

    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes({"common::add_int16_cast"})
    return pipeline
