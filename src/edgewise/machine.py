"""This machine, as every part of edgewise names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["cores", "platform_name", "processor"]


def platform_name() -> str:
    """Return system and architecture as a fleet writes them: `linux-x86_64`, `linux-arm64`, `darwin-arm64`."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_SYNONYMS.get(machine, machine)}"


_SYNONYMS = {"aarch64": "arm64", "amd64": "x86_64"}  # Linux and Windows have words of their own


def cores() -> int:
    """Return the cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
