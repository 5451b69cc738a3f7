"""Apply one method to one model, for one target. The type of the method selects the code.

A method is either ONNX → ONNX, and the target then converts the result to its own format, or it is a
target's own quantizer. So there are methods + targets, never methods × targets.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewise.bundle.manifest import Artifact
from edgewise.bundle.store import artifact_of
from edgewise.errors import EdgewiseError, InputError, ToolchainError
from edgewise.lab.compress import recipe
from edgewise.lab.compress.fp16 import to_fp16
from edgewise.lab.compress.nncf_ptq import to_int8
from edgewise.lab.compress.prepare import prepared, read, save
from edgewise.lab.compress.recipe import Candidate, Method
from edgewise.lab.compress.weight_int8 import to_int8_weights
from edgewise.lab.quiet import quiet

__all__ = ["Built", "build"]

Samples = Sequence[Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact, where its files lie by name, and how many seconds it took."""

    artifact: Artifact
    files: dict[str, Path]
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """What a handler works on. It reads `source`, writes into `folder`, and may leave anything in `work`.

    `kept` outlives the build: what any other from the same source and samples may use.
    """

    source: Path
    calibration: Samples
    folder: Path
    work: Path
    kept: Path | None = None

    @property
    def onnx(self) -> Path:
        """Where an ONNX → ONNX method writes."""
        return self.folder / "model.onnx"

    def prepared(self) -> Path:
        """Write the source in the form that the tools understand, and return where."""
        path = self.work / "prepared.onnx"
        save(prepared(read(self.source)), path)
        return path


def build(
    candidate: Candidate, source: Path, calibration: Samples, folder: Path, kept: Path | None = None
) -> Built:
    """Apply the candidate's method to the ONNX file `source` and write the artifact into the empty `folder`.

    `kept` is a folder shared with other builds from the same source and samples. The same source, samples and library versions give the same bytes. Raises ToolchainError with the tool's
    own reason when it cannot be done, InputError for a method that the target does not have.
    """
    started = time.perf_counter()
    source, folder = source.absolute(), folder.absolute()  # the tools work in another folder
    with tempfile.TemporaryDirectory(dir=folder, prefix=".work") as work, quiet(Path(work)):
        job = Job(source, calibration, folder, Path(work), kept)
        try:
            _apply(candidate, job)
        except EdgewiseError:
            raise
        except Exception as error:
            raise ToolchainError(f"{candidate.id} failed: {_reason(error)}") from error
    files = {path.name: path for path in sorted(folder.iterdir(), key=_main_first)}
    kind = "onnx" if "model.onnx" in files else "openvino-ir"
    return Built(artifact_of(kind, files.items()), files, time.perf_counter() - started)


def _apply(candidate: Candidate, job: Job) -> None:
    method, target = candidate.method, candidate.target
    native = NATIVE.get((type(method), target))
    if native:
        native(method, job)
    elif type(method) not in TO_ONNX or target not in ("onnxruntime", "openvino"):
        raise InputError(f"{candidate.id}: {target} has no such method")
    elif target == "onnxruntime":
        TO_ONNX[type(method)](method, job)
    else:
        from edgewise.targets.openvino import build as openvino

        inner = Job(job.source, job.calibration, job.work, job.work)
        TO_ONNX[type(method)](method, inner)
        openvino.convert(inner.onnx, job.folder)


def _original(_: Any, job: Job) -> None:
    save(read(job.source), job.onnx)


def _fp16(_: Any, job: Job) -> None:
    save(to_fp16(read(job.source)), job.onnx)


def _weight_int8(_: Any, job: Job) -> None:
    save(to_int8_weights(prepared(read(job.source))), job.onnx)


def _nncf_ptq(method: recipe.NncfPtq, job: Job) -> None:
    model = prepared(read(job.source))
    quantized = to_int8(model, job.calibration, preset=method.preset, transformer=method.transformer)
    save(quantized, job.onnx)


def _dynamic_int8(method: recipe.DynamicInt8, job: Job) -> None:
    from edgewise.targets.onnxruntime import build as onnxruntime

    onnxruntime.quantize_dynamic(job.prepared(), job.onnx, job.work, per_channel=method.per_channel)


def _static_int8(method: recipe.StaticInt8, job: Job) -> None:
    from edgewise.targets.onnxruntime import build as onnxruntime

    onnxruntime.quantize_static(
        job.prepared(),
        job.onnx,
        job.work,
        job.calibration,
        method=method.calibration,
        per_channel=method.per_channel,
        kept=job.kept,
    )


def _openvino_fp16(_: Any, job: Job) -> None:
    from edgewise.targets.openvino import build as openvino

    openvino.convert(job.source, job.folder, half=True)


def _openvino_ptq(method: recipe.OpenVinoPtq, job: Job) -> None:
    from edgewise.targets.openvino import build as openvino

    openvino.quantize(
        job.source, job.folder, job.calibration, preset=method.preset, transformer=method.transformer
    )


def _openvino_weights(method: recipe.OpenVinoWeights, job: Job) -> None:
    from edgewise.targets.openvino import build as openvino

    openvino.compress_weights(job.source, job.folder, mode=method.mode)


Handler = Callable[[Any, Job], None]

TO_ONNX: dict[type[Method], Handler] = {
    recipe.Original: _original,
    recipe.Fp16: _fp16,
    recipe.WeightInt8: _weight_int8,
    recipe.DynamicInt8: _dynamic_int8,
    recipe.StaticInt8: _static_int8,
    recipe.NncfPtq: _nncf_ptq,
}

NATIVE: dict[tuple[type[Method], str], Handler] = {
    (recipe.Fp16, "openvino"): _openvino_fp16,
    (recipe.OpenVinoPtq, "openvino"): _openvino_ptq,
    (recipe.OpenVinoWeights, "openvino"): _openvino_weights,
}


def _main_first(path: Path) -> tuple[bool, str]:
    return path.name not in ("model.onnx", "model.xml"), path.name


def _reason(error: BaseException) -> str:
    """Return what the tool said on one line; its C++ source positions say nothing to a reader."""
    text = re.sub(r"Exception from \S+:|Check '.*?' failed at \S+:", "", str(error))
    words = " ".join(text.split()) or "no reason given"
    return f"{type(error).__name__}: {words}"[:240]
