"""What the user brings from torch → `OnnxModel`: converted in a process of its own, kept by content.

A `.pt2` is converted once for each content and version of torch. A function may read other files, so it is run for
every build, and its ONNX file is kept by its own content.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edgewise.bundle.canonical import digest_file
from edgewise.cache import Cache
from edgewise.errors import InputError, ToolchainError, missing_extra
from edgewise.lab import jobs
from edgewise.lab.model.load import OnnxModel, Origin, load
from edgewise.lab.model.torch_program.job import Job, Made

__all__ = ["bring", "is_torch"]

TIMEOUT = 1800.0
RULES = 1  # raise it when the same program would give another ONNX file
_MAIN, _RECORD = "model.onnx", "made.json"
_WORKER = "edgewise.lab.model.torch_program.worker"


def is_torch(path: Path) -> bool:
    """Tell whether a path names what torch made: a `.pt2`, or a function that returns a module."""
    return ".py:" in path.name or path.suffix.lower() == ".pt2"


def bring(path: Path, cache: Cache) -> OnnxModel:
    """Convert what `path` names, or take it from the cache.

    Raises InputError saying what is wrong and what to do, ToolchainError when torch is missing or cannot convert it.
    """
    for library in ("torch", "onnxscript"):
        if find_spec(library) is None:
            raise missing_extra(library, "torch")
    file = Path(str(path).rpartition(":")[0]) if ".py:" in path.name else path
    if not file.is_file():
        raise InputError(f"{file} is not a file: check the path of the model.")
    entry = _of_function(path, cache) if file != path else _of_program(path, cache)
    made = msgspec.json.decode((entry / _RECORD).read_bytes(), type=Made)
    model = load(entry / _MAIN)
    digest = model.digest if file != path else digest_file(path)
    return replace(model, digest=digest, origin=Origin(str(path), _note(path, made)))


def _of_program(path: Path, cache: Cache) -> Path:
    key = {
        "pt2": digest_file(path),
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")},
        "rules": RULES,
    }
    entry = cache.entry("models", key)
    if not (entry / _RECORD).is_file():
        with cache.fill(entry) as folder:
            _convert(path, folder)
    return entry


def _of_function(path: Path, cache: Cache) -> Path:
    with tempfile.TemporaryDirectory(prefix="edgewise-") as name:
        folder = Path(name)
        _convert(path, folder)
        entry = cache.entry("models", {"onnx": digest_file(folder / _MAIN), "rules": RULES})
        if not (entry / _RECORD).is_file():
            with cache.fill(entry) as kept:
                for file in folder.iterdir():
                    (kept / file.name).write_bytes(file.read_bytes())
    return entry


def _convert(path: Path, folder: Path) -> None:
    """Write the ONNX file and the record of how it was made into `folder`."""
    job = Job(str(path.absolute()), str(folder / _MAIN))
    with tempfile.TemporaryDirectory(prefix="edgewise-") as scratch:
        try:
            made = jobs.run(_WORKER, job, Made, timeout=TIMEOUT, scratch=Path(scratch))
        except jobs.JobError as error:
            raise ToolchainError(f"{path} was not converted to ONNX: {error}") from error
    if made.refused:
        raise ToolchainError(made.refused)
    (folder / _RECORD).write_bytes(msgspec.json.encode(made))


def _note(path: Path, made: Made) -> str:
    sizes = "at the example's size and another" if made.sizes > 1 else "at the example's size"
    return (
        f"the model was made from {path.name} by torch {made.torch}, and answers in ONNX Runtime as the torch program "
        f"does within {made.rms:.1e} (rms, relative), {sizes}"
    )
