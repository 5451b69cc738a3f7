"""Runs ONNX files in a headless Chromium with ONNX Runtime Web: by WebAssembly, or by WebGPU on a GPU in software.

Times are those of the page, on this machine's browser: `measured` for the web, and for nothing else. With
`provider = webgpu` the GPU is emulated (SwiftShader), so that setting shows numbers, never speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.targets import Settings, chosen
from edgewise.targets.browser import session
from edgewise.targets.browser.chromium import PROVIDERS
from edgewise.targets.onnxruntime_web.engine import ENGINE

__all__ = ["EVIDENCE", "FORMAT", "NATIVE", "PROVIDER", "SETTINGS", "load", "version"]

FORMAT = "onnx"
PROVIDER = "wasm"
EVIDENCE = Evidence.MEASURED
NATIVE = False
SETTINGS: Settings = {"provider": PROVIDERS}


def version() -> str:
    """Return the versions of ONNX Runtime Web and Chromium. Raises ToolchainError, with the command, when one is missing."""
    return session.version(ENGINE)


def load(
    path: Path,
    outputs: Sequence[TensorSpec],
    *,
    threads: int = 0,
    settings: Mapping[str, str] | None = None,
) -> session.BrowserSession:
    """Load an ONNX file in a page of its own; 0 threads leaves the number to the engine.

    Weights outside an ONNX file lie beside it under names that begin with its own. Raises DeviceError when the file
    cannot be loaded, ToolchainError when a part is missing.
    """
    provider = chosen(SETTINGS, settings)["provider"]
    return session.BrowserSession(
        ENGINE, path, outputs, beside=f"{path.name}?*", threads=threads, provider=provider
    )
