"""The workstation: its toolchains in words, and how many builds it takes side by side."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgewise.machine import cores, platform_name, processor

__all__ = ["builders", "describe", "memory", "versions"]

TOOLCHAINS = (
    "edgewise",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "onnxslim",
    "ai-edge-litert",
    "coremltools",
)


def builders(model: int) -> int:
    """Return how many candidates of a model of `model` bytes may be built side by side: cores, if memory allows.

    The most that one build was seen to take is 1.1 GB: NNCF on the ONNX graph of a model of 90 MB.
    """
    import psutil

    memory = psutil.virtual_memory().available // (5 * 10**8 + 10 * model)
    return int(max(1, min(cores(), memory)))


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the container's."""
    import psutil

    try:
        limit = int(_CONTAINER.read_text())
    except (OSError, ValueError):  # no container, or "max"
        limit = sys.maxsize
    return int(min(psutil.virtual_memory().total, limit))


_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # cgroups, version 2


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
    about = {"platform": platform_name(), "processor": processor(), "cores": str(cores())}
    return about | {"python": platform.python_version()} | versions()
