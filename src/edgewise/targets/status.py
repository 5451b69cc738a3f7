"""What each target can do on this machine: what is installed, what it can make, and what running it here shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.errors import EdgewiseError, InputError

__all__ = ["Status", "install", "status"]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One target. `runtime` and `toolchain` are versions, null where missing: `missing` has the commands.

    `evidence` is what a figure is that comes from running an artifact here: `none` where it cannot run. `native`:
    this machine itself runs it, so that `edgewise.open` may choose it.
    """

    name: str
    format: str
    runtime: str | None
    provider: str
    toolchain: str | None
    precisions: tuple[str, ...]
    evidence: Evidence
    native: bool
    missing: tuple[str, ...] = ()


def status(name: str) -> Status:
    """Look at one target. A third party's that cannot even be imported is one that lacks everything."""
    missing: list[str] = []
    device = _tried(lambda: targets.session(name), missing)
    lab = _tried(lambda: targets.builder(name), missing)
    runtime = _tried(device.version, missing) if device else None
    return Status(
        name=name,
        format=str(lab.FORMAT) if lab else "",
        runtime=runtime,
        provider=device.PROVIDER if device else "",
        toolchain=_tried(lab.toolchain, missing) if lab else None,
        precisions=_precisions(lab.METHODS) if lab else (),
        native=bool(device and device.NATIVE),
        evidence=device.EVIDENCE if device and runtime else Evidence.NONE,
        missing=tuple(dict.fromkeys(missing)),
    )


def _precisions(methods: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(method.precision for method in methods))


def _tried(ask: Callable[[], Any], missing: list[str]) -> Any:
    try:
        return ask()
    except EdgewiseError as error:
        missing.append(str(error))
    except Exception as error:  # noqa: BLE001 - a third party's module may fail in any way
        missing.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return None


def install(name: str) -> str:
    """Make what pip alone cannot install for a target, and return the versions.

    Raises InputError for a target with nothing of the kind, ToolchainError when it cannot be made.
    """
    module = targets.builder(name)
    make = getattr(module, "install", None)
    if make is None:
        raise InputError(
            f"{name} needs nothing but Python packages: `edgewise targets` shows the pip command if one is missing"
        )
    make()
    return module.toolchain()
