"""From ONNX to a float .tflite that is presented as the original is: once for all methods of a build.

    prepared ONNX → shapes fixed as the samples show them → onnx2tf in its own environment
                  → dense layers and embeddings in LiteRT's own operators → answers as the original does, or fails

onnx2tf keeps names and types, and, where it is told so, the layout of every input, so the file needs nothing
beside it. The one exception is an input that became a constant: `io.json` keeps what it was, and the session
refuses any other value.

io.json: {"constants": {NAME: {"dtype": "int64", "shape": [], "value": 16000}}}
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewise.bundle.golden import compare
from edgewise.bundle.manifest import TensorSpec
from edgewise.cache import Cache
from edgewise.errors import EdgewiseError, ToolchainError
from edgewise.targets import Tensors
from edgewise.targets.building import Job, Samples
from edgewise.targets.graph import spec
from edgewise.targets.litert import rewrite, session, shapes
from edgewise.targets.litert.toolchain import Converter, converter

__all__ = ["IO", "MAIN", "floats", "verify"]

MAIN, IO = "model.tflite", "io.json"
_SCRIPT = Path(__file__).with_name("run_onnx2tf.py")
_CHECKED = 4  # samples, of different shapes where there are any
_BROKEN = 0.1  # rms of the differences over that of the answers; unrelated answers are about 1.4 away


def floats(job: Job) -> Path:
    """Return a folder with `model.tflite` in float32, and `io.json` where it needs one: made once, then kept.

    Raises ToolchainError when the model cannot be converted, or does not answer as the original does.
    """
    entry = job.kept / "litert-float"
    if not entry.is_dir():
        with Cache(job.kept).fill(entry) as folder:
            _make(job, folder)
    return entry


def _make(job: Job, folder: Path) -> None:
    """Convert with as little fixed as possible; a second time, with all that samples share, where that fails."""
    tool = converter()
    original = onnx.load(str(job.prepared()))
    reference = _answers_of_onnx(job.source, _different(job.calibration))
    for everything in (False, True):
        graph, constants = shapes.fixed(original, job.calibration, everything=everything)
        try:
            _convert(tool, graph, folder / MAIN, job.work)
            _describe(constants, folder / IO)
            verify(folder / MAIN, list(map(spec, original.graph.output)), job.calibration, reference)
        except EdgewiseError:
            if everything:
                raise
        else:
            return


def _convert(tool: Converter, graph: onnx.ModelProto, made: Path, work: Path) -> None:
    source, folder = work / "fixed.onnx", work / "onnx2tf"
    onnx.save(graph, source)
    shutil.rmtree(folder, ignore_errors=True)
    inputs = [value.name for value in graph.graph.input]
    job = json.dumps({"source": str(source), "folder": str(folder), "inputs": inputs})
    own = {"HOME": str(work), "TMPDIR": str(work), "ORT_DISABLE_TELEMETRY": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [tool.python, str(_SCRIPT), job],
        env=os.environ | own | dict(tool.environment),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    written = folder / f"{source.stem}_float32.tflite"
    if done.returncode or not written.exists():
        raise ToolchainError(f"onnx2tf cannot convert this model: {_reason(done)}")
    rewrite.dense(written, made)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {done.returncode}, and no reason given"


def _describe(constants: Mapping[str, NDArray[Any]], path: Path) -> None:
    path.unlink(missing_ok=True)
    if constants:
        known = {
            name: {"dtype": array.dtype.name, "shape": list(array.shape), "value": array.item()}
            for name, array in constants.items()
        }
        path.write_text(json.dumps({"constants": known}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def verify(
    main: Path, outputs: Sequence[TensorSpec], samples: Samples, reference: Sequence[Tensors] | None = None
) -> None:
    """Load a finished file and let it answer a few samples.

    Raises EdgewiseError when it does not, or answers in other shapes than the reference, or nothing like it.
    """
    loaded = session.load(main, outputs, threads=1)
    try:
        answers = [loaded.run(sample) for sample in _different(samples)]
    except EdgewiseError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolchainError(f"the converted file loads but does not run: {reason}") from error
    finally:
        loaded.close()
    if reference is not None:
        _check(reference, answers)


def _check(reference: Sequence[Tensors], answers: Sequence[Tensors]) -> None:
    for wanted, got in zip(reference, answers, strict=True):
        for name, array in wanted.items():
            if got[name].shape != array.shape:
                shapes = f"{list(got[name].shape)}, and not {list(array.shape)}"
                raise ToolchainError(f"the converted file answers {name!r} in shape {shapes}")
    rms = compare(reference, answers).rms
    if not rms <= _BROKEN:
        raise ToolchainError(f"the converted file's answers are wrong: {rms:.2g} away from the original's")


def _different(samples: Samples) -> list[Tensors]:
    """Return a few samples, of shapes as different as there are."""
    by_shape = {tuple(np.shape(array) for array in sample.values()): sample for sample in reversed(samples)}
    return list(by_shape.values())[-_CHECKED:]


def _answers_of_onnx(source: Path, samples: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
    from edgewise.targets.onnxruntime import session as original

    loaded = original.load(source, ())
    try:
        return [loaded.run(sample) for sample in samples]
    finally:
        loaded.close()
