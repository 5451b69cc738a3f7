"""Nothing leaves this machine: no verb opens a socket, in Python or in C++, and nothing is left in the home."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import bundles
import guarded
from edgewise.facade import Build
from projects import Project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard is a Linux system call filter")

OPENS_A_SOCKET = [
    "import socket; socket.socket()",
    "import _socket; _socket.socketpair; _socket.socket()",
    "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)",
    "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import socket; socket.socket()']))",
]


@pytest.mark.parametrize("code", OPENS_A_SOCKET)
def test_the_guard_kills_whoever_opens_a_socket(code: str, tmp_path: Path) -> None:
    assert guarded.run(tmp_path, sys.executable, "-c", code).code != 0


def test_the_guard_notices_a_telemetry_that_is_not_switched_off(tmp_path: Path) -> None:
    assert "onnxruntime" in guarded.run(tmp_path, sys.executable, "-c", "import onnxruntime").log


@pytest.mark.slow
def test_a_build_opens_no_socket(build_run: guarded.Run) -> None:
    assert (build_run.code, build_run.log) == (0, "")


@pytest.mark.slow
def test_no_worker_of_a_build_was_killed_for_opening_one(built: Build) -> None:
    assert [row.reason for row in built.result.candidates if "SIGSYS" in (row.reason or "")] == []


@pytest.mark.slow
def test_a_build_leaves_nothing_in_the_home(build_run: guarded.Run) -> None:
    assert list(build_run.home.rglob("*")) == []


@pytest.mark.parametrize("verb", ["init", "inspect", "run", "verify"])
def test_no_other_verb_opens_a_socket_or_leaves_anything(verb: str, project: Project, tmp_path: Path) -> None:
    arguments: dict[str, list[str | Path]] = {
        "init": [tmp_path / "new"],
        "inspect": [project.model],
        "run": [bundles.text(tmp_path / "b"), "-i", "great"],
        "verify": [tmp_path / "b"],
    }
    run = guarded.run(tmp_path / "run", guarded.EDGEWISE, verb, *arguments[verb])
    assert (run.err, run.code, run.log, list(run.home.rglob("*"))) == ("", 0, "", [])
