"""Make a project once and keep it: named in the cache by the source that makes it and its libraries' versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgewise.demo import project

__all__ = ["HERE", "TORCH", "make"]

HERE = Path(__file__).parent
BASE = HERE.parent.parent
TORCH = {"torch": "torch", "onnxscript": "torch"}
"""What a module that trains or exports needs beyond the demo's libraries, with the extra that installs it."""


def make(
    build: Callable[[Path], None],
    folder: Path,
    cache: Path,
    *,
    code: tuple[str, ...],
    libraries: dict[str, str] | None = None,
) -> Path:
    """Put the project that `build(staging)` makes into `folder` and return the path of its `edgewise.toml`.

    `code`: the files that decide its content, first the model's own, whose stem names it and its templates.
    """
    name = Path(code[0]).stem
    templates = HERE / "files" / name

    def whole(staging: Path) -> None:
        build(staging)
        project.write_templates(name, staging, files=HERE / "files")

    sources = [*map(Path, code), *(file for file in templates.iterdir() if file.is_file())]
    needed = dict.fromkeys(project.LIBRARIES, "demo") | (libraries or {})
    return project.make(name, whole, folder, cache, of=project.version(sources, BASE, needed))
