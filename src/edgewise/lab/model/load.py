"""What the user brings, checked once at the door: a path in, an `OnnxModel` out.

The file is read once; those bytes are parsed, hashed and checked, so the digest is of what is used.
Then: external data is read in (`external.py`), ONNX Runtime is asked whether it knows the opset, ONNX's
own checker goes over the graph, and the signature is taken. Any refusal is an InputError with its remedy.

Models above 2 GB are loaded when their weights are in external data. The checker then reads the file by
path; what would hand the whole graph to C++ in memory (simplify, a run for shapes) keeps away and says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import onnx

from edgewise.bundle.manifest import Format, TensorSpec
from edgewise.errors import InputError
from edgewise.lab.model.base import Model
from edgewise.lab.model.external import ExternalFile, embed
from edgewise.lab.model.runtime import open_session, reason, too_new
from edgewise.lab.model.stranger import explain_bytes, explain_suffix
from edgewise.targets.graph import PROTOBUF_LIMIT, spec

__all__ = ["OnnxModel", "Origin", "load"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What an ONNX model was made from: its path, and a sentence for the report."""

    path: str
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel(Model):
    """A checked ONNX model, its external data in memory.

    With external data, `digest` is of the file's bytes followed by each data file's location and sha256, by
    location, and `size` counts those files. `opset` is the version of the default domain (0 when the graph uses
    other domains only). With an `origin`, `path` is the ONNX file that was made, and `digest` is of a .pt2's bytes.
    """

    format: ClassVar[Format] = "onnx"
    runtime: ClassVar[str] = "onnxruntime"

    proto: onnx.ModelProto = field(repr=False)
    opset: int
    origin: Origin | None = None


def load(path: Path) -> OnnxModel:
    """Read and check the ONNX model at `path`; raise InputError saying what is wrong and what to do."""
    path = Path(path)
    data = _read(path)
    proto = _parse(path, data)
    external = embed(proto, path)
    size = len(data) + sum(file.size for file in external)
    if why := too_new(proto):
        raise InputError(f"{path} is too new: {why}. Export it again with a lower opset, for example 17.")
    _check(path, proto, size)
    inputs, outputs = _signature(path, proto)
    return OnnxModel(path, inputs, outputs, _digest(data, external), size, proto, _opset(proto))


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the path of the .onnx file in it.")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path of the model.")
    if why := explain_suffix(path):
        raise InputError(why)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    if not data:
        raise InputError(f"{path} is empty: copy or export the model again.")
    return data


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    try:
        proto = onnx.ModelProto.FromString(data)
    except Exception as error:
        raise InputError(explain_bytes(path, data)) from error
    if not (proto.HasField("graph") and proto.ir_version):
        raise InputError(explain_bytes(path, data))
    return proto


def _signature(path: Path, proto: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    # Before IR version 4 every initializer is listed as an input too; a caller need not feed those.
    stored = {tensor.name for tensor in proto.graph.initializer}
    fed = [value for value in proto.graph.input if value.name not in stored]
    for kind, values in (("input", fed), ("output", proto.graph.output)):
        if not values:
            raise InputError(f"{path} has no {kind}s, so there is nothing to run. Export the model again.")
        for value in values:
            held = value.type.WhichOneof("value")
            if held != "tensor_type":
                raise InputError(
                    f"{path}: {kind} {value.name!r} is a {held.removesuffix('_type').replace('_', ' ')}, and "
                    "only tensors are supported. Export it with plain tensors (scikit-learn: zipmap=False)."
                )
    return tuple(map(spec, fed)), tuple(map(spec, proto.graph.output))


def _check(path: Path, proto: onnx.ModelProto, size: int) -> None:
    """Run ONNX's checker, types and shapes included; where only those fail, ONNX Runtime decides."""
    source = proto if size < PROTOBUF_LIMIT else str(path)
    try:
        onnx.checker.check_model(source, full_check=True)
    except Exception as strict:
        if why := _refused(source):
            raise InputError(f"{path} is not valid ONNX: {why}") from strict


def _refused(source: onnx.ModelProto | str) -> str | None:
    """Return why a model that fails the full check can't be used; a stale shape note does no harm."""
    try:
        onnx.checker.check_model(source)
        open_session(source)
    except Exception as error:  # noqa: BLE001 - checker and runtime raise whatever C++ threw
        return reason(error)
    return None


def _digest(data: bytes, external: tuple[ExternalFile, ...]) -> str:
    digest = hashlib.sha256(data)
    for file in external:
        digest.update(f"\0{file.location}\0{file.sha256}".encode())
    return digest.hexdigest()


def _opset(proto: onnx.ModelProto) -> int:
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)
