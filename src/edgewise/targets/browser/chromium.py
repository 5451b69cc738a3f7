"""The system's Chromium, started without a window and kept off every network but localhost.

Flags: https://peter.sh/experiments/chromium-command-line-switches/ (generated from Chromium's sources).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import Any

from edgewise.errors import ToolchainError, missing_extra

__all__ = ["PROVIDERS", "driver", "executable", "launch", "version"]

VARIABLE = "EDGEWISE_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PROVIDERS = ("wasm", "webgpu")

_QUIET = (
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium asks for updates and accounts all the same: no name is found. (It still opens a UDP socket towards a
    # public address, to see whether there is a route for IPv6, and sends nothing.)
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
# A GPU in software, so that WebGPU computes the same everywhere: it shows numbers, never speed.
_SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def executable() -> str:
    """Return the path of Chromium. Raises ToolchainError, saying how to install it, where there is none."""
    if named := os.environ.get(VARIABLE):
        if found := shutil.which(named):
            return found
        raise ToolchainError(
            f"{VARIABLE} is {named}, which cannot be run: give the path of a Chromium or Chrome"
        )
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise ToolchainError(
        f"no Chromium in PATH ({', '.join(NAMES)}). Run: apt-get install chromium, or set {VARIABLE} to one"
    )


@cache
def _version(path: str) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    if done.returncode or not words:
        raise ToolchainError(f"{path} --version fails: give another Chromium in {VARIABLE}")
    return " ".join(words[:2])


def version() -> str:
    """Return its name and version, such as "Chromium 156.0.8078.79". Raises ToolchainError where there is none."""
    return _version(executable())


def driver() -> Any:
    """Return Playwright's module of blocking calls. Raises ToolchainError where it is missing."""
    try:
        from playwright import sync_api
    except ImportError as error:
        raise missing_extra("playwright", "web") from error
    return sync_api


def launch(playwright: Any, provider: str) -> Any:
    """Start Chromium with a new, empty profile. Raises ToolchainError when it does not start.

    It runs in its sandbox, except for root, whom Chromium refuses one.
    """
    gpu = provider == "webgpu"
    root = getattr(os, "geteuid", lambda: 1)() == 0
    try:
        return playwright.chromium.launch(
            executable_path=executable(),
            args=[*_QUIET, *(_SOFTWARE_GPU if gpu else ())],
            ignore_default_args=["--disable-gpu"] if gpu else None,
            chromium_sandbox=not root,
        )
    except driver().Error as error:
        raise ToolchainError(f"{executable()} does not start: {str(error).splitlines()[0]}") from error
