"""The converter's own environment: onnx2tf pins 18 packages exactly, which no other environment could share.

onnx2tf writes .tflite files itself, without TensorFlow. It declares Python 3.12; where there is one, it gets a
virtual environment with all its pins. Elsewhere onnx2tf alone is put into a folder and runs on the packages that
edgewise has, all of which it was tried with on Python 3.11. Both write the same files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewise.errors import ToolchainError
from edgewise.targets.toolchains import Toolchain

__all__ = ["Converter", "converter", "install", "version"]

ONNX2TF = "onnx2tf==2.6.9"
HELPERS = ("sne4onnx==2.0.1", "sng4onnx==2.0.1")
PYTHONS = ("python3.12", "python3.13", "python3.14", "python3")
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
_NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 12))"


@dataclass(frozen=True, slots=True)
class Converter:
    """How to start Python with onnx2tf: `python`, in this `environment`."""

    python: str
    environment: Mapping[str, str]


def converter() -> Converter:
    """Return the converter. Raises ToolchainError, with the command that installs it, when it is not there."""
    folder = _toolchain().path()
    own = _python(folder / "venv")
    if own.exists():
        return Converter(str(own), {"PYTHONPATH": ""})
    return Converter(sys.executable, {"PYTHONPATH": str(folder / "packages")})


def version() -> str:
    """Return "onnx2tf 2.6.9". Raises ToolchainError, with the command that installs it, when it is not there."""
    _toolchain().path()
    return ONNX2TF.replace("==", " ")


def install() -> None:
    """Make the environment, from the machine's package index. Raises ToolchainError with pip's reason."""
    _toolchain().install()


def _toolchain() -> Toolchain:
    return Toolchain("litert", (ONNX2TF, *HELPERS), _make)


def _make(folder: Path) -> None:
    for python in _pythons():
        if not _run([python, "-m", "venv", str(folder / "venv")]):
            if not (failure := _run([_python(folder / "venv"), *_PIP, ONNX2TF, *HELPERS])):
                return
            raise ToolchainError(f"{ONNX2TF} cannot be installed: {failure}. Check pip's package index")
        shutil.rmtree(folder / "venv", ignore_errors=True)
    target = ("--no-deps", "--ignore-requires-python", "--target", str(folder / "packages"))
    if failure := _run([sys.executable, *_PIP, *target, ONNX2TF, *HELPERS]):
        raise ToolchainError(f"{ONNX2TF} cannot be installed: {failure}. Check pip's package index")


def _pythons() -> Iterator[str]:
    """Yield each Python that runs and is new enough: some that are on the path only name others."""
    for name in (sys.executable, *PYTHONS):
        found = shutil.which(name)
        if found and not _run([found, "-c", _NEW_ENOUGH]):
            yield found


def _python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: Sequence[str | Path]) -> str | None:
    """Run a command and return the last line of what it complained of, or None when it went well."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"exit code {done.returncode}"])[-1].rstrip(".")
