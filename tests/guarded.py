"""Run `edgewise` as a user does, watched: no process of it may open a socket, whoever tries.

Two guards, both inherited by every child. A seccomp filter kills a process at the system call socket(2), so C++
code is held to it too. An audit hook, loaded as sitecustomize by every Python process, writes down what Python
code tries, and an ONNX Runtime that is imported before its telemetry is switched off.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

EDGEWISE = Path(sys.executable).with_name("edgewise")

_WATCH = """\
import os, sys
def watch(event, args):
    early = event == "import" and args[0] == "onnxruntime" and os.environ.get("ORT_DISABLE_TELEMETRY") != "1"
    if event.startswith("socket.") or early:
        with open(os.environ["EDGEWISE_TEST_LOG"], "a") as log:
            print(os.getpid(), event, args[:2], file=log)
sys.addaudithook(watch)
"""

_GUARD = """\
import ctypes, os, platform, struct, sys
number, kind = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}[platform.machine()]
LOAD, EQUAL, RETURN, KILL, ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x7FFF0000
program = [
    (LOAD, 0, 0, 4), (EQUAL, 0, 2, kind),      # another architecture's system calls: kill
    (LOAD, 0, 0, 0), (EQUAL, 0, 1, number),    # socket(2): kill
    (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW),
]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
listed = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
for call in ((38, 1, 0, 0, 0), (22, 2, ctypes.c_void_p(ctypes.addressof(listed)), 0, 0)):
    if libc.prctl(*call):
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Run:
    """What a guarded run did; `log` holds one line per event that should not have been."""

    code: int
    out: str
    err: str
    log: str
    home: Path


def run(folder: Path, *command: str | Path, environment: dict[str, str] | None = None) -> Run:
    """Run a command under both guards, with a home of its own in `folder`."""
    home, site, log = folder / "home", folder / "site", folder / "log.txt"
    for made in (home, site):
        made.mkdir(parents=True, exist_ok=True)
    (site / "sitecustomize.py").write_text(_WATCH)
    log.touch()
    # This process was silenced by an import, and its children would inherit the variables that did it.
    inherited = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "MPLCONFIGDIR")}
    own = {"HOME": str(home), "PYTHONPATH": str(site), "EDGEWISE_TEST_LOG": str(log)}
    guard = [sys.executable, "-S", "-c", _GUARD] if sys.platform == "linux" else []
    done = subprocess.run(
        [*guard, *map(str, command)],
        env=inherited | own | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, log.read_text(), home)
