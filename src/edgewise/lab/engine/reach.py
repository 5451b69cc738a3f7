"""Is there a Ray cluster at an address? Asked in a process of its own, as Ray waits for over a minute, and cannot be stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgewise.errors import InputError, ToolchainError

__all__ = ["QUIET", "check", "connect"]

PATIENCE_S = 12.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}  # the first is Ray's telemetry


def check(address: str) -> None:
    """Raise InputError for what is no address, and ToolchainError where no cluster answers within 15 seconds."""
    if address != "auto":
        _port(address)
    asking = [sys.executable, "-P", "-m", __name__, address]
    try:
        done = subprocess.run(
            asking,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            env={**os.environ, **QUIET},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unreachable(address, f"it did not answer within {PATIENCE_S:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise _unreachable(address, lines[-1][:300] if lines else f"exit code {done.returncode}")


def connect(address: str) -> None:
    """Connect this process. Ray's messages are kept off the terminal: it prints them to stdout."""
    os.environ.update(QUIET)
    import ray

    with suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    with _own_signals():
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does when it is asked to end: Ray would end it with a code of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _port(address: str) -> None:
    """Look whether anybody listens: the quickest way to say no."""
    host, colon, port = address.rpartition(":")
    if not (host and "/" not in host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(
            f"{address!r} is no address of a Ray cluster: give HOST:PORT as `ray start` prints it, or auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, reason: str) -> ToolchainError:
    return ToolchainError(
        f"no Ray cluster at {address}: {reason}. Start one (ray start --head), or give the address that it prints"
    )


if __name__ == "__main__":
    try:
        connect(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - its last line is the reason
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    os._exit(0)
