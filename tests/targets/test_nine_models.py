"""Each of the nine models is made from its packages, is a project that can be built, and does what it is there for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import MODELS, make
from edgewise.bundle.processing import postprocessor, preprocessor
from edgewise.lab import config
from edgewise.lab.data import samples
from edgewise.lab.plan import Plan, prepare

WORTH = {
    "sentiment": 0.75,
    "recogniser": -0.10,
    "detector": 0.75,
    "magika": 1.0,
    "fashion": 0.85,
    "imbalanced": 0.85,
    "cifar": 0.78,
    "silero": 0.92,
    "whisper": 0.999,
}
"""What the original must reach on the first samples of the search split; a rate of errors is negative."""
JUDGED = 100


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_original_is_worth_compressing(name: str, tmp_path: Path) -> None:
    plan = prepare(config.load(make(name, tmp_path / name)))
    value = judged(plan)
    assert (value if plan.metric.higher_is_better else -value) >= WORTH[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.trains])
def test_training_data_is_read_like_samples(name: str, tmp_path: Path) -> None:
    found = config.load(make(name, tmp_path / name))
    plan = prepare(found)
    given = samples.load("train.npz", found.base, plan.model.inputs, preprocessor(found.pre, found.find))
    assert given.labelled
    seen = {sample.digest() for sample in plan.splits.test}
    assert sum(sample.digest() in seen for sample in given.samples) <= 0.002 * len(seen)


def judged(plan: Plan) -> float:
    """Return the original's metric on some search samples, by edgewise's own code."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(plan.model.path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answer = postprocessor(plan.config.post, plan.config.find)
    rows = []
    for sample in plan.splits.search[:JUDGED]:
        outputs = dict(zip(names, session.run(names, sample.inputs), strict=True))
        rows.append(plan.metric.statistics(answer(outputs), sample.label, outputs))
    return float(plan.metric.value(np.sum(rows, axis=0)))
