"""Silence: no telemetry, no chatter.

OpenVINO's converter and NNCF report through the package `openvino_telemetry`: one singleton class that,
unless somebody opted out in a file under the user's home, writes a client id there and sends every event to
Google Analytics from a child process. NNCF creates that singleton when it is imported, before it looks at
NNCF_CI, so an environment variable is too late. Here every method of the class is replaced by one that does
nothing: no file, no process, no socket, and nothing is written into the user's home to say so.

ONNX Runtime's reporting is switched off by `edgewise.targets.onnxruntime`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["no_telemetry", "quiet"]


def no_telemetry() -> None:
    """Switch off the telemetry of ONNX Runtime, OpenVINO and NNCF in this process, before they are used."""
    importlib.import_module("edgewise.targets.onnxruntime")  # which sets ONNX Runtime's variable
    try:
        from openvino_telemetry import Telemetry
    except ImportError:
        return
    for name, member in list(vars(Telemetry).items()):
        if inspect.isfunction(member):
            setattr(Telemetry, name, _nothing)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing, for any arguments."""


@contextlib.contextmanager
def quiet(work: Path) -> Iterator[None]:
    """Run compression tools without telemetry, prints, progress bars, log lines and stray temporary files.

    Temporary files go to `work`, so that a killed tool leaves them where the caller clears up. Errors are
    raised as ever. It changes the whole process: build one artifact at a time in one process.
    """
    no_telemetry()
    disabled, temporary = logging.root.manager.disable, tempfile.tempdir
    logging.disable(logging.CRITICAL)
    tempfile.tempdir = str(work)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        tempfile.tempdir = temporary
