"""What a target's `build.py` offers the lab: its methods as data, and the code that applies them.

    lab: Traits → methods() → one Candidate each → build(method, job) → files in job.folder → operators()
                  variations(one that comes near), smaller() → more of them

A method is either edgewise's own work on the ONNX graph, which `job.onnx` does and the target then converts,
or the target's own quantizer. So there are methods + targets, never methods × targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import msgspec
from numpy.typing import NDArray

from edgewise.bundle.manifest import Format
from edgewise.errors import missing_extra

__all__ = [
    "BuildModule",
    "Fp16",
    "Job",
    "Method",
    "Nncf",
    "NncfPtq",
    "Operators",
    "Original",
    "Precision",
    "Quantizer",
    "Samples",
    "Traits",
    "Weight",
    "WeightInt4",
    "WeightInt8",
    "installed",
]

Precision = Literal["fp32", "fp16", "int16", "int8", "int8 weights", "int4 weights", "4-bit palette"]
Samples = Sequence[Mapping[str, NDArray[Any]]]


class Method(msgspec.Struct, frozen=True, tag_field="method", kw_only=True, forbid_unknown_fields=True):
    """Base of all methods: what is done to the original. `version` changes when the same options give other bytes.

    A method, the original and the calibration samples rebuild a byte-identical artifact.
    """

    precision: ClassVar[Precision]
    version: int = 1


class Quantizer(Method, frozen=True, kw_only=True):
    """Base of the methods that can leave operators as they are.

    `protected` names them: by the first output that each has in the source.
    """

    protected: tuple[str, ...] = ()


class Original(Method, frozen=True, tag="original"):
    """The user's model, simplified where that does not change its results."""

    precision: ClassVar[Precision] = "fp32"


class Fp16(Method, frozen=True, tag="fp16"):
    """Half-precision weights and arithmetic; inputs and outputs keep their type."""

    precision: ClassVar[Precision] = "fp16"


class WeightInt8(Quantizer, frozen=True, tag="weight-int8"):
    """Weights stored as per-channel symmetric int8 and dequantized on load or use; activations stay float."""

    precision: ClassVar[Precision] = "int8 weights"


class WeightInt4(Quantizer, frozen=True, tag="weight-int4"):
    """Weights stored as per-channel symmetric int4 and unpacked on load; arithmetic in float, for any operator.

    Those that `protected` names, and small ones, are stored in int8. The file needs opset 21.
    """

    precision: ClassVar[Precision] = "int4 weights"


class Nncf(Quantizer, frozen=True, kw_only=True):
    """Base of NNCF's post-training quantization, whatever graph it works on.

    `full_bias_correction`: layer after layer on the samples, slower and mostly nearer. `smooth`: how much of the
    outliers in activations moves into the weights of a transformer, 0 to 1; None leaves it to NNCF (0.95, and only
    where `transformer` is set). Source: Xiao et al. 2023, SmoothQuant; https://arxiv.org/abs/2211.10438.
    """

    precision: ClassVar[Precision] = "int8"
    preset: Literal["performance", "mixed"] = "performance"
    transformer: bool = False
    full_bias_correction: bool = False
    smooth: float | None = None

    def variations(self, traits: Traits) -> Iterator[Nncf]:
        """Yield what is worth a try around this one."""
        replace = msgspec.structs.replace
        yield replace(self, preset="performance" if self.preset == "mixed" else "mixed")
        if traits.transformer:
            yield from (
                replace(self, transformer=True, smooth=alpha) for alpha in (0.5, 0.75) if alpha != self.smooth
            )
        else:  # NNCF's slow way writes two nodes of one name into the ONNX graph of a transformer
            yield replace(self, full_bias_correction=not self.full_bias_correction)


class NncfPtq(Nncf, frozen=True, tag="nncf-ptq", kw_only=True):
    """NNCF post-training quantization of the ONNX graph (min-max with bias correction)."""


Weight = bool | None
"""An operator's weights. True: stored in 8 bits or fewer. False: a float constant. None: it has none."""


class Operators(msgspec.Struct, frozen=True):
    """Operators with weights: how many run quantized (or with quantized weights), of how many.

    Tools say "saved" over files they did not change; a count of 0 of M shows it.
    """

    quantized: int
    total: int

    @classmethod
    def count(cls, weights: Iterable[Weight]) -> Operators:
        """Count what one look at each operator of a finished file found."""
        found = [weight for weight in weights if weight is not None]
        return cls(quantized=sum(found), total=len(found))


@dataclass(frozen=True, slots=True)
class Traits:
    """What a target may want to know of a model before it says what to try."""

    transformer: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One artifact to make: from the ONNX file `source` into the empty `folder`; anything may be left in `work`.

    `kept` outlives the build: what any other from the same source and samples may use. `onnx(method)` applies
    one of edgewise's own methods to the graph (Original, Fp16, WeightInt8, NncfPtq) and returns the file.
    `prepared()` returns the source in the form that quantizers of ONNX understand.
    """

    source: Path
    calibration: Samples
    folder: Path
    work: Path
    kept: Path
    onnx: Callable[[Method], Path]
    prepared: Callable[[], Path]


def installed(extra: str, *packages: str) -> str:
    """Return "package version, …" without importing any. Raises ToolchainError naming the extra that brings them."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError as error:
            raise missing_extra(package, extra) from error
    return ", ".join(found)


class BuildModule(Protocol):
    """What a target's `build.py` offers. The lab translates any exception into the candidate's reason.

    A target whose toolchain pip cannot install beside the others also has `install()`, which makes it
    (edgewise.targets.toolchains): `edgewise targets --install NAME` calls it, a build never does.

    Two more functions are optional. They yield methods as `methods` does, and cost nothing until one is built:

    - `variations(method, traits)`: what to try around a method that is near the floor, or best so far (other ranges,
      bias correction, presets); 5 at most, each with what `method` protects.
    - `smaller(traits)`: what stores fewer than 8 bits, the most robust first.
    """

    FORMAT: Format
    MAIN: str  # the file (below `folder`) that the session opens, e.g. "model.onnx"
    METHODS: tuple[type[Method], ...]  # all that it can build, its own and edgewise's

    def toolchain(self) -> str:
        """Return what makes artifacts, with versions: "onnx 1.23.2, nncf 3.4.0". It imports none of it.

        Raises ToolchainError with the command that installs what is missing.
        """

    def methods(self, traits: Traits) -> Iterable[Method]:
        """Return what to try first, in a fixed order, `Original()` first: each tool's default, and a few more."""

    def build(self, method: Method, job: Job) -> None:
        """Write the artifact's files into `job.folder`. The same job gives the same bytes."""

    def operators(self, main: Path) -> Operators:
        """Count the operators of a finished artifact that have weights, and those with weights of 8 bits or fewer."""
