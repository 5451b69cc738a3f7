"""The bundle's manifest: what crosses between lab, hub and device.

The schema is `major.minor`. A reader refuses another major version, and keeps fields it does not know
(it works on the document it read, never on a copy rewritten from these types). It has room from the start
for several models wired into a pipeline, for declared state, for variants per tier and for a certificate
per variant, so that those parts add values, not a new format.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from edgewise.bundle.canonical import digest_document
from edgewise.bundle.evidence import Figure
from edgewise.bundle.steps import PostStep, PreStep

__all__ = [
    "FORMATS",
    "SCHEMA",
    "Artifact",
    "Certificate",
    "FileRef",
    "Licence",
    "Manifest",
    "ModelEntry",
    "Quality",
    "State",
    "TensorSpec",
    "TierEntry",
    "Variant",
    "Verdict",
    "Wire",
]

SCHEMA = "1.0"

# What a bundle may carry. Pickle is not here and never will be: loading one runs code.
FORMATS = (
    "onnx",
    "openvino-ir",
    "safetensors",
    "tflite",
    "gguf",
    "mlpackage",
    "pte",
    "c-source",
    "tokenizer-json",
    "text",
    "npz",
)

Format = Literal[
    "onnx",
    "openvino-ir",
    "safetensors",
    "tflite",
    "gguf",
    "mlpackage",
    "pte",
    "c-source",
    "tokenizer-json",
    "text",
    "npz",
]
# `\Z`, not `$`: `$` also matches before a final line break.
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
# A plain relative name: no leading slash or dot, no backslash, no drive letter.
FileName = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*\Z", max_length=200),
]
# What numpy itself has a name for; ONNX's narrower types (bfloat16, float8) are no inputs of a bundle.
Dtype = Annotated[
    str, msgspec.Meta(pattern=r"^(bool|str|u?int(8|16|32|64)|float(16|32|64)|complex(64|128))\Z")
]
# Noise is about 1.4 away. More is needed only where the reference is all zeros, and the distance absolute.
Tolerance = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Verdict = Literal["met", "not shown", "missed", "not assessed"]


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output: numpy dtype name and shape; a string or null dimension is dynamic."""

    name: str
    dtype: Dtype
    shape: tuple[int | str | None, ...]


class FileRef(msgspec.Struct, frozen=True):
    """One file of an artifact, by content. `size` in bytes."""

    name: FileName
    sha256: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]


class Artifact(msgspec.Struct, frozen=True):
    """Files that belong together (an ONNX file and its external data; an .xml and its .bin).

    Stored under `artifacts/<digest>/<name>`; the digest covers names, contents and sizes, so two variants
    that share an artifact share its bytes. The first file is the one a runtime opens.
    """

    format: Format
    files: Annotated[tuple[FileRef, ...], msgspec.Meta(min_length=1)]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical list of files."""
        return digest_document(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files as shipped."""
        return sum(file.size for file in self.files)


class Licence(msgspec.Struct, frozen=True, omit_defaults=True):
    """SPDX expressions of the model and of the data; null is unknown."""

    model: str | None = None
    data: str | None = None


class Certificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A guarantee bound to artifact × runtime and version × provider × instruction-set class."""

    artifact: Digest
    runtime: str
    provider: str
    isa: str
    statement: dict[str, Any]


class State(msgspec.Struct, frozen=True):
    """An output that feeds an input of the next call; `initial` is "zeros" or an artifact digest."""

    output: str
    input: str
    initial: str = "zeros"


class Wire(msgspec.Struct, frozen=True):
    """One connection of a pipeline, as `model.output` → `model.input`."""

    source: str
    target: str


class Quality(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The floor the variants were held to, signed with them: the same gate at build, install and rollout."""

    metric: str
    higher_is_better: bool
    floor: str
    original: Figure


class Variant(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One artifact for one runtime, with its figures, its recipe and how closely it follows the original."""

    id: str
    artifact: Digest
    runtime: str
    runtime_version: str
    precision: str
    recipe: dict[str, Any]
    figures: dict[str, Figure]
    verification: dict[str, Any]
    golden_tolerance: Tolerance
    certificate: Certificate | None = None


class TierEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One tier of the fleet: its share of users, and the variant chosen for it with the reason."""

    name: str
    share: float
    platform: str
    runtimes: tuple[str, ...]
    variant: str | None
    reason: str
    verdicts: dict[str, Verdict]


class ModelEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model: canonical input and output, declared pre- and post-processing, and its variants."""

    name: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    original: Digest
    golden: Digest
    variants: tuple[Variant, ...]
    pre: tuple[PreStep, ...] = ()
    post: tuple[PostStep, ...] = ()
    state: tuple[State, ...] = ()
    quality: Quality | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The whole bundle."""

    schema: str
    producer: str
    name: str
    licence: Licence
    artifacts: dict[Digest, Artifact]
    models: tuple[ModelEntry, ...]
    tiers: tuple[TierEntry, ...]
    wires: tuple[Wire, ...] = ()
