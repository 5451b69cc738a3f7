"""This machine, as every part of edgewise names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["cores", "platform_name", "processor"]


def platform_name() -> str:
    """Return system and architecture, for example `linux-x86_64`."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"


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
