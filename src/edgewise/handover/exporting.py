"""`edgewise export`: one folder for the developer of an app, written aside and moved into place.

Swift, Kotlin        model/ (the artifact), files/ (what steps need), golden.npz, Model.swift or Model.kt
JavaScript, Python   bundle/ (the part of the bundle that the tier needs), predict.mjs or predict.py
all                  README.md, and handover.json: the same for programs, with every file's digest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgewise.bundle.atomic import replace_directory
from edgewise.bundle.canonical import canonical_json, digest_file
from edgewise.handover import contents
from edgewise.handover.modelpackage import opened, write_package
from edgewise.handover.play import Lint, lint
from edgewise.handover.readme import readme
from edgewise.handover.selection import Selection, select
from edgewise.handover.snippets import Language, language_of, render

__all__ = ["Exported", "export"]

MARKER = "handover.json"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: the variant, the language of the code ("" in a package), and what each file is."""

    path: str
    tier: str
    variant: str
    language: str
    files: dict[str, str]
    lints: tuple[Lint, ...] = ()
    notes: tuple[str, ...] = ()


def export(
    bundle: Path, tier: str, out: Path, *, language: Language | None = None, package: bool = False
) -> Exported:
    """Hand over what `tier` gets: write the folder `out`, or with `package` an ONNX Runtime model package.

    Raises InputError for a tier that got nothing, an artifact that the language or a package cannot hold, and a
    folder that is somebody else's; TrustError for bytes that were changed.
    """
    selection = select(bundle, tier)
    with replace_directory(out, marker=MARKER) as staging:
        done = _package(selection, staging) if package else _folder(selection, staging, language)
        text = readme(selection, done.files, done.lints)
        (staging / "README.md").write_text(text, "utf-8")
        (staging / MARKER).write_bytes(canonical_json(_record(selection, staging)))
    return msgspec.structs.replace(done, path=str(out))


def _folder(selection: Selection, folder: Path, language: Language | None) -> Exported:
    language = language or language_of(selection)
    name, code = render(selection, language)
    (folder / name).write_text(code, "utf-8")
    files = {name: "how an app asks the model"}
    if language in ("swift", "kotlin"):
        files |= _in("model", contents.loose(selection, folder / "model"))
        files |= _in("files", contents.steps(selection, folder / "files"))
        files |= dict(contents.golden(selection, folder))
    else:
        files |= dict(contents.part_of_bundle(selection, folder / "bundle"))
    if language == "javascript":
        files |= dict(contents.client(folder / "edgewise"))
    lints = lint(_models(folder)) if language == "kotlin" else ()
    return _done(selection, language, files, lints, tuple(_notes(selection, language, files)))


def _package(selection: Selection, folder: Path) -> Exported:
    files = write_package(selection, folder)
    files |= dict(contents.golden(selection, folder))
    return _done(selection, "", files, (), (opened(selection, folder),))


def _done(
    selection: Selection,
    language: str,
    files: dict[str, str],
    lints: tuple[Lint, ...],
    notes: tuple[str, ...],
) -> Exported:
    return Exported(
        path="",
        tier=selection.tier.name,
        variant=selection.variant.id,
        language=language,
        files=files,
        lints=lints,
        notes=notes,
    )


def _in(folder: str, written: contents.Written) -> dict[str, str]:
    return {f"{folder}/{name}": what for name, what in written}


def _models(folder: Path) -> Iterator[Path]:
    return (path for part in ("model", "files") for path in (folder / part).rglob("*") if path.is_file())


def _notes(selection: Selection, language: Language, files: Mapping[str, str]) -> Iterator[str]:
    """Yield what the snippet leaves to its reader."""
    kind, parts = selection.artifact.format, selection.artifact.files
    if language == "javascript" and "edgewise/" not in files:
        yield "this installation of edgewise lacks its client for browsers: put it into edgewise/ beside the page"
    if language == "kotlin" and kind == "onnx" and len(parts) > 1:
        yield f"{parts[0].name} keeps weights in {parts[1].name}: copy both out of the assets, and open it by its path"
    free = [
        p.name for p in selection.inputs if any(not isinstance(size, int) for size in p.feature_shape[1:])
    ]
    if language == "kotlin" and kind == "tflite" and free:
        yield f"LiteRT's Kotlin API resizes no input, and {', '.join(free)} may vary: build for fixed sizes, or use its C++ API"


def _record(selection: Selection, folder: Path) -> dict[str, Any]:
    """Return the hand-over as data: what it is of, inputs and outputs, steps, and the digest of every file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "schema": "1.0",
        "producer": selection.bundle.manifest.producer,
        "bundle": selection.bundle.manifest.name,
        "tier": selection.tier.name,
        "platform": selection.tier.platform,
        "variant": selection.variant.id,
        "precision": selection.variant.precision,
        "runtime": f"{selection.variant.runtime} {selection.variant.runtime_version}",
        "artifact": selection.variant.artifact,
        "inputs": selection.inputs,
        "outputs": selection.outputs,
        "pre": selection.model.pre,
        "post": selection.model.post,
        "files": {path.relative_to(folder).as_posix(): digest_file(path) for path in paths},
    }
