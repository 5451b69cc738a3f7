"""Apply one method to one model, for one target: prepare the job, call the target's builder, look at what it wrote.

A method is either ONNX → ONNX, which is done here and the target then converts the result to its own format,
or it is a target's own quantizer. So there are methods + targets, never methods × targets.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from edgewise import targets
from edgewise.bundle.manifest import Artifact
from edgewise.bundle.store import artifact_of
from edgewise.errors import EdgewiseError, InputError, ToolchainError
from edgewise.lab.compress.already import refuse
from edgewise.lab.compress.equalise import equalised
from edgewise.lab.compress.fp16 import to_fp16
from edgewise.lab.compress.nncf_ptq import to_int8
from edgewise.lab.compress.prepare import prepared, read, save
from edgewise.lab.compress.recipe import Candidate, Repair
from edgewise.lab.compress.weights import to_int4_weights, to_int8_weights
from edgewise.lab.quiet import quiet
from edgewise.targets.building import Fp16, Job, Method, NncfPtq, Original, Samples, WeightInt4, WeightInt8

__all__ = ["Built", "build"]


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact, where its files lie by name, and how many seconds it took."""

    artifact: Artifact
    files: dict[str, Path]
    seconds: float


def build(
    candidate: Candidate, source: Path, calibration: Samples, folder: Path, kept: Path | None = None
) -> Built:
    """Apply the candidate's method to the ONNX file `source` (or one of the target's own format) and write the artifact into the empty `folder`.

    `kept` is a folder shared with other builds from the same source and samples. The same source, samples and
    library versions give the same bytes. Raises ToolchainError with the tool's own reason when it cannot be done, or
    where the source is quantized already; InputError for a method that the target does not have.
    """
    started = time.perf_counter()
    module = targets.builder(candidate.target)
    if type(candidate.method) not in module.METHODS:
        raise InputError(f"{candidate.id}: {candidate.target} has no such method")
    source, folder = source.absolute(), folder.absolute()  # the tools work in another folder
    refuse(candidate.method, source)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".work") as name, quiet(Path(name)):
        work = Path(name)
        try:
            source, kept = _repaired(candidate, source, kept or work, work)
            module.build(candidate.method, _job(source, calibration, folder, work, kept))
        except EdgewiseError:
            raise
        except Exception as error:
            raise ToolchainError(f"{candidate.id} failed: {_reason(error)}") from error
    files = _files(candidate, folder, module.MAIN)
    return Built(artifact_of(module.FORMAT, files.items()), files, time.perf_counter() - started)


def _repaired(candidate: Candidate, source: Path, kept: Path, work: Path) -> tuple[Path, Path]:
    """Return the source after the candidate's repairs, and the folder of what is kept for that source."""
    for repair in candidate.repairs:
        model = REPAIRS[repair](prepared(read(source)))
        source, kept = work / f"{repair}.onnx", kept / repair
        save(model, source)
        kept.mkdir(exist_ok=True)
    return source, kept


def _job(source: Path, calibration: Samples, folder: Path, work: Path, kept: Path) -> Job:
    return Job(
        source,
        calibration,
        folder,
        work,
        kept,
        onnx=partial(_applied, source, calibration, work),
        prepared=partial(_prepared, source, work),
    )


def _prepared(source: Path, work: Path) -> Path:
    path = work / "prepared.onnx"
    save(prepared(read(source)), path)
    return path


def _applied(source: Path, calibration: Samples, work: Path, method: Method) -> Path:
    """Apply one of edgewise's own methods, and write the result into a folder of its own."""
    path = Path(tempfile.mkdtemp(dir=work)) / "model.onnx"
    save(TO_ONNX[type(method)](method, read(source), calibration), path)
    return path


def _original(_: Method, model: onnx.ModelProto, __: Samples) -> onnx.ModelProto:
    return model


def _fp16(_: Method, model: onnx.ModelProto, __: Samples) -> onnx.ModelProto:
    return to_fp16(model)


def _weight_int8(method: Method, model: onnx.ModelProto, _: Samples) -> onnx.ModelProto:
    assert isinstance(method, WeightInt8)
    return to_int8_weights(prepared(model), method.protected)


def _weight_int4(method: Method, model: onnx.ModelProto, _: Samples) -> onnx.ModelProto:
    assert isinstance(method, WeightInt4)
    return to_int4_weights(prepared(model), method.protected)


def _nncf_ptq(method: Method, model: onnx.ModelProto, calibration: Samples) -> onnx.ModelProto:
    assert isinstance(method, NncfPtq)
    return to_int8(prepared(model), calibration, method)


REPAIRS: dict[Repair, Callable[[onnx.ModelProto], onnx.ModelProto]] = {"equalised": equalised}
TO_ONNX: dict[type[Method], Callable[[Method, onnx.ModelProto, Samples], onnx.ModelProto]] = {
    Original: _original,
    Fp16: _fp16,
    WeightInt8: _weight_int8,
    WeightInt4: _weight_int4,
    NncfPtq: _nncf_ptq,
}


def _files(candidate: Candidate, folder: Path, main: str) -> dict[str, Path]:
    """Return what was written by name, the main file first. Raises ToolchainError where there is none."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    if main not in found:
        raise ToolchainError(f"{candidate.id} wrote no {main}, and said nothing")
    return {name: found[name] for name in sorted(found, key=lambda name: (name != main, name))}


def _reason(error: BaseException) -> str:
    """Return what the tool said on one line; its C++ source positions say nothing to a reader."""
    text = re.sub(r"Exception from \S+:|Check '.*?' failed at \S+:", "", str(error))
    words = " ".join(text.split()) or "no reason given"
    return f"{type(error).__name__}: {words}"[:240]
