"""Writes .mlpackage folders whose bytes depend on the model alone.

coremltools names the parts of a package by random UUIDs and notes the day of the conversion in the model. Here
the UUIDs derive from the files' contents, the day is left out, and maps are written in sorted order.
Format: https://apple.github.io/coremltools/docs-guides/source/comparing-ml-programs-and-neural-networks.html
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

__all__ = ["MODEL", "WEIGHTS", "write"]

_AUTHOR = "com.apple.CoreML"
MODEL = f"Data/{_AUTHOR}/model.mlmodel"
WEIGHTS = f"Data/{_AUTHOR}/weights"
_DATED = ("com.github.apple.coremltools.conversion_date",)


def write(model: Any, folder: Path) -> None:
    """Write a coremltools MLModel as the package `folder`."""
    spec = model.get_spec()
    for key in _DATED:
        spec.description.metadata.userDefined.pop(key, None)
    spec.mlProgram.attributes.pop("buildInfo", None)  # the same again, date included
    data = spec.SerializeToString(deterministic=True)
    (folder / MODEL).parent.mkdir(parents=True)
    (folder / MODEL).write_bytes(data)
    parts = [("model.mlmodel", "CoreML Model Specification", hashlib.sha256(data).digest())]
    weights = Path(model.weights_dir) if model.weights_dir else None
    if weights is not None and weights.is_dir():
        shutil.copytree(weights, folder / WEIGHTS)
        parts.append(("weights", "CoreML Model Weights", b""))
    (folder / "Manifest.json").write_text(json.dumps(_manifest(parts), indent=4) + "\n")


def _manifest(parts: list[tuple[str, str, bytes]]) -> dict[str, Any]:
    root = parts[0][2]
    names = [str(uuid.UUID(bytes=hashlib.sha256(name.encode() + root).digest()[:16])) for name, _, _ in parts]
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            key.upper(): {"author": _AUTHOR, "description": what, "name": name, "path": f"{_AUTHOR}/{name}"}
            for key, (name, what, _) in zip(names, parts, strict=True)
        },
        "rootModelIdentifier": names[0].upper(),
    }
