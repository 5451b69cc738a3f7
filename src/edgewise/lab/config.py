"""`edgewise.toml`: what the user asks for, read strictly and turned into goals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgewise.bundle.manifest import Licence
from edgewise.bundle.steps import Ctc, PostStep, PreStep, Tokenize
from edgewise.errors import InputError
from edgewise.lab import settings
from edgewise.lab.choose.goals import Goals, goals_of
from edgewise.lab.fleet import tiers as fleet
from edgewise.lab.fleet.tiers import GoalSection, Tier
from edgewise.targets import names as target_names

__all__ = ["TEMPLATE", "Config", "load"]

TEMPLATE = """\
# What to build: see docs/configuration.md. Paths are relative to this file.
[model]
path = "model.onnx"
task = "text-classification"
# license = "Apache-2.0"         # SPDX; unknown is allowed, publishing then is not

[data]
samples = "samples.npz"          # or a folder of .npy, or "samples.py:function"
metric = "accuracy"              # f1, top-5, mae, rmse, cer, wer, perplexity, agreement, cosine, "my_eval.py:score"
# license = "CC-BY-4.0"

[goal]
quality = "99% of original"
latency_p95 = "30 ms"
size = "25 MB"
memory = "200 MB"

# [fleet]
# file = "fleet.toml"            # tiers of devices with their share of users; without it: this machine

# [[pre]]                        # raw input -> tensors, so that `edgewise run bundle/ -i "some text"` answers
# op = "tokenize"
# file = "tokenizer.json"

# [[post]]
# op = "labels"
# output = "logits"
# names = ["negative", "positive"]
"""


class ModelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[model]`."""

    path: str
    name: str | None = None
    task: str = "unspecified"
    license: str | None = None


class DataSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[data]`; calibration, search and test are numbers of samples."""

    samples: str
    metric: str | None = None
    calibration: int | None = None
    search: int | None = None
    test: int | None = None
    seed: int = 0
    license: str | None = None


class FleetSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[fleet]`."""

    file: str


class MeasureSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[measure]`: threads (0: tuned here), interleaved rounds, seconds allowed for one candidate."""

    threads: int = 0
    rounds: int = 6
    timeout_s: float = 900.0


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file as written."""

    model: ModelSection
    data: DataSection
    goal: GoalSection = GoalSection()
    fleet: FleetSection | None = None
    measure: MeasureSection = MeasureSection()
    pre: tuple[PreStep, ...] = ()
    post: tuple[PostStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The file as understood: paths resolved, goals parsed, one set of goals per tier."""

    path: Path
    name: str
    task: str
    model: Path
    data: DataSection
    measure: MeasureSection
    tiers: tuple[Tier, ...]
    goals: dict[str, Goals]
    pre: tuple[PreStep, ...]
    post: tuple[PostStep, ...]
    licence: Licence

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    def find(self, file: str) -> Path:
        """Resolve a step's file."""
        return self.base / file


def load(path: str | Path) -> Config:
    """Read `edgewise.toml` and the fleet it names. Raises InputError naming file, key and line."""
    path = Path(path)
    path = path / "edgewise.toml" if path.is_dir() else path
    file = settings.read(path, ConfigFile)
    base = path.parent
    known = target_names()
    tiers = fleet.load(base / file.fleet.file) if file.fleet else fleet.this_machine(known)
    _check_runtimes(tiers, known)
    _check_numbers(path, file)
    _check_steps(path, file)
    return Config(
        path=path,
        name=file.model.name or Path(file.model.path).stem,
        task=file.model.task,
        model=base / file.model.path,
        data=file.data,
        measure=file.measure,
        tiers=tiers,
        goals={tier.name: goals_of(file.goal, tier, path) for tier in tiers},
        pre=file.pre,
        post=file.post,
        licence=Licence(file.model.license, file.data.license),
    )


def _check_runtimes(tiers: tuple[Tier, ...], known: tuple[str, ...]) -> None:
    for tier in tiers:
        unknown = [name for name in tier.runtimes if name not in known]
        if unknown:
            raise InputError(
                f"tier {tier.name!r}: unknown runtime {unknown[0]!r}; known are {', '.join(known)}"
            )


def _check_numbers(path: Path, file: ConfigFile) -> None:
    for key in ("calibration", "search", "test"):
        value = getattr(file.data, key)
        if value is not None and value < 2:
            raise InputError(f"{settings.where(path, f'data.{key}')}: {value} samples are too few")
    if file.measure.rounds < 1 or file.measure.threads < 0 or file.measure.timeout_s <= 0:
        raise InputError(
            f"{settings.where(path, 'measure')}: rounds must be 1 or more, threads 0 or more, timeout_s above 0"
        )


def _check_steps(path: Path, file: ConfigFile) -> None:
    for kind, steps in (("pre", file.pre), ("post", file.post)):
        for index, step in enumerate(steps):
            named = step.file if isinstance(step, Tokenize | Ctc) else None
            if named and not (path.parent / named).is_file():
                key = f"{kind}[{index}].file"
                raise InputError(f"{settings.where(path, key)}: {path.parent / named} does not exist")
