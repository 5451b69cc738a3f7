"""Silence: no telemetry, no chatter.

The frameworks report to their vendors from the moment they are imported, so each is silenced where edgewise
imports it: in `edgewise.targets.onnxruntime` and `edgewise.targets.openvino`, which say how. NNCF reports the
same way as OpenVINO and is silenced with it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["no_telemetry", "quiet"]


def no_telemetry() -> None:
    """Switch off the telemetry of ONNX Runtime, OpenVINO and NNCF in this process; call it before they load."""
    for name in ("onnxruntime", "openvino"):
        importlib.import_module(f"edgewise.targets.{name}")


@contextlib.contextmanager
def quiet(work: Path) -> Iterator[None]:
    """Run compression tools without telemetry, prints, progress bars, log lines and stray temporary files.

    Temporary files go to `work`, so that a killed tool leaves them where the caller clears up, and so does what
    ONNX Runtime writes into the working folder when it cannot infer a model's shapes. Errors are raised as ever. It changes the whole process: build one artifact at a time in one process.
    """
    no_telemetry()
    disabled, temporary, uuid1 = logging.root.manager.disable, tempfile.tempdir, uuid.uuid1
    logging.disable(logging.CRITICAL)
    tempfile.tempdir = str(work)
    # onnx names temporary files by it, and it opens sockets to read the network card's address.
    uuid.uuid1 = lambda *_, **__: uuid.uuid4()
    try:
        with contextlib.chdir(work), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        tempfile.tempdir, uuid.uuid1 = temporary, uuid1
