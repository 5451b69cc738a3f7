"""The files of a hand-over, as each kind of app takes them. Every function yields (path, what it is)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from edgewise.bundle.steps import Labels
from edgewise.bundle.store import ARTIFACTS, MANIFEST, SIGNATURES
from edgewise.handover.selection import Selection

__all__ = ["Written", "client", "golden", "loose", "part_of_bundle", "steps"]

Written = Iterator[tuple[str, str]]

_CLIENT = "web"
"""The folder of edgewise's JavaScript client in the package."""


def golden(selection: Selection, folder: Path) -> Written:
    """Write the golden cases."""
    _copy(selection.bundle.main_file(selection.model.golden), folder / "golden.npz")
    yield "golden.npz", "requests with the original's answers"


def loose(selection: Selection, folder: Path) -> Written:
    """Write the artifact's files into `folder`, under the names that they have in the bundle."""
    source = selection.bundle.folder(selection.variant.artifact)
    for file in selection.artifact.files:
        _copy(source / file.name, folder / file.name)
    for name in dict.fromkeys(file.name.partition("/")[0] for file in selection.artifact.files):
        yield (
            name,
            "names, types and shapes that the file gives" if name == "io.json" else selection.artifact.format,
        )


def steps(selection: Selection, folder: Path) -> Written:
    """Write what the steps around the model need: a tokenizer, characters, the names of the scores."""
    for name, digest in selection.step_files():
        _copy(selection.bundle.main_file(digest), folder / name)
        yield (
            name,
            f"what a step around the model reads ({selection.bundle.manifest.artifacts[digest].format})",
        )
    for step in selection.model.post:
        if isinstance(step, Labels):
            folder.mkdir(exist_ok=True)
            (folder / "labels.txt").write_text("".join(f"{name}\n" for name in step.names), "utf-8")
            yield "labels.txt", "the names of the scores, in their order"


def part_of_bundle(selection: Selection, folder: Path) -> Written:
    """Write the bundle's manifest and signatures as they are, and of its artifacts those that the tier needs."""
    for name in (MANIFEST, SIGNATURES):
        if (selection.bundle.path / name).exists():
            _copy(selection.bundle.path / name, folder / name)
    for digest in selection.digests():
        shutil.copytree(selection.bundle.folder(digest), folder / ARTIFACTS / digest)
    yield f"{folder.name}/", "the part of the bundle that this tier needs: open it with edgewise's client"


def client(folder: Path) -> Written:
    """Write the JavaScript client, where this installation has it."""
    source = files("edgewise").joinpath(_CLIENT)
    if source.is_dir():
        with as_file(source) as path:
            shutil.copytree(path, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        yield f"{folder.name}/", "edgewise's client for browsers"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
