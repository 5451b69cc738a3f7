"""Makes .tflite files for browsers: those of the target litert, which LiteRT.js runs as they are."""

from __future__ import annotations

from edgewise.targets.litert.build import (
    FORMAT,
    MAIN,
    METHODS,
    build,
    methods,
    operators,
    smaller,
    toolchain,
    variations,
)
from edgewise.targets.litert_web.engine import ENGINE

__all__ = [
    "FORMAT",
    "MAIN",
    "METHODS",
    "build",
    "install",
    "methods",
    "operators",
    "smaller",
    "toolchain",
    "variations",
]


def install() -> None:
    """Fetch LiteRT.js from npm, for the pages in which artifacts are run."""
    ENGINE.toolchain.install()
