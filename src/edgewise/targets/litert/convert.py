"""From ONNX to a float .tflite that is presented as the original is: once for all methods of a build.

    prepared ONNX → shapes fixed as the samples show them → onnx2tf in its own environment
                  → names, layout and layers put right → answers as the original does, or fails

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
from edgewise.cache import Cache
from edgewise.errors import EdgewiseError, ToolchainError
from edgewise.targets import Session, Tensors
from edgewise.targets.building import Job, Samples
from edgewise.targets.litert import rewrite, session, shapes
from edgewise.targets.litert.toolchain import Converter, converter
from edgewise.targets.onnxruntime import session as onnxruntime

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
    samples = _different(job.calibration)
    reference = _answers(onnxruntime.load(job.source, ()), samples)
    for everything in (False, True):
        graph, constants = shapes.fixed(original, job.calibration, everything=everything)
        try:
            _convert(tool, graph, folder / MAIN, job.work)
            _describe(constants, folder / IO)
            _check(folder / MAIN, samples, reference)
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
    known = [*inputs, *map(rewrite.written, inputs)]  # it looks for either
    job = json.dumps({"source": str(source), "folder": str(folder), "inputs": known})
    own = {"HOME": str(work), "TMPDIR": str(work), "ORT_DISABLE_TELEMETRY": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [tool.python, "-P", str(_SCRIPT), job],
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
    rewrite.rewrite(written, made, [*inputs, *(value.name for value in graph.graph.output)])


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


def verify(main: Path, samples: Samples) -> None:
    """Load a finished file and let it answer a few samples. Raises EdgewiseError when it does not."""
    _answers(session.load(main, (), threads=1), _different(samples))


def _check(main: Path, samples: Samples, reference: Sequence[Tensors]) -> None:
    """Compare a new file's answers with the original's; put the channels of its outputs where they were.

    Raises EdgewiseError when it does not answer, or in other shapes, or nothing like the original.
    """
    answers = _answers(session.load(main, (), threads=1), samples)
    moved = [name for name, wanted in reference[0].items() if _channels_last(wanted, answers[0][name])]
    if moved:
        rewrite.channels_first(main, moved)
        answers = _answers(session.load(main, (), threads=1), samples)
    difference = compare(reference, answers)
    if not difference.rms <= _BROKEN:
        raise ToolchainError(f"the converted file's answers are wrong: {_shapes(reference, answers)}")


def _channels_last(wanted: NDArray[Any], got: NDArray[Any]) -> bool:
    """Tell whether an answer is right once its last axis is the second."""
    if wanted.ndim < 3 or wanted.ndim != got.ndim:
        return False
    return _distance(wanted, np.moveaxis(got, -1, 1)) < _distance(wanted, got)


def _distance(wanted: NDArray[Any], got: NDArray[Any]) -> float:
    if wanted.shape != got.shape:
        return float("inf")
    return float(np.abs(wanted.astype(np.float64) - got.astype(np.float64)).max(initial=0.0))


def _shapes(reference: Sequence[Tensors], answers: Sequence[Tensors]) -> str:
    """Say in what an answer differs most plainly."""
    for wanted, got in zip(reference, answers, strict=True):
        for name, array in wanted.items():
            if got[name].shape != array.shape:
                return f"{name!r} has shape {list(got[name].shape)}, and not {list(array.shape)}"
    return f"{compare(reference, answers).rms:.2g} away from the original's (rms)"


def _answers(loaded: Session, samples: Samples) -> list[dict[str, NDArray[Any]]]:
    try:
        return [loaded.run(sample) for sample in samples]
    except EdgewiseError:
        raise
    except Exception as error:  # LiteRT raises ValueError and RuntimeError for what it cannot do
        raise ToolchainError(
            f"the file loads but does not run: {' '.join(str(error).split())[:200]}"
        ) from error
    finally:
        loaded.close()


def _different(samples: Samples) -> list[Tensors]:
    """Return a few samples, of shapes as different as there are."""
    by_shape = {tuple(np.shape(array) for array in sample.values()): sample for sample in reversed(samples)}
    return list(by_shape.values())[-_CHECKED:]
