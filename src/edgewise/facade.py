"""`edgewise.build`: run the pipeline, then put bundle and report into place together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from edgewise import report
from edgewise.bundle import signing
from edgewise.bundle.atomic import DISK_FULL, check_replaceable, replace_directory, write_file
from edgewise.bundle.evidence import Figure
from edgewise.bundle.licence import warnings_for
from edgewise.bundle.rounds import median_figure
from edgewise.cache import Cache, default_folder
from edgewise.errors import InputError, missing_extra
from edgewise.lab import config as configuration
from edgewise.lab import figures, machine, reaper, recorded
from edgewise.lab.attempt import BASELINE
from edgewise.lab.engine.choice import engine
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.pack import pack
from edgewise.lab.pipeline import Outcome, run
from edgewise.lab.profile import profile, support
from edgewise.lab.recorded import Recipe
from edgewise.lab.result import BuildResult, Support
from edgewise.lab.watcher import Watcher
from edgewise.targets.graph import PROTOBUF_LIMIT
from edgewise.targets.placement import CPU

__all__ = ["Build", "build"]

MARKER = "report.json"


@dataclass(frozen=True, slots=True)
class Build:
    """Where a build's results lie, and what they say. `path` is the bundle."""

    path: Path
    report: Path
    result: BuildResult


def build(
    config: str | Path,
    out: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    watcher: Watcher | None = None,
    recipe: str | Path | None = None,
    ray: str | None = None,
    workers: int | None = None,
) -> Build:
    """Build what `edgewise.toml` asks for into `out` (default: `edgewise-out` beside it).

    With `recipe`, the `recipe.json` of an earlier build or one row of its report, exactly that is built, and nothing
    else is tried. `workers` candidates are built or judged at once, where it is given (0: as many as this machine
    takes). `ray` is the address of a Ray cluster that builds and judges in place of this machine.
    Raises InputError on bad input or an output path that cannot be used, and ToolchainError for a cluster that
    cannot be used; nothing is left behind then.
    """
    settings = configuration.load(config, workers=workers)
    again = recorded.read(Path(recipe)) if recipe else None
    target = Path(out) if out else settings.base / "edgewise-out"
    check_replaceable(target, marker=MARKER)
    _check_report()
    kept = Path(cache) if cache else default_folder()
    # Matplotlib keeps its list of fonts in the user's home unless told another place before it is imported.
    os.environ.setdefault("MPLCONFIGDIR", str(kept.absolute() / "matplotlib"))
    finished = Cache(kept)
    finished.sweep()
    with _scratch() as scratch:
        with engine(settings.measure, ray) as chosen:
            outcome = run(settings, finished, scratch, watcher, again, chosen)
        signer = signing.development_signer()
        result = _result(outcome, target, "development" if signer else "unsigned", again)
        made = recorded.document(outcome.plan, outcome.threads, outcome.shipped, outcome.tiers)
        with replace_directory(target, marker=MARKER) as staging:
            (staging / "bundle").mkdir()
            pack(outcome, staging / "bundle", scratch, signer)
            report.write(result, staging)
            write_file(staging / "recipe.json", made)
    return Build(target / "bundle", target / "report.html", result)


def _check_report() -> None:
    """Look for what draws the report: a missing library is said before the work, not after it."""
    for library in ("jinja2", "matplotlib"):
        if find_spec(library) is None:
            raise missing_extra(library, "lab")


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder for files that nobody keeps; a full disk under it is the user's to free."""
    try:
        with tempfile.TemporaryDirectory(prefix="edgewise-") as name:
            reaper.clears(Path(name))
            yield Path(name)
        reaper.cleared(Path(name))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        message = f"no room for temporary files in {tempfile.gettempdir()} ({error.strerror}): free space there, or set TMPDIR"
        raise InputError(message) from error


def _result(outcome: Outcome, out: Path, state: str, recipe: Recipe | None) -> BuildResult:
    plan = outcome.plan
    again = f" --recipe {recipe.path.name}" if recipe else ""
    config = plan.config
    return BuildResult(
        name=config.name,
        task=config.task,
        producer=f"edgewise {version('edgewise')}",
        metric=plan.metric_name,
        higher_is_better=plan.metric.higher_is_better,
        floor=str(config.goals[config.tiers[0].name].floor),
        command=f"edgewise build {config.path.name} --out {out.name}{again}",
        machine=machine.describe(),
        threads=outcome.threads,
        seconds=round(outcome.seconds, 1),
        splits=plan.splits.sizes(),
        rounds=outcome.rounds,
        original=BASELINE,
        candidates=outcome.rows,
        tiers=outcome.tiers,
        claims=outcome.claims,
        headline=_headline(outcome),
        cells=outcome.cells,
        notes=(*outcome.notes, *warnings_for(config.licence)),
        signing=state,
        profile=_profile(outcome),
        support=_support(outcome),
    )


def _profile(outcome: Outcome) -> dict[str, Any]:
    """Return the costs of an ONNX model on one search sample, without the list of layers."""
    plan = outcome.plan
    if not isinstance(plan.model, OnnxModel):
        return {}
    found = profile(plan.model, feeds=dict(plan.splits.search[0].inputs))
    return {k: v for k, v in msgspec.to_builtins(found).items() if k not in ("layers", "inputs", "outputs")}


def _support(outcome: Outcome) -> tuple[Support, ...]:
    """Return what the accelerators of the fleet's targets would take of the model; of what is no ONNX, or has 2 GB and more, nothing is known."""
    plan = outcome.plan
    if not isinstance(plan.model, OnnxModel) or plan.model.size >= PROTOBUF_LIMIT:
        return ()
    return tuple(one for one in support(plan.model, plan.targets) if one.accelerator not in ("", CPU))


def _headline(outcome: Outcome) -> dict[str, Figure]:
    """Compare the choice of the tier measured here (else of the largest) with the original, round by round."""
    tiers = sorted(outcome.tiers, key=lambda tier: (tier.machine != "this", -tier.share))
    chosen = next((tier for tier in tiers if tier.chosen), None)
    if chosen is None or chosen.chosen is None:
        return {}
    trial, base = outcome.trials[chosen.chosen], outcome.trials[BASELINE]
    assert trial.built is not None
    on = outcome.rows[0].figures["p50"].on or ""
    size = trial.built.artifact.size / outcome.plan.model.size
    found = {"size": figures.exact(size, "ratio")}
    pairs = list(zip(trial.rounds, base.rounds, strict=False))
    if chosen.machine == "this" and pairs:
        ratios = [mine.quantile(0.5) / other.quantile(0.5) for mine, other in pairs]
        found["p50"] = median_figure(ratios, "ratio", on)
    return found
