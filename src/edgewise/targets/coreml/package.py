"""Reads a saved `.mlpackage`: its manifest, the model's description and program, and the weights beside it.

A package is a folder: `Manifest.json` names the root model below `Data`, a protobuf of `Model.proto`, whose large
constants lie in `weights/` beside it. coremltools rebuilds the program from both; nothing of the package is run.
https://apple.github.io/coremltools/mlmodel/Format/Model.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgewise.errors import DeviceError, missing_extra

__all__ = ["load_program", "read_model"]


class _Item(msgspec.Struct, frozen=True):
    path: str


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    root_model_identifier: str
    item_info_entries: dict[str, _Item]


def read_model(package: Path) -> tuple[Any, Path]:
    """Return the model's specification (protobuf) and the folder of its weights.

    Raises DeviceError where `package` is no package or holds no ML Program of one function, ToolchainError
    where coremltools is missing.
    """
    try:
        from coremltools.proto import Model_pb2
    except ImportError as error:
        raise missing_extra("coremltools", "coreml") from error
    path = _root_model(package)
    model = Model_pb2.Model()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's errors are no common family
        raise DeviceError(f"{path} is no Core ML model: {error}") from error
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise DeviceError(
            f"{package} holds a {kind}, not an ML Program: convert it with convert_to='mlprogram'"
        )
    functions = sorted(model.mlProgram.functions)
    if len(functions) != 1:
        raise DeviceError(
            f"{package} has {len(functions)} functions ({', '.join(functions)}): save the one to run on its own"
        )
    return model, path.parent / "weights"


def _root_model(package: Path) -> Path:
    manifest = package / "Manifest.json"
    try:
        found = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
        path = package / "Data" / found.item_info_entries[found.root_model_identifier].path
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise DeviceError(
            f"{package} is no Core ML package: {manifest.name} cannot be read: {error}"
        ) from error
    if not path.resolve().is_relative_to(package.resolve()):
        raise DeviceError(f"{manifest} names a model outside the package: {path}")
    return path


def load_program(package: Path, model: Any, weights: Path) -> Any:
    """Return coremltools' Program with the saved weights. Raises DeviceError where it cannot be rebuilt."""
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        return load(model, model.specificationVersion, str(weights))
    except Exception as error:  # the loader asserts and raises a dozen types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DeviceError(f"coremltools cannot load the program of {package}: {reason}") from error
