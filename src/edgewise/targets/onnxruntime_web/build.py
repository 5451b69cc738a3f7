"""Makes ONNX files for browsers: those of the target onnxruntime, which WebAssembly runs as they are."""

from __future__ import annotations

from edgewise.targets.onnxruntime.build import (
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
from edgewise.targets.onnxruntime_web.engine import ENGINE

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
    """Fetch ONNX Runtime Web from npm, for the pages in which artifacts are run."""
    ENGINE.toolchain.install()
