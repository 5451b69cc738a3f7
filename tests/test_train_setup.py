"""What can be said of students without torch: configuration, samples, proposals, and how recipes carry them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgewise.bundle.manifest import TensorSpec
from edgewise.bundle.steps import Tokenize
from edgewise.errors import InputError
from edgewise.lab import config
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.metrics import find
from edgewise.lab.data.samples import Dataset, Sample
from edgewise.lab.data.splits import Splits
from edgewise.lab.train.data import Training, apart, load
from edgewise.lab.train.propose import layers, propose, students
from edgewise.lab.train.repeats import repeated
from edgewise.lab.train.section import TrainSection
from edgewise.lab.train.students import Aware, FewerLayers, Pruned, StaticEmbedding
from edgewise.targets.building import Original
from models import Weights, model, normal, tensor, tiny_cnn, tiny_mlp, tiny_transformer

MINIMAL = '[model]\npath = "net.onnx"\n[data]\nsamples = "samples.npz"\n[train]\nsamples = "train.npz"\n'


def configured(folder: Path, more: str = "") -> config.Config:
    (folder / "net.onnx").touch()
    (folder / "edgewise.toml").write_text(MINIMAL + more)
    return config.load(folder)


def sample(value: float, label: Any = None) -> Sample:
    return Sample({"x": np.full((1, 8), value, np.float32)}, label=label)


def splits(*values: float) -> Splits:
    return Splits((), (), tuple(map(sample, values)))


def stacked(count: int) -> onnx.ModelProto:
    """x (batch, 8) → `count` layers of two products and a residual sum → logits (batch, 3)."""
    nodes, weights, given = [], Weights(), "x"
    for n in range(count):
        weights |= {f"a{n}": normal(n, 8, 16), f"b{n}": normal(n + 50, 16, 8)}
        nodes += [
            helper.make_node("MatMul", [given, f"a{n}"], [f"wide{n}"]),
            helper.make_node("Relu", [f"wide{n}"], [f"active{n}"]),
            helper.make_node("MatMul", [f"active{n}", f"b{n}"], [f"narrow{n}"]),
            helper.make_node("Add", [given, f"narrow{n}"], [f"sum{n}"]),
        ]
        given = f"sum{n}"
    nodes.append(helper.make_node("MatMul", [given, "head"], ["logits"]))
    weights["head"] = normal(99, 8, 3)
    return model(nodes, [tensor("x", ["batch", 8])], [tensor("logits", ["batch", 3])], weights)


def test_samples_are_all_that_train_needs(tmp_path: Path) -> None:
    assert configured(tmp_path).train == TrainSection(samples="train.npz")


def test_students_are_read_by_their_kind(tmp_path: Path) -> None:
    text = '[[train.students]]\nkind = "pruned"\nshare = 0.3\n[[train.students]]\nkind = "fewer-layers"\nkeep = 2\n'
    section = configured(tmp_path, text).train
    assert section is not None
    assert section.students == (Pruned(share=0.3), FewerLayers(keep=2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 0\n", "line 7, train.epochs: 0 must be 1 or more"),
        ("learning_rate = 0.0\n", "line 7, train.learning_rate: 0.0 must be a finite number above 0"),
        ("speed = 1\n", "unknown key 'speed'"),
        ('[[train.students]]\nkind = "tiny"\n', "tiny"),
        ('[[train.students]]\nkind = "pruned"\nshare = 1.5\n', "share"),
        ('[[train.students]]\nkind = "named"\nfunction = "net.py:make"\n', "net.py does not exist"),
        (
            '[[train.students]]\nkind = "aware"\n[[train.students]]\nkind = "aware"\n',
            "aware-8 is there twice",
        ),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        configured(tmp_path, text)


def test_samples_that_judge_are_not_trained_on() -> None:
    dataset = Dataset(tuple(map(sample, range(30))), "train.npz")
    kept, notes = apart(dataset, splits(3, 4, 99))
    assert len(kept) == 28
    assert notes == ("2 samples of train.npz are also in [data]: students were not trained on them",)


def test_training_on_the_judging_samples_is_refused() -> None:
    dataset = Dataset(tuple(map(sample, range(30))), "samples.npz")
    with pytest.raises(InputError, match=r"samples.npz: 30 of its 30 samples are also in \[data\]"):
        apart(dataset, splits(*range(30)))


def loaded(folder: Path, section: TrainSection, labels: Any, metric: str = "accuracy") -> Training:
    arrays = {"x": np.random.default_rng(0).random((30, 8)).astype(np.float32)}
    np.savez(folder / "train.npz", **(arrays if labels is None else arrays | {"labels": labels}))
    specs = (TensorSpec("x", "float32", ("batch", 8)),)
    return load(section, folder, specs, None, metric=find(metric, folder, 3), classes=3, splits=splits(99))


def test_without_labels_students_learn_from_the_original_and_a_note_says_so(tmp_path: Path) -> None:
    found = loaded(tmp_path, TrainSection(samples="train.npz"), None)
    assert not found.labels
    assert found.notes == ("train.npz has no labels: students learn from the original's answers alone",)


def test_labels_that_are_asked_for_and_missing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels = true, but train\.npz has none"):
        loaded(tmp_path, TrainSection(samples="train.npz", labels=True), None)


def test_labels_under_a_metric_of_no_classes_are_not_learned_from(tmp_path: Path) -> None:
    values = np.zeros(30, np.float32)
    assert not loaded(tmp_path, TrainSection(samples="train.npz"), values, "mae").labels
    with pytest.raises(InputError, match="mae is no metric of classes"):
        loaded(tmp_path, TrainSection(samples="train.npz", labels=True), values, "mae")


def test_a_label_of_no_class_is_refused_with_its_sample(tmp_path: Path) -> None:
    labels = np.arange(30) % 3
    labels[7] = 5
    with pytest.raises(InputError, match=r"\[train\] train.npz: sample 7: .*5"):
        loaded(tmp_path, TrainSection(samples="train.npz"), labels)


def test_a_recipe_carries_its_student_and_gives_the_candidate_back() -> None:
    candidate = Candidate(Original(), "onnxruntime", ("equalised",), Pruned(share=0.5))
    assert candidate.id == "onnxruntime/original-equalised~pruned-50"
    assert candidate.recipe["student"] == {"kind": "pruned", "version": 1, "share": 0.5, "align": 8}
    assert Candidate.of("onnxruntime", candidate.recipe) == candidate


def test_a_recipe_without_a_student_is_what_it_was() -> None:
    assert Candidate(Original(), "onnxruntime").recipe == {"method": "original", "version": 1}


def test_layers_are_counted_by_what_repeats() -> None:
    assert [layers(stacked(count)) for count in (1, 2, 5)] == [1, 2, 5]


def test_the_run_that_covers_most_is_found() -> None:
    run = repeated("xyabcabcabcabz", [True] * 14)
    assert run is not None
    assert (run.start, run.period, run.count) == (2, 3, 3)


def test_what_is_proposed_fits_the_model() -> None:
    assert propose(tiny_mlp(), ()) == ()
    assert {type(student) for student in propose(tiny_cnn(), ())} == {Aware, Pruned}
    text = Tokenize(file="tokenizer.json", ids="ids", mask=None)
    assert propose(tiny_transformer(), (text,)) == (StaticEmbedding(ids="ids", mask=""),)
    assert propose(tiny_transformer(), ()) == ()


def test_students_that_are_asked_for_take_the_place_of_those_proposed() -> None:
    assert students(tiny_cnn(), (), (Aware(),)) == (Aware(),)
