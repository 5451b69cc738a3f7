"""Fetch one pinned npm package, and check npm's own digest of it; nothing of it is installed or run."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

from edgewise.errors import ToolchainError

__all__ = ["pack"]


def pack(pin: str, integrity: str, folder: Path) -> Path:
    """Download `pin` ("name@version") into the empty `folder` and return its .tgz.

    Raises ToolchainError when it cannot be had, or is not the one with this `integrity` ("sha512-…").
    """
    archive = _packed(pin, folder)
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if integrity != f"sha512-{base64.b64encode(digest).decode()}":
        raise ToolchainError(f"npm gave another {pin} than the one that was pinned: do not use it")
    return archive


def _packed(pin: str, folder: Path) -> Path:
    options = ("--ignore-scripts", "--loglevel=error", "--pack-destination", str(folder))
    try:
        done = subprocess.run(
            ["npm", "pack", pin, *options], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ToolchainError("npm is not installed. Run: apt-get install npm (or install Node.js)") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ToolchainError(f"npm cannot fetch {pin}: {lines[-1]}")
    (archive,) = folder.glob("*.tgz")
    return archive
