"""Peak resident memory of this process, above what it held before the model was loaded."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak", "reset_peak"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> int:
    """Forget the peak so far where the system allows it, and return the resident bytes now."""
    try:
        _CLEAR.write_text("5")  # proc(5): resets VmHWM to the current VmRSS
    except OSError:  # another system, or a sandbox that forbids it
        return peak()
    return _read("VmRSS")


def peak() -> int:
    """Return the peak resident bytes."""
    if _STATUS.exists():
        return _read("VmHWM")
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _read(key: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
