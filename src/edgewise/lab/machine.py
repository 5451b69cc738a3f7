"""This machine and its toolchains, in words: what a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgewise.lab.fleet.tiers import this_platform

__all__ = ["builders", "cores", "describe", "versions"]

TOOLCHAINS = ("edgewise", "numpy", "onnx", "onnxruntime", "openvino", "nncf", "onnxslim")


def cores() -> int:
    """Return the cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def builders(model: int) -> int:
    """Return how many candidates of a model of `model` bytes may be built side by side: cores, if memory allows.

    The most that one build was seen to take is 1.1 GB: NNCF on the ONNX graph of a model of 90 MB.
    """
    import psutil

    memory = psutil.virtual_memory().available // (5 * 10**8 + 10 * model)
    return int(max(1, min(cores(), memory)))


def versions() -> dict[str, str]:
    """Return the installed version of each toolchain that decides what a candidate becomes."""
    found = {}
    for name in TOOLCHAINS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, str]:
    """Return platform, processor, cores and versions."""
    about = {"platform": this_platform(), "processor": _processor(), "cores": str(cores())}
    return about | {"python": platform.python_version()} | versions()


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
