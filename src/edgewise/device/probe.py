"""Answer many inputs with one artifact in one process: what a lab starts wherever it wants to see one run.

    python -m edgewise.device.probe onnxruntime model.onnx in.npz out.npz

It loads the artifact through the target's own `session.py`, as every bundle does on a device, and needs nothing
of the lab: copy a model and a file of inputs to a Raspberry Pi, run this line there, and take the answers back.
Both files are as `edgewise.targets.exchange` says. Standard output holds nothing but reports, one JSON object a
line, each replacing the one before: a process that crashes has told how far it came. It shows numerics; what it
takes to start Python is no measure of speed.

One thread, so that sums are taken in the same order wherever it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import OK, DeviceError, EdgewiseError, InputError
from edgewise.machine import platform_name
from edgewise.targets import Tensors, exchange
from edgewise.targets.exchange import Report

__all__ = ["main", "probe"]

Answers = list[dict[str, NDArray[Any]]]


def probe(
    target: str,
    artifact: Path,
    outputs: Sequence[TensorSpec],
    samples: Sequence[Tensors],
    tell: Callable[[Report], None] = lambda report: None,
) -> tuple[Report, Answers]:
    """Load an artifact's main file and answer samples until one fails; `tell` hears of each step that is done.

    `outputs` are the original's; without them the artifact's own names and types are kept.
    """
    report = Report(platform=platform_name())
    answers: Answers = []
    try:
        module = targets.session(target)
        report = _step(report, tell, runtime=module.version(), evidence=module.EVIDENCE)
        session = module.load(artifact, outputs, threads=1)
        report = _step(report, tell, loads=True)
        for inputs in samples:
            answers.append(session.run(inputs))
        session.close()
    except EdgewiseError as error:
        return _step(report, tell, answered=len(answers), reason=str(error)), answers
    except Exception as error:  # noqa: BLE001 - runtimes raise a dozen unrelated types
        reason = f"failed on sample {len(answers)}: {_one_line(error)}"
        return _step(report, tell, answered=len(answers), reason=reason), answers
    return _step(report, tell, answered=len(answers)), answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or the exit code of what went wrong."""
    asked = _parser().parse_args(arguments)
    tell = _teller()
    try:
        samples = exchange.read(asked.inputs)
        report, answers = probe(asked.target, asked.artifact, _specs(asked.outputs), samples, tell)
        exchange.write(asked.answers, answers)
    except EdgewiseError as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return error.exit_code
    if report.reason:
        sys.stderr.write(f"edgewise: {report.reason}\n")
        return DeviceError.exit_code
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m edgewise.device.probe", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("target", help="runtime of the artifact, e.g. onnxruntime")
    parser.add_argument("artifact", type=Path, help="its main file")
    parser.add_argument("inputs", type=Path, help="samples to answer (.npz)")
    parser.add_argument("answers", type=Path, help="where to write the answers (.npz)")
    parser.add_argument(
        "--outputs", type=Path, help="JSON list of the original's outputs: name, dtype, shape"
    )
    return parser


def _specs(path: Path | None) -> tuple[TensorSpec, ...]:
    if path is None:
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[TensorSpec, ...])
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path} is no list of outputs (name, dtype, shape): {error}") from error


def _teller() -> Callable[[Report], None]:
    """Keep standard output for reports: what runtimes print there themselves goes to standard error."""
    sys.stdout.flush()
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def tell(report: Report) -> None:
        reports.write(msgspec.json.encode(report) + b"\n")

    return tell


def _step(report: Report, tell: Callable[[Report], None], **done: Any) -> Report:
    report = msgspec.structs.replace(report, **done)
    tell(report)
    return report


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
