"""Prepare a project once, keep it in a cache, and put it into the user's folder.

    make("ocr", build, folder, cache)   build(staging) runs only when the cache has no project of this version

A project is a function of the source that makes it (by default this package's own) and of the libraries that draw
and compute it. Their digest names it in the cache, so a project of an older edgewise is never handed out as a
newer one's.
"""

from __future__ import annotations

import filecmp
import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from edgewise.bundle.atomic import check_replaceable, replace_directory
from edgewise.errors import InputError, missing_extra
from edgewise.machine import platform_name

__all__ = ["LIBRARIES", "make", "version", "write_templates"]

HERE = Path(__file__).parent
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


def make(
    name: str, build: Callable[[Path], None], folder: Path, cache: Path, *, of: str | None = None
) -> Path:
    """Put project `name` into `folder` and return the path of its `edgewise.toml`.

    `folder` may be missing, empty, or hold this very project, which is then left as it is. `of` is the version of
    what makes it, by default this package's.

    Raises InputError when `folder` holds something else or cannot be written, ToolchainError when a library
    of the extra `demo` is not installed.
    """
    ready = cache / f"{name}-{of or _own()}"
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


def write_templates(
    name: str, staging: Path, values: Mapping[str, str] | None = None, *, files: Path = HERE / "files"
) -> None:
    """Write the files of `files/<name>/` into `staging`, each `@key@` replaced by its value."""
    known = {"platform": platform_name(), **(values or {})}
    for template in (files / name).iterdir():
        if template.is_file():
            text = template.read_text(encoding="utf-8")
            for key, value in known.items():
                text = text.replace(f"@{key}@", value)
            (staging / template.name).write_bytes(text.encode())


def version(code: Iterable[Path], base: Path, libraries: Mapping[str, str]) -> str:
    """Return 12 hex digits over files below `base` and the versions of libraries, given with the extra of each.

    Raises ToolchainError when a library is not installed.
    """
    digest = hashlib.sha256(platform_name().encode())
    for file in sorted(code):
        digest.update(f"{file.relative_to(base).as_posix()}\n".encode() + file.read_bytes())
    for library, extra in libraries.items():
        try:
            digest.update(f"{library} {metadata.version(library)}\n".encode())
        except metadata.PackageNotFoundError as error:
            raise missing_extra(library, extra) from error
    return digest.hexdigest()[:12]


def _own() -> str:
    """Return the version of this package's projects."""
    code = (path for path in HERE.rglob("*") if path.suffix in {".py", ".toml", ".md"})
    return version(code, HERE, dict.fromkeys(LIBRARIES, "demo"))


def _check_same(ready: Path, folder: Path) -> None:
    names = sorted(file.name for file in ready.iterdir())
    _, differ, unread = filecmp.cmpfiles(ready, folder, names, shallow=False)
    if different := sorted((*differ, *unread)):
        message = (
            f"{folder} is not empty, and its {different[0]} is not this demo's: edited, or of another version"
        )
        raise InputError(f"{message}. Choose a new folder, or delete this one")
