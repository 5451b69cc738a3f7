"""Bundles on disk: write one aside and move it into place, read one, check every byte of it.

bundle/
  manifest.json                 canonical JSON
  signatures.json               absent when unsigned
  artifacts/<digest>/<name>     content-addressed; the digest covers names, contents and sizes
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from securesystemslib.signer import Signer

from edgewise.bundle import signing
from edgewise.bundle.canonical import canonical_json, digest_file
from edgewise.bundle.manifest import SCHEMA, Artifact, FileRef, Manifest, ModelEntry
from edgewise.bundle.steps import Ctc, PythonStep, Tokenize
from edgewise.errors import InputError, TrustError

__all__ = ["MANIFEST", "Bundle", "artifact_of", "read", "write"]

MANIFEST = "manifest.json"
SIGNATURES = "signatures.json"
ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read: its typed manifest, and the document with every field it came with."""

    path: Path
    manifest: Manifest
    document: dict[str, Any]
    signing: signing.SigningState

    @property
    def model(self) -> ModelEntry:
        """The only (or first) model."""
        return self.manifest.models[0]

    def folder(self, digest: str) -> Path:
        """Folder of one artifact."""
        return self.path / ARTIFACTS / digest

    def main_file(self, digest: str) -> Path:
        """The file of an artifact that a runtime or reader opens."""
        return self.folder(digest) / self.manifest.artifacts[digest].files[0].name

    def check_artifact(self, digest: str) -> None:
        """Re-compute the digests of one artifact, and look for what a runtime might load beside its files.

        Raises TrustError naming the first file that differs or is not listed.
        """
        artifact = self.manifest.artifacts.get(digest)
        if artifact is None or artifact.digest != digest:
            raise TrustError(
                f"{self.path}: artifact {digest[:12]} is not what its name says: rebuild the bundle"
            )
        folder = self.folder(digest)
        for path in (folder.parent, folder):
            if path.is_symlink():
                raise TrustError(f"{path} is a symlink, and a bundle has none: fetch the bundle again")
        _refuse_unlisted(folder, {folder / file.name for file in artifact.files})
        for file in artifact.files:
            _check_file(folder / file.name, file)

    def check(self) -> None:
        """Check every artifact, and that nothing unlisted lies among them."""
        for digest in self.manifest.artifacts:
            self.check_artifact(digest)
        listed = {
            self.folder(digest) / file.name
            for digest, artifact in self.manifest.artifacts.items()
            for file in artifact.files
        } | {self.path / MANIFEST, self.path / SIGNATURES}
        _refuse_unlisted(self.path, listed)


def read(path: str | Path, trusted: signing.Trusted | None = None) -> Bundle:
    """Read a bundle's manifest and check its signatures (artifacts: `Bundle.check`).

    Raises InputError where there is no bundle, TrustError where it cannot be trusted or is of another major.
    """
    path = Path(path)
    payload = _plain(path / MANIFEST)
    if payload is None:
        raise InputError(
            f"{path} is not a bundle (no {MANIFEST}): give the folder that `edgewise build` wrote"
        )
    state = signing.verify(payload, _plain(path / SIGNATURES), trusted)
    document = _document(payload, path)
    manifest = parse_manifest(document, path)
    return Bundle(path, manifest, document, state)


def parse_manifest(document: Mapping[str, Any], origin: Path) -> Manifest:
    """Turn a manifest document into types, refusing another major version before looking further."""
    version, major = str(document.get("schema", "")), SCHEMA.partition(".")[0]
    if version.partition(".")[0] != major:
        raise TrustError(
            f"{origin}: bundle schema {version or '(none)'}; this edgewise reads {major}.x: upgrade it"
        )
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise TrustError(f"{origin / MANIFEST}: {error}") from error
    _check_references(manifest, origin)
    return manifest


def write(
    staging: Path, manifest: Manifest, sources: Mapping[str, Mapping[str, Path]], signer: Signer | None = None
) -> None:
    """Write a bundle into the empty folder `staging`; `sources` maps artifact digest → file name → path."""
    for digest, artifact in manifest.artifacts.items():
        for file in artifact.files:
            target = staging / ARTIFACTS / digest / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources[digest][file.name], target)
    payload = canonical_json(manifest)
    (staging / MANIFEST).write_bytes(payload)
    if signer is not None:
        (staging / SIGNATURES).write_bytes(signing.sign(payload, [signer], state="development"))


def artifact_of(kind: str, files: Iterable[tuple[str, Path]]) -> Artifact:
    """Describe files as an artifact; the first is the one a runtime opens.

    Raises InputError on a format or a file name that no bundle may carry.
    """
    refs = [{"name": name, "sha256": digest_file(path), "size": path.stat().st_size} for name, path in files]
    try:
        return msgspec.convert({"format": kind, "files": refs}, Artifact)
    except msgspec.ValidationError as error:
        raise InputError(f"cannot be an artifact of a bundle: {error}") from error


def _document(payload: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(payload.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise TrustError(f"{path / MANIFEST} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise TrustError(f"{path / MANIFEST} is not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build one JSON object; two readers may take different values of a key that is there twice."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is there twice")
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_references(manifest: Manifest, origin: Path) -> None:
    if not manifest.models:
        raise TrustError(f"{origin / MANIFEST}: the bundle holds no model")
    variants = [variant.id for model in manifest.models for variant in model.variants]
    for what, names in (
        ("model", [model.name for model in manifest.models]),
        ("variant", variants),
        ("tier", [tier.name for tier in manifest.tiers]),
        *(("file", [file.name for file in artifact.files]) for artifact in manifest.artifacts.values()),
    ):
        if len(set(names)) != len(names):
            raise TrustError(f"{origin / MANIFEST}: two of one name among {what}s {', '.join(names)}")
    for model in manifest.models:
        missing = _used(model) - manifest.artifacts.keys()
        if missing:
            raise TrustError(f"{origin / MANIFEST}: artifact {min(missing)[:12]} is used but not listed")
        if any(isinstance(s, PythonStep) and _digest_of(s) in manifest.artifacts for s in model.pre):
            raise TrustError(f"{origin / MANIFEST}: model {model.name} would run Python code from the bundle")
    for tier in manifest.tiers:
        if tier.variant and tier.variant not in variants:
            raise TrustError(f"{origin / MANIFEST}: tier {tier.name} names an unknown variant {tier.variant}")


def _used(model: ModelEntry) -> set[str]:
    """Return the digests of every artifact a model needs."""
    files = {step.file for step in (*model.pre, *model.post) if isinstance(step, Tokenize | Ctc)}
    states = {state.initial for state in model.state if state.initial != "zeros"}
    return {model.golden, *(variant.artifact for variant in model.variants), *files, *states}


def _digest_of(step: PythonStep) -> str:
    return step.function.partition(":")[0]


def _plain(path: Path) -> bytes | None:
    """Return the bytes of a file, None where there is none. Raises TrustError where it is a symlink or a folder."""
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character in the path
        return None
    if not stat.S_ISREG(kind):
        raise TrustError(f"{path} is a symlink or no file at all: fetch the bundle again")
    return path.read_bytes()


def _refuse_unlisted(folder: Path, listed: Set[Path]) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path in listed):
            raise TrustError(f"{path} is not listed in the manifest: remove it or rebuild the bundle")


def _check_file(path: Path, file: FileRef) -> None:
    if path.is_symlink() or not path.is_file():
        raise TrustError(f"{path} is missing: fetch the bundle again")
    if path.stat().st_size != file.size or digest_file(path) != file.sha256:
        raise TrustError(f"{path} was changed after the bundle was written: fetch it again, do not run it")
