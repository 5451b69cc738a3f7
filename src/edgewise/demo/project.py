"""Prepare a project once, keep it in a cache, and put it into the user's folder.

    make("ocr", build, folder, cache)   build(staging) runs only when the cache has no project of this version

A project is a function of this package's own source and of the libraries that draw and compute it. Their
digest names it in the cache, so a project of an older edgewise is never handed out as a newer one's.
"""

from __future__ import annotations

import filecmp
import hashlib
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata, resources
from pathlib import Path

from edgewise.bundle.atomic import check_replaceable, replace_directory
from edgewise.errors import InputError, missing_extra
from edgewise.machine import platform_name

__all__ = ["make", "write_templates"]

CONFIG = "edgewise.toml"
LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "scikit-learn",
    "tokenizers",
    "pillow",
    "matplotlib",
    "safetensors",
)


def make(name: str, build: Callable[[Path], None], folder: Path, cache: Path) -> Path:
    """Put project `name` into `folder` and return the path of its `edgewise.toml`.

    `folder` may be missing, empty, or hold this very project, which is then left as it is.

    Raises InputError when `folder` holds something else or cannot be written, ToolchainError when a library
    of the extra `demo` is not installed.
    """
    ready = cache / f"{name}-{_version()}"
    check_replaceable(folder, marker=CONFIG)
    if not ready.is_dir():
        with replace_directory(ready, marker=CONFIG) as staging:
            build(staging)
    if (folder / CONFIG).exists():
        _check_same(ready, folder)
    else:
        with replace_directory(folder, marker=CONFIG) as staging:
            shutil.copytree(ready, staging, dirs_exist_ok=True)
    return folder / CONFIG


def write_templates(name: str, staging: Path, values: Mapping[str, str] | None = None) -> None:
    """Write the files of `files/<name>/` into `staging`, each `@key@` replaced by its value."""
    known = {"platform": platform_name(), **(values or {})}
    for template in (resources.files("edgewise.demo") / "files" / name).iterdir():
        if template.is_file():
            text = template.read_text(encoding="utf-8")
            for key, value in known.items():
                text = text.replace(f"@{key}@", value)
            (staging / template.name).write_bytes(text.encode())


def _version() -> str:
    """Return 12 hex digits over this package's files and the libraries' versions."""
    digest = hashlib.sha256(platform_name().encode())
    here = Path(__file__).parent
    for file in sorted(p for p in here.rglob("*") if p.suffix in {".py", ".toml", ".md"}):
        digest.update(f"{file.relative_to(here).as_posix()}\n".encode() + file.read_bytes())
    for library in LIBRARIES:
        try:
            digest.update(f"{library} {metadata.version(library)}\n".encode())
        except metadata.PackageNotFoundError as error:
            raise missing_extra(library, "demo") from error
    return digest.hexdigest()[:12]


def _check_same(ready: Path, folder: Path) -> None:
    names = sorted(file.name for file in ready.iterdir())
    _, differ, unread = filecmp.cmpfiles(ready, folder, names, shallow=False)
    if different := sorted((*differ, *unread)):
        message = (
            f"{folder} is not empty, and its {different[0]} is not this demo's: edited, or of another version"
        )
        raise InputError(f"{message}. Choose a new folder, or delete this one")
