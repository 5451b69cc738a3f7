"""The verification matrix: what each artifact did in each place, judged by rms and quality, never by equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise.bundle.canonical import canonical_json
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import TensorSpec
from edgewise.bundle.processing import postprocessor
from edgewise.errors import InputError
from edgewise.lab.data.interval import Floor
from edgewise.lab.data.metrics import Accuracy, Cer
from edgewise.lab.matrix import Exam, Quality, Subject, cell, cells
from edgewise.lab.places.place import HERE, Executed
from edgewise.lab.result import Cell
from edgewise.targets import Tensors
from edgewise.targets.exchange import Report
from edgewise.targets.graph import spec
from models import normal, save, tiny_mlp

Outputs = dict[str, NDArray[Any]]
LABELS = [index % 2 for index in range(100)]
SUBJECT = Subject("onnxruntime/dynamic-int8", "onnxruntime", Path("model.onnx"), tolerance=0.01)


def scores(labels: Sequence[int], off: float = 0.0) -> tuple[Outputs, ...]:
    """Answers that decide on these labels: two scores each, `off` by so much."""
    return tuple({"logits": np.array([[1 - label + off, label]], np.float32)} for label in labels)


def quality(metric: Any = None, labels: Sequence[Any] = LABELS) -> Quality:
    return Quality(metric or Accuracy(), labels, Floor(0.99), postprocessor((), Path))


def exam(judged: Quality | None = None) -> Exam:
    inputs = [{"x": np.zeros((1, 1), np.float32)}] * len(LABELS)
    return Exam((TensorSpec("logits", "float32", (1, 2)),), inputs, scores(LABELS), judged)


def executed(answers: Sequence[Outputs], **told: Any) -> Executed:
    report = Report(platform="linux-arm64", runtime="1.0", evidence=Evidence.EMULATED, loads=True)
    return Executed("cortex-a53", msgspec.structs.replace(report, **told), tuple(answers))


@dataclass(frozen=True)
class Fake:
    """A place where every artifact gives the same answers."""

    name: str
    answers: tuple[Outputs, ...]
    targets: tuple[str, ...] = ()

    def run(
        self,
        target: str,
        main: Path,
        outputs: Sequence[TensorSpec],
        inputs: Sequence[Tensors],
        *,
        timeout: float = 1,
        stop: Event | None = None,
    ) -> Executed:
        assert len(inputs) == len(LABELS)
        return Executed(self.name, executed(()).report, self.answers)


def test_answers_within_the_tolerance_hold_without_labels() -> None:
    found = cell(SUBJECT, executed(scores(LABELS, off=1e-4)), exam())
    assert (found.loads, found.runs, found.verdict) == (True, True, "met")
    assert found.difference is not None
    assert found.difference.max_abs == pytest.approx(1e-4, rel=1e-3)
    assert found.difference.agreement == 1


def test_answers_that_differ_more_are_not_shown_to_hold_without_labels() -> None:
    assert cell(SUBJECT, executed(scores(LABELS, off=0.3)), exam()).verdict == "not shown"


def test_answers_that_differ_more_hold_where_quality_shows_it() -> None:
    found = cell(SUBJECT, executed(scores(LABELS, off=0.3)), exam(quality()))
    # Nobody sees a loss in 100 samples, yet one that was not seen is more than the 1 % that the floor allows.
    assert (found.verdict, found.quality and found.quality.value) == ("not shown", 1)
    many = Exam(exam().outputs, [{}] * 2000, scores(LABELS * 20), quality(labels=LABELS * 20))
    assert cell(SUBJECT, executed(scores(LABELS * 20, off=0.3)), many).verdict == "met"


def test_quality_that_is_lost_is_missed_with_its_interval() -> None:
    half = [0] * len(LABELS)
    found = cell(SUBJECT, executed(scores(half)), exam(quality()))
    assert found.verdict == "missed"
    assert found.quality is not None
    assert found.quality.value == 0.5
    assert found.quality.low is not None
    assert 0.3 < found.quality.low < 0.5
    assert (found.quality.evidence, found.quality.on) == (Evidence.EMULATED, "cortex-a53, linux-arm64")


def test_a_crash_is_missed_with_its_reason() -> None:
    found = cell(SUBJECT, executed((), reason="crashed with SIGSEGV"), exam())
    assert (found.loads, found.runs, found.verdict) == (True, False, "missed")
    assert (found.reason, found.difference) == ("crashed with SIGSEGV", None)


def test_what_could_not_be_tried_is_not_assessed() -> None:
    found = cell(SUBJECT, executed((), evidence=Evidence.NONE, loads=False, reason="not installed"), exam())
    assert (found.verdict, found.evidence, found.reason) == ("not assessed", Evidence.NONE, "not installed")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(np.array([[np.nan, 1]], np.float32), id="not finite"),
        pytest.param(np.zeros((2, 2), np.float32), id="another shape"),
    ],
)
def test_answers_that_are_none_do_not_count_as_running(odd: NDArray[Any]) -> None:
    answers = (*scores(LABELS)[:-1], {"logits": odd})
    found = cell(SUBJECT, executed(answers), exam(quality()))
    assert (found.runs, found.verdict, found.difference) == (False, "missed", None)
    assert "not finite, or not of the original's shapes" in (found.reason or "")


def test_labels_that_do_not_fit_the_metric_are_the_users_mistake() -> None:
    with pytest.raises(InputError, match="cer needs text"):
        cell(SUBJECT, executed(scores(LABELS)), exam(quality(Cer(), ["text"] * len(LABELS))))


def test_there_is_a_cell_for_each_subject_in_each_place_that_takes_it() -> None:
    subjects = [SUBJECT, Subject("openvino/original", "openvino", Path("model.xml"), tolerance=0.01)]
    places = [Fake("here", scores(LABELS)), Fake("cortex-a53", scores(LABELS), ("onnxruntime",))]
    heard: list[Cell] = []
    found = cells(subjects, places, exam(), done=heard.append)
    assert [(one.subject, one.place) for one in found] == [
        ("onnxruntime/dynamic-int8", "here"),
        ("onnxruntime/dynamic-int8", "cortex-a53"),
        ("openvino/original", "here"),
    ]
    assert sorted(heard, key=found.index) == list(found)


def test_cells_go_into_a_manifest_and_come_back() -> None:
    found = cell(SUBJECT, executed(scores([0] * len(LABELS))), exam(quality()))
    document = canonical_json({"cells": [msgspec.to_builtins(found)]})
    assert msgspec.convert(msgspec.json.decode(document)["cells"], list[Cell]) == [found]


def test_this_machine_is_a_place_like_others(tmp_path: Path) -> None:
    proto = tiny_mlp()
    path = save(proto, tmp_path / "model.onnx")
    outputs = tuple(spec(output) for output in proto.graph.output)
    inputs = [{"x": normal(seed, 1, 8)} for seed in range(4)]
    expected = HERE.run("onnxruntime", path, outputs, inputs).answers
    (found,) = cells(
        [Subject("original", "onnxruntime", path, 1e-3)], [HERE], Exam(outputs, inputs, expected)
    )
    assert (found.verdict, found.evidence, found.difference and found.difference.rms) == (
        "met",
        Evidence.MEASURED,
        0,
    )
