"""What is handed over: a tier's variant, checked, with its inputs and outputs as its file has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgewise.bundle import store
from edgewise.bundle.manifest import Artifact, ModelEntry, TensorSpec, TierEntry, Variant
from edgewise.bundle.steps import Ctc, Tokenize
from edgewise.bundle.store import Bundle
from edgewise.errors import InputError, TrustError

__all__ = ["Port", "Selection", "select"]

_PORTS = "io.json"
"""Beside a Core ML package: how the original's inputs and outputs are carried by its features."""


class Port(msgspec.Struct, frozen=True):
    """One input or output of the original, and the file's own name, type and shape for it, which may be the same."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    feature: str
    feature_dtype: str
    feature_shape: tuple[int | str | None, ...]


class _Ports(msgspec.Struct, frozen=True):
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """A tier of a bundle with the variant chosen for it."""

    bundle: Bundle
    tier: TierEntry
    variant: Variant
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def model(self) -> ModelEntry:
        """The model that the variant is of."""
        return self.bundle.model

    @property
    def artifact(self) -> Artifact:
        """The variant's files."""
        return self.bundle.manifest.artifacts[self.variant.artifact]

    def step_files(self) -> Iterator[tuple[str, str]]:
        """Yield a name of its own and the digest of each file that pre- and post-processing read."""
        taken: set[str] = set()
        for step in (*self.model.pre, *self.model.post):
            if isinstance(step, Tokenize | Ctc):
                name = self.bundle.main_file(step.file).name
                yield f"{step.file[:8]}-{name}" if name in taken else name, step.file
                taken.add(name)

    def digests(self) -> tuple[str, ...]:
        """Return the artifacts that the tier needs: the variant's, those of steps, and the golden cases."""
        steps = (digest for _, digest in self.step_files())
        return tuple(dict.fromkeys((self.variant.artifact, *steps, self.model.golden)))


def select(path: Path, tier: str) -> Selection:
    """Read a bundle and return what `tier` gets, every byte of it checked.

    Raises InputError for a tier that is not there or got nothing, TrustError for bytes that were changed.
    """
    bundle = store.read(path)
    entry = next((one for one in bundle.manifest.tiers if one.name == tier), None)
    if entry is None:
        known = ", ".join(one.name for one in bundle.manifest.tiers) or "none"
        raise InputError(f"{path} has no tier {tier!r}; its tiers: {known}")
    variant = next((one for one in bundle.model.variants if one.id == entry.variant), None)
    if variant is None:
        raise InputError(
            f"the build chose nothing for tier {tier!r} ({entry.reason}): there is nothing to hand over"
        )
    ports = _ports(bundle, variant)
    selection = Selection(bundle, entry, variant, ports.inputs, ports.outputs)
    for digest in selection.digests():
        bundle.check_artifact(digest)
    return selection


def _ports(bundle: Bundle, variant: Variant) -> _Ports:
    own = bundle.folder(variant.artifact) / _PORTS
    if not any(file.name == _PORTS for file in bundle.manifest.artifacts[variant.artifact].files):
        return _Ports(_same(bundle.model.inputs), _same(bundle.model.outputs))
    bundle.check_artifact(variant.artifact)
    try:
        return msgspec.json.decode(own.read_bytes(), type=_Ports)
    except msgspec.DecodeError as error:
        raise TrustError(
            f"{own} does not describe inputs and outputs: {error}: build the bundle again"
        ) from error


def _same(specs: tuple[TensorSpec, ...]) -> tuple[Port, ...]:
    return tuple(Port(s.name, s.dtype, s.shape, s.name, s.dtype, s.shape) for s in specs)
