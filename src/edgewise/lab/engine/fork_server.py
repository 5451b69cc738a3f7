"""The process that workers are forked from: it has loaded the heavy libraries, and has never run anything with them.

    {"module": …, "folder": …}  on stdin, one a line   →   {"folder": …, "pid": …}                    started
                                                           {"folder": …, "pid": …, "code": …}         ended

A child is what `python -m module folder` would be, in a session of its own, seconds earlier: NNCF alone takes four to
import. The server has one thread of its own and answers over pipes: no build opens a socket. Numerical libraries
start threads when they are imported, and know what to do when their process forks (pthread_atfork).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import traceback
from typing import Any, NoReturn

__all__: list[str] = []

LIBRARIES = (  # what edgewise's own methods and its first targets import, the quick ones first
    "onnx",
    "onnxruntime",
    "onnxruntime.quantization",
    "onnxruntime.tools.symbolic_shape_infer",
    "edgewise.lab.compress.apply",
    "edgewise.lab.data.metrics",
    "openvino",
    "nncf",
)


def _load() -> None:
    from edgewise.lab.quiet import no_telemetry

    no_telemetry()
    for name in LIBRARIES:
        # Whoever needs a library that is missing, or broken, says so.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(name)
    gc.freeze()  # what is loaded stays: a child that collected it would copy its pages


def _serve() -> None:
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    children: dict[int, str] = {}
    asked = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _bury(children)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, asked = (asked + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(request["module"], request["folder"])
                children[pid] = request["folder"]
                _say({"folder": request["folder"], "pid": pid})


def _bury(children: dict[int, str]) -> None:
    """Say of every child that has ended how it did."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in children:
            _say({"folder": children.pop(pid), "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(document: dict[str, Any]) -> None:
    os.write(1, json.dumps(document).encode() + b"\n")


def _become(module: str, folder: str) -> NoReturn:
    """Be the worker, in a session of its own, and end as Python does."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, (name, mode) in enumerate(
            ((os.devnull, os.O_RDONLY), (f"{folder}/out.txt", _NEW), (f"{folder}/log.txt", _NEW))
        ):
            opened = os.open(name, mode, 0o666)
            os.dup2(opened, number)
            os.close(opened)
        sys.argv = [module, folder]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201 - as Python does
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, this is where it ends
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    _load()
    _serve()
