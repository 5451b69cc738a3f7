"""Workers forked from a process that has the libraries loaded: seconds less for each, in a process of its own still.

Linux alone: elsewhere system libraries do not survive a fork. It is for builds and judgements; what is timed, or whose
memory is measured, starts afresh.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO

from edgewise.lab import reaper
from edgewise.lab.bounded import Process
from edgewise.lab.engine import fork_server

__all__ = ["POSSIBLE", "Forks", "ServerLostError"]

POSSIBLE = sys.platform == "linux"
LOST = -1000  # no process ends with it


class ServerLostError(Exception):
    """The server is gone, so how a worker ended nobody knows."""


@dataclass(slots=True)
class _Forked:
    """A worker whose parent is the server, which tells when it started and how it ended."""

    pid: int = 0
    code: int | None = None
    begun: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)

    def poll(self) -> int | None:
        if self.code == LOST:
            raise ServerLostError
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        if not self.over.wait(timeout):
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        assert self.code is not None
        return self.code


class Forks:
    """A server that is started when it is first needed."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, _Forked] = {}
        self._lock = Lock()

    def launch(self, module: str, folder: Path) -> Process:
        """Start a worker. Raises ServerLostError."""
        worker = _Forked()
        with self._lock:
            server = self._server = self._server or self._started()
            assert server.stdin is not None
            if server.poll() is not None:
                raise ServerLostError
            self._workers[str(folder)] = worker
            try:
                server.stdin.write(json.dumps({"module": module, "folder": str(folder)}).encode() + b"\n")
                server.stdin.flush()
            except OSError as error:
                raise ServerLostError from error
        worker.begun.wait()
        if worker.pid == 0:
            raise ServerLostError
        return worker

    def close(self) -> None:
        """End the server; its workers have ended before."""
        if server := self._server:
            assert server.stdin is not None
            with suppress(OSError):
                server.stdin.close()
            server.kill()
            server.wait()
            reaper.ended(server.pid)
            self._server = None

    def _started(self) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as log:
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", fork_server.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONHASHSEED": "0"},
                start_new_session=True,
            )
        reaper.started(server.pid)
        assert server.stdout is not None
        Thread(target=self._listen, args=(server.stdout,), daemon=True).start()
        return server

    def _listen(self, said: IO[bytes]) -> None:
        for line in said:
            document = json.loads(line)
            worker = self._workers[document["folder"]]
            worker.pid = document["pid"]
            worker.begun.set()
            if "code" in document:
                del self._workers[document["folder"]]
                worker.code = document["code"]
                worker.over.set()
        said.close()
        for worker in self._workers.values():  # they run on, and their groups are ended by those who wait
            worker.code = LOST
            worker.begun.set()
            worker.over.set()
