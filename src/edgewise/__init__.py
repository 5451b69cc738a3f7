"""edgewise: a trained model in; a measured, verified, chosen bundle and a readable report out.

`build` needs the lab extra; `open` needs only the base install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.device.runner import Answer, Model
    from edgewise.device.runner import open_bundle as open  # noqa: A004
    from edgewise.facade import Build, build

__all__ = ["Answer", "Build", "Model", "build", "open"]

_HOME = {
    "Answer": ("edgewise.device.runner", "Answer"),
    "Build": ("edgewise.facade", "Build"),
    "Model": ("edgewise.device.runner", "Model"),
    "build": ("edgewise.facade", "build"),
    "open": ("edgewise.device.runner", "open_bundle"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that a device never loads the lab."""
    if name not in _HOME:
        raise AttributeError(f"module 'edgewise' has no attribute {name!r}")
    import importlib

    module, attribute = _HOME[name]
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        from edgewise.errors import missing_extra

        raise missing_extra(error.name or module, "lab") from error


def __dir__() -> list[str]:
    return sorted(__all__)
