"""`edgewise.toml`: what the user asks for, read strictly and turned into goals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgewise.bundle.manifest import Licence
from edgewise.bundle.steps import Ctc, PostStep, PreStep, Tokenize
from edgewise.errors import InputError
from edgewise.lab import machine, settings
from edgewise.lab.choose.goals import Asked, Goals, goals_of
from edgewise.lab.data import metrics
from edgewise.lab.data.splits import LEAST
from edgewise.lab.fleet import tiers as fleet
from edgewise.lab.fleet.tiers import GoalSection, Tier
from edgewise.lab.train import section as training
from edgewise.lab.train.section import TrainSection
from edgewise.lab.units import parse_size
from edgewise.machine import cores
from edgewise.targets import names as target_names
from edgewise.targets.status import status

__all__ = ["TEMPLATE", "Config", "load"]

LEAST_MEMORY = 200e6
TEMPLATE = """\
# What to build: see docs/configuration.md. Paths are relative to this file.
[model]
path = "model.onnx"              # or model.pt2, "net.py:function" that returns a torch module, model.tflite
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

# [train]
# samples = "train.npz"          # others than in [data]: smaller nets learn from the original on them, and are tried

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
    """`[measure]`: threads (0: tuned here), interleaved rounds, what one candidate may take, how many are made at once."""

    threads: int = 0
    rounds: int = 6
    timeout_s: float = 900.0
    memory_limit: str | None = None
    workers: int = 0

    @property
    def memory(self) -> int:
        """The bytes allowed for one candidate: half of this machine's memory, unless something else is asked for."""
        return int(parse_size(self.memory_limit)) if self.memory_limit else machine.memory() // 2


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file as written."""

    model: ModelSection
    data: DataSection
    goal: GoalSection = GoalSection()
    fleet: FleetSection | None = None
    measure: MeasureSection = MeasureSection()
    train: TrainSection | None = None
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
    train: TrainSection | None
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


def load(path: str | Path, *, workers: int | None = None) -> Config:
    """Read `edgewise.toml` and the fleet it names; `workers` overrides what it says. Raises InputError naming file, key and line."""
    if workers is not None and workers < 0:
        raise InputError(f"{workers} workers: give 0 (as this machine takes) or more")
    path = Path(path)
    path = path / "edgewise.toml" if path.is_dir() else path
    file = settings.read(path, ConfigFile)
    base = path.parent
    _check_files(path, file)
    _check_numbers(path, file)
    _check_memory(path, file.measure.memory_limit)
    tiers, goals = _tiers(path, file)
    return Config(
        path=path,
        name=file.model.name or Path(file.model.path.partition(".py:")[0]).stem,
        task=file.model.task,
        model=base / file.model.path,
        data=file.data,
        measure=file.measure if workers is None else msgspec.structs.replace(file.measure, workers=workers),
        train=file.train,
        tiers=tiers,
        goals=goals,
        pre=tuple(_unnamed(step) for step in file.pre),
        post=file.post,
        licence=Licence(file.model.license, file.data.license),
    )


def _tiers(path: Path, file: ConfigFile) -> tuple[tuple[Tier, ...], dict[str, Goals]]:
    """Return the tiers, and the goals of each."""
    known = target_names()
    fleet_path = path.parent / file.fleet.file if file.fleet else path
    tiers = fleet.load(fleet_path) if file.fleet else fleet.this_machine(_native(known))
    _check_runtimes(fleet_path, tiers, known)
    common, highest = Asked(file.goal, path), _highest(path, file.data.metric)
    goals = {
        tier.name: goals_of(Asked(tier.goal, fleet_path, f"tier[{index}].goal"), common, highest=highest)
        for index, tier in enumerate(tiers)
    }
    return tiers, goals


def _native(known: Sequence[str]) -> tuple[str, ...]:
    """Return the runtimes that this machine has and runs itself: no emulator, no browser."""
    found = (status(name) for name in known)
    return tuple(one.name for one in found if one.native and not one.missing)


def _unnamed(step: PreStep) -> PreStep:
    """Read `mask = ""` as no mask: TOML has no null."""
    if isinstance(step, Tokenize):
        return msgspec.structs.replace(step, mask=step.mask or None, types=step.types or None)
    return step


def _check_runtimes(path: Path, tiers: tuple[Tier, ...], known: tuple[str, ...]) -> None:
    for index, tier in enumerate(tiers):
        unknown = [name for name in tier.runtimes if name not in known]
        if unknown:
            raise InputError(
                f"{settings.where(path, f'tier[{index}].runtimes')}: tier {tier.name!r}: "
                f"unknown runtime {unknown[0]!r}; known are {', '.join(known)}"
            )


def _highest(path: Path, metric: str | None) -> float:
    """Return the best value that the metric can have; without one, agreement is judged."""
    try:
        return metrics.kind(metric or "agreement").highest
    except InputError as error:
        raise InputError(f"{settings.where(path, 'data.metric')}: {error}") from error


def _check_numbers(path: Path, file: ConfigFile) -> None:
    for key, least in LEAST.items():
        value = getattr(file.data, key)
        if value is not None and value < least:
            raise InputError(
                f"{settings.where(path, f'data.{key}')}: {value} samples are too few: give {least} or more"
            )
    if file.data.seed < 0:
        raise InputError(f"{settings.where(path, 'data.seed')}: {file.data.seed} is below zero")
    measure = file.measure
    for key, right, wanted in (
        (
            "threads",
            0 <= measure.threads <= cores(),
            f"0 (tuned here) to {cores()}, the cores of this machine",
        ),
        ("rounds", measure.rounds >= 1, "1 or more"),
        ("timeout_s", 0 < measure.timeout_s < math.inf, "a finite number above 0"),
        ("workers", measure.workers >= 0, "0 (as this machine takes) or more"),
    ):
        if not right:
            raise InputError(
                f"{settings.where(path, f'measure.{key}')}: {getattr(measure, key)} must be {wanted}"
            )
    for key, why in training.wrong(file.train) if file.train else ():
        raise InputError(f"{settings.where(path, key)}: {why}")


def _check_memory(path: Path, limit: str | None) -> None:
    try:
        allowed = parse_size(limit) if limit is not None else math.inf
    except InputError as error:
        raise InputError(f"{settings.where(path, 'measure.memory_limit')}: {error}") from error
    if allowed < LEAST_MEMORY:
        raise InputError(
            f"{settings.where(path, 'measure.memory_limit')}: {limit} must be 200 MB or more: Python and a runtime take as much"
        )


def _check_files(path: Path, file: ConfigFile) -> None:
    """Check that the files named here exist; what is in them is checked where they are read."""
    model, called, _ = file.model.path.partition(".py:")  # a function that makes it, or a file
    named = [("model.path", f"{model}.py" if called else model)]
    if file.fleet:
        named.append(("fleet.file", file.fleet.file))
    named += training.files(file.train) if file.train else ()
    for kind, steps in (("pre", file.pre), ("post", file.post)):
        named += [
            (f"{kind}[{index}].file", step.file)
            for index, step in enumerate(steps)
            if isinstance(step, Tokenize | Ctc)
        ]
    for key, name in named:
        if not (path.parent / name).exists():
            raise InputError(f"{settings.where(path, key)}: {path.parent / name} does not exist")
