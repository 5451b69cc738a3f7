"""From an outcome to a bundle: canonical I/O, golden cases, the shipped variants, and what was claimed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from securesystemslib.signer import Signer

from edgewise import targets
from edgewise.bundle import golden, store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import (
    SCHEMA,
    Artifact,
    Manifest,
    ModelEntry,
    Quality,
    TierEntry,
    Variant,
)
from edgewise.bundle.processing import pixels, postprocessor
from edgewise.bundle.steps import Ctc, Image, PostStep, PreStep, Tokenize
from edgewise.lab.attempt import BASELINE
from edgewise.lab.data.samples import Sample
from edgewise.lab.pipeline import Outcome
from edgewise.lab.result import Cell
from edgewise.lab.trial import Trial

__all__ = ["GOLDEN_CASES", "pack"]

GOLDEN_CASES = 8
Sources = dict[str, dict[str, Path]]


def pack(outcome: Outcome, folder: Path, scratch: Path, signer: Signer | None) -> Manifest:
    """Write the bundle of `outcome` into the empty `folder` and return its manifest."""
    plan = outcome.plan
    cases = _golden_cases(outcome)
    sources: Sources = {}
    artifacts: dict[str, Artifact] = {}
    golden_digest = _add_golden(cases, scratch, artifacts, sources)
    for trial in outcome.shipped:
        assert trial.built is not None
        artifacts[trial.built.artifact.digest] = trial.built.artifact
        sources[trial.built.artifact.digest] = trial.built.sources()
    model = ModelEntry(
        name=plan.config.name,
        task=plan.config.task,
        inputs=plan.model.inputs,
        outputs=plan.model.outputs,
        original=plan.model.digest,
        golden=golden_digest,
        variants=tuple(_variant(outcome, trial, cases) for trial in outcome.shipped),
        pre=_with_files(plan.config.pre, plan.config.base, artifacts, sources),
        post=_with_files(plan.config.post, plan.config.base, artifacts, sources),
        quality=_quality(outcome),
    )
    manifest = Manifest(
        schema=SCHEMA,
        producer=f"edgewise {version('edgewise')}",
        name=plan.config.name,
        licence=plan.config.licence,
        artifacts=artifacts,
        models=(model,),
        tiers=tuple(
            TierEntry(
                name=tier.name,
                share=tier.share,
                platform=tier.platform,
                runtimes=tier.runtimes,
                variant=tier.chosen,
                reason=tier.reason,
                verdicts={goal.kind: goal.verdict for goal in tier.goals},
            )
            for tier in outcome.tiers
        ),
    )
    store.write(folder, manifest, sources, signer)
    return manifest


def _golden_cases(outcome: Outcome) -> list[GoldenCase]:
    baseline = outcome.trials[BASELINE]
    assert baseline.built is not None
    picked = outcome.plan.splits.calibration[:GOLDEN_CASES]
    model = outcome.plan.model
    session = targets.session(model.runtime).load(baseline.built.main, model.outputs)
    pre = outcome.plan.config.pre
    answer = postprocessor(outcome.plan.config.post, outcome.plan.config.find)
    cases = []
    for sample in picked:
        outputs = session.run(sample.inputs)
        cases.append(GoldenCase(sample.inputs, outputs, _raw(sample, pre), answer(outputs).value))
    session.close()
    return cases


def _raw(sample: Sample, pre: Sequence[PreStep]) -> Any:
    """Keep raw input only as text or pixels: a path would lead nowhere on a device, and tell of here."""
    if sample.raw is None:
        return None
    if any(isinstance(step, Tokenize) for step in pre):
        return np.array(sample.raw) if isinstance(sample.raw, str) else None
    return pixels(sample.raw) if any(isinstance(step, Image) for step in pre) else None


def _add_golden(
    cases: Sequence[GoldenCase], scratch: Path, artifacts: dict[str, Artifact], sources: Sources
) -> str:
    path = scratch / "golden.npz"
    path.write_bytes(golden.encode(cases))
    return _add("npz", path, artifacts, sources)


def _add(kind: str, path: Path, artifacts: dict[str, Artifact], sources: Sources) -> str:
    artifact = store.artifact_of(kind, [(path.name, path)])
    artifacts[artifact.digest] = artifact
    sources[artifact.digest] = {path.name: path}
    return artifact.digest


def _with_files(
    steps: Sequence[Any], base: Path, artifacts: dict[str, Artifact], sources: Sources
) -> tuple[Any, ...]:
    """Put each step's file into the bundle, and its digest in place of the path."""
    packed: list[PreStep | PostStep] = []
    for step in steps:
        changed = step
        if isinstance(step, Tokenize | Ctc):
            kind = "tokenizer-json" if isinstance(step, Tokenize) else "text"
            changed = msgspec.structs.replace(step, file=_add(kind, base / step.file, artifacts, sources))
        packed.append(changed)
    return tuple(packed)


def _variant(outcome: Outcome, trial: Trial, cases: Sequence[GoldenCase]) -> Variant:
    assert trial.built is not None
    assert trial.judged is not None
    row = next(row for row in outcome.rows if row.id == trial.id)
    claim = next(claim for claim in outcome.claims if claim.candidate == trial.id)
    session = targets.session(trial.candidate.target).load(
        trial.built.main, outcome.plan.model.outputs, threads=outcome.threads
    )
    difference = golden.compare(
        [case.outputs for case in cases], [session.run(case.inputs) for case in cases]
    )
    session.close()
    return Variant(
        id=trial.id,
        artifact=trial.built.artifact.digest,
        runtime=trial.candidate.target,
        runtime_version=trial.judged.measured.runtime,
        precision=trial.candidate.precision,
        recipe=dict(row.recipe),
        figures=dict(row.figures) | {"quality": claim.quality, "margin": claim.margin},
        verification=_verification(row.difference, row.operators, difference)
        | {"places": [_cell(cell) for cell in outcome.cells if cell.subject == trial.id]},
        golden_tolerance=max(trial.tolerance, 2 * difference.rms + 1e-3),
    )


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        key: value for key, value in msgspec.to_builtins(cell).items() if key not in ("subject", "target")
    }


def _verification(
    difference: Mapping[str, float] | None, operators: Any, cases: golden.Difference
) -> dict[str, Any]:
    return {
        "search": dict(difference or {}),
        "operators": msgspec.to_builtins(operators),
        "golden": msgspec.to_builtins(cases),
    }


def _quality(outcome: Outcome) -> Quality:
    plan = outcome.plan
    floors = dict.fromkeys(str(plan.config.goals[tier.name].floor) for tier in plan.config.tiers)
    return Quality(
        metric=plan.metric_name,
        higher_is_better=plan.metric.higher_is_better,
        floor=" or ".join(floors),
        original=outcome.claims[0].original,
    )
