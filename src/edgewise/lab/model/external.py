"""External data: weights kept in files beside the model, read into it with nothing taken on trust.

A location comes from the model file, which may come from anyone: it has to name a plain file inside the
model's folder, long enough for what is declared. Each file is read once; those bytes are hashed and used.

Source: https://onnx.ai/onnx/repo-docs/ExternalData.html; attacks: GHSA-538c-55jv-c5g9.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from edgewise.errors import InputError
from edgewise.targets.graph import bytes_of, dtype_name, tensors

__all__ = ["ExternalFile", "embed"]


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """One weights file that was read: its `location` in the model, bytes, and sha256 in hex."""

    location: str
    size: int
    sha256: str


def embed(proto: onnx.ModelProto, path: Path) -> tuple[ExternalFile, ...]:
    """Move the external data of the model at `path` into `proto`, in place; return the files, by location.

    Raises InputError for a location outside the model's folder, a missing file or one that is too short.
    """
    wanted = defaultdict(list)
    for tensor in tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            declared = {entry.key: entry.value for entry in tensor.external_data}
            wanted[declared.get("location", "")].append((tensor, declared))
    return tuple(_embed_file(path, location, wanted[location]) for location in sorted(wanted))


def _embed_file(
    path: Path, location: str, users: list[tuple[onnx.TensorProto, dict[str, str]]]
) -> ExternalFile:
    file = _inside(path, location)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}, the weights of {path}: {error.strerror or error}") from error
    for tensor, declared in users:
        start, length = _extent(tensor, declared, path)
        if start + length > len(data):
            raise InputError(
                f"{file} has {len(data):,} bytes, but {path} needs {start + length:,} for {tensor.name!r}: "
                "the file is cut short, or belongs to another export. Copy it again."
            )
        tensor.raw_data = data[start : start + length]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return ExternalFile(location, len(data), hashlib.sha256(data).hexdigest())


def _inside(path: Path, location: str) -> Path:
    """Return the weights file, refusing any location that could name one outside the model's folder."""
    for flavour in (PurePosixPath(location), PureWindowsPath(location)):
        if not location or flavour.anchor or ".." in flavour.parts:
            raise InputError(
                f"{path} keeps its weights at {location!r}, which is not inside its folder. "
                "Save it again with external data in one file beside the model."
            )
    file = path.parent / location
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(
            f"{file}, the weights of {path}, is a link that leaves the model's folder. "
            "Copy the file itself there."
        )
    if not file.is_file():
        raise InputError(f"{path} keeps its weights in {file}, which is missing. Copy it beside the model.")
    return file


def _extent(tensor: onnx.TensorProto, declared: Mapping[str, str], path: Path) -> tuple[int, int]:
    """Return where the tensor's bytes start and how many there are; the shape has the last word."""
    dtype = dtype_name(tensor.data_type)
    expected = bytes_of(dtype, math.prod(tensor.dims))
    try:
        start, length = int(declared.get("offset", 0)), int(declared.get("length", expected))
    except ValueError:
        start = length = -1
    if dtype == "str" or start < 0 or length != expected:
        raise InputError(
            f"{path} declares external data for {tensor.name!r} (offset {declared.get('offset', 0)}, length "
            f"{declared.get('length')}) that does not fit {dtype} {list(tensor.dims)}. Export it again."
        )
    return start, length
