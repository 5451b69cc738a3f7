"""What can go wrong, by whose fault it is.

EdgewiseError
├── InputError       yours: model, data, fleet or config        → exit 2
├── GoalError        reached, but not the goal                  → exit 1
├── ToolchainError   a framework is missing or failed           → exit 3
├── TrustError       digest, signature, expiry, rollback        → exit 4
└── DeviceError      at run time on a device

A message says what failed, on what, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DeviceError",
    "EdgewiseError",
    "GoalError",
    "InputError",
    "ToolchainError",
    "TrustError",
    "missing_extra",
]

OK = 0
INTERRUPTED = 130


class EdgewiseError(Exception):
    """Anything edgewise refuses or fails to do; ``exit_code`` is what the CLI returns."""

    exit_code: ClassVar[int] = 2


class InputError(EdgewiseError):
    """The model, data, fleet, config or output path given cannot be used."""

    exit_code = 2


class GoalError(EdgewiseError):
    """The work finished, but a goal was missed or not shown."""

    exit_code = 1


class ToolchainError(EdgewiseError):
    """A framework or library is missing, or failed on valid input."""

    exit_code = 3


class TrustError(EdgewiseError):
    """A digest, signature, licence or version check refused a file."""

    exit_code = 4


class DeviceError(EdgewiseError):
    """A model could not be loaded or run on this device."""

    exit_code = 3


def missing_extra(package: str, extra: str) -> ToolchainError:
    """Return the error that names the exact command which installs `package`."""
    return ToolchainError(f"{package} is not installed. Run: pip install 'edgewise[{extra}]'")
