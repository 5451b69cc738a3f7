"""Released wheels for another platform, as pip finds them, in a folder that only that platform's Python reads.

Source: pip's documentation, "pip install", options --platform, --python-version, --implementation and --abi;
PEP 600 for the manylinux tags.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgewise.errors import ToolchainError

__all__ = ["install", "installed", "pinned"]

OLDEST_GLIBC = 17  # glibc 2.17, as in manylinux2014


def pinned(requirement: str) -> str:
    """Return a requirement for the version that is installed here; as it is, where there is none."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return requirement


def install(requirements: Sequence[str], site: Path, *, python: str, machine: str, glibc: int) -> None:
    """Install wheels, and what they need, for CPython `python` on Linux `machine` with glibc 2.`glibc` into `site`.

    The versions installed here, or where one has no such wheel, what the requirements allow. Nothing is built and
    no package's code is run. Raises ToolchainError with pip's reason.
    """
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
    options = [f"--target={site}", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    options += [f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")]
    options += [f"--platform={platform}" for platform in (*platforms, f"manylinux2014_{machine}")]
    failure = _pip(options, [pinned(one) for one in requirements])
    if failure:
        shutil.rmtree(site, ignore_errors=True)
        failure = _pip(options, requirements)
    if failure:
        raise ToolchainError(
            f"pip found no {machine} wheels: {failure}. Connect this machine to a package index and run again"
        )


def installed(site: Path) -> list[str]:
    """Return "name version" of every distribution in a folder."""
    found = importlib.metadata.distributions(path=[str(site)])
    return sorted(f"{one.name} {one.version}" for one in found)


def _pip(options: Sequence[str], requirements: Sequence[str]) -> str | None:
    """Run pip and return why it failed, or None."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    done = subprocess.run([*command, *options, *requirements], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line.strip().rstrip(".") for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no reason given"])[-1]
