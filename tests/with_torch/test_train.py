"""Training on tiny nets: each kind of student, what it learns, what it becomes in ONNX, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from sklearn.datasets import load_digits

from edgewise.cache import Cache
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.compress.apply import build
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.config import load as load_config
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.lab.model.load import load
from edgewise.lab.model.runtime import open_session
from edgewise.lab.plan import prepare
from edgewise.lab.train import data as training
from edgewise.lab.train.students import AnyStudent, Aware, FewerLayers, Named, Pruned, StaticEmbedding
from edgewise.lab.train.worker import Done, Job, Options, train
from edgewise.lab.workshop import Workshop
from edgewise.targets.graph import spec
from models import INT64, model, normal, save, tensor, tiny_cnn, tiny_mlp
from projects import digits

OURS = """\
import torch
def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, {classes}))
"""


def stacked(count: int, *, text: bool = False) -> onnx.ModelProto:
    """`count` layers of two products and a residual sum, over x (batch, 8) or over each of ids (batch, length)."""
    weights: dict[str, Any] = {"table": normal(7, 32, 8) * np.float32(4)}
    given = "x"
    nodes = [helper.make_node("Gather", ["table", "ids"], ["x"])] if text else []
    for n in range(count):
        weights |= {f"a{n}": normal(n, 8, 16), f"b{n}": normal(n + 50, 16, 8)}
        nodes += [
            helper.make_node("MatMul", [given, f"a{n}"], [f"wide{n}"]),
            helper.make_node("Relu", [f"wide{n}"], [f"active{n}"]),
            helper.make_node("MatMul", [f"active{n}", f"b{n}"], [f"narrow{n}"]),
            helper.make_node("Add", [given, f"narrow{n}"], [f"sum{n}"]),
        ]
        given = f"sum{n}"
    if text:
        nodes += [
            helper.make_node("Cast", ["mask"], ["ones"], to=1),
            helper.make_node("Unsqueeze", ["ones", "last"], ["column"]),
            helper.make_node("Mul", [given, "column"], ["masked"]),
            helper.make_node("ReduceMean", ["masked"], ["pooled"], axes=[1], keepdims=0),
        ]
        weights["last"] = np.array([-1], np.int64)
        given = "pooled"
    weights["head"] = normal(99, 8, 3)
    nodes.append(helper.make_node("MatMul", [given, "head"], ["logits"]))
    inputs = [tensor("x", ["batch", 8])]
    if text:
        inputs = [tensor(name, ["batch", "length"], INT64) for name in ("ids", "mask")]
    else:
        del weights["table"]
    return model(nodes, inputs, [tensor("logits", ["batch", 3])], weights)


def feeds(proto: onnx.ModelProto, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return random samples: of two lengths where that is open, tokens from 3, their first and last the same."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        feed: dict[str, Any] = {}
        for item in map(spec, proto.graph.input):
            sizes = [1, *(size if isinstance(size, int) else 4 + index % 2 for size in item.shape[1:])]
            if item.dtype != "int64":
                feed[item.name] = random.standard_normal(sizes).astype(np.float32)
            elif item.name == "mask":
                feed[item.name] = np.ones(sizes, np.int64)
            else:
                feed[item.name] = random.integers(3, 32, sizes)
                feed[item.name][:, [0, -1]] = 1, 2
        made.append(feed)
    return made


def answers(proto: onnx.ModelProto | Path, given: list[dict[str, Any]]) -> Any:
    session = open_session(str(proto) if isinstance(proto, Path) else proto)
    return np.concatenate([session.run(None, feed)[0] for feed in given])


def trained(
    folder: Path,
    proto: onnx.ModelProto,
    student: AnyStudent,
    *,
    labels: Any = None,
    count: int = 96,
    **options: Any,
) -> Done:
    """Train on random samples; with `labels` True, on the original's own decisions as labels."""
    folder.mkdir(exist_ok=True)
    given = feeds(proto, count)
    if labels is True:
        labels = answers(proto, given).argmax(-1)
    own = [None] * count if labels is None else labels
    store.write(
        folder / "train.npz", [Sample(feed, label=label) for feed, label in zip(given, own, strict=True)]
    )
    job = Job(
        student=student,
        source=str(save(proto, folder / "model.onnx")),
        samples=str(folder / "train.npz"),
        folder=str(folder),
        kept=str(folder),
        base=str(folder),
        options=Options(**({"epochs": 3, "batch": 16, "labels": labels is not None} | options)),
    )
    return train(job)


def off(folder: Path, proto: onnx.ModelProto) -> float:
    """Return how far the student is from the original on other samples: rms, relative."""
    given = feeds(proto, 40, seed=9)
    want, got = answers(proto, given), answers(folder / "student.onnx", given)
    return float(np.sqrt(((want - got) ** 2).mean() / (want**2).mean()))


def test_a_pruned_net_gives_the_same_shape_for_fewer_multiplications(tmp_path: Path) -> None:
    done = trained(tmp_path, tiny_cnn(), Pruned(share=0.4, align=2), labels=True)
    assert done.after.macs <= 0.6 * done.before.macs
    assert done.after.parameters < done.before.parameters
    student = load(tmp_path / done.file)
    assert student.outputs == load(tmp_path / "model.onnx").outputs
    assert student.inputs == load(tmp_path / "model.onnx").inputs
    assert answers(tmp_path / done.file, feeds(tiny_cnn(), 2)).shape == (2, 4)


def test_more_than_can_be_pruned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ToolchainError, match="99% of the multiplications cannot be pruned away in steps of 8 channels"
    ):
        trained(tmp_path, tiny_cnn(), Pruned(share=0.99))


def test_distillation_brings_a_student_nearer_to_the_original(tmp_path: Path) -> None:
    done = trained(tmp_path, stacked(4), FewerLayers(keep=2), learning_rate=1e-2, epochs=12, classes=False)
    assert done.epochs[done.best].held < 0.5 * done.epochs[0].held
    assert done.after.macs < 0.6 * done.before.macs


def test_layers_that_are_dropped_leave_the_others_as_they_were(tmp_path: Path) -> None:
    trained(tmp_path, stacked(4), FewerLayers(keep=2), learning_rate=1e-12, epochs=1)
    given = feeds(stacked(4), 3)
    x = np.concatenate([feed["x"] for feed in given])
    for n in (0, 1):
        x = x + np.maximum(x @ normal(n, 8, 16), 0) @ normal(n + 50, 16, 8)
    assert answers(tmp_path / "student.onnx", given) == pytest.approx(
        x @ normal(99, 8, 3), rel=1e-3, abs=1e-4
    )


def test_dropping_layers_of_a_net_that_repeats_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="none that repeat were found, and 1 are to stay"):
        trained(tmp_path, tiny_mlp(), FewerLayers(keep=1))


def test_a_static_embedding_takes_the_originals_inputs_and_learns_its_answers(tmp_path: Path) -> None:
    text = StaticEmbedding(size=4, ids="ids", mask="mask")
    done = trained(tmp_path, stacked(2, text=True), text, labels=True, epochs=30, learning_rate=1e-2)
    best = done.epochs[done.best]
    assert best.accuracy is not None
    assert best.accuracy > 0.7
    assert load(tmp_path / done.file).inputs == load(tmp_path / "model.onnx").inputs
    assert answers(tmp_path / done.file, feeds(stacked(2, text=True), 4)).shape == (4, 3)


def test_a_static_embedding_of_an_input_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="static-256: the model has no input 'input_ids', but ids, mask"):
        trained(tmp_path, stacked(2, text=True), StaticEmbedding())


def fragile() -> onnx.ModelProto:
    """x (batch, 8) → 16 → logits (batch, 3), one hidden value 300 times as wide as the others."""
    weights = {"w1": normal(1, 8, 16), "b1": normal(2, 16), "w2": normal(3, 16, 3), "b2": normal(4, 3)}
    weights["w1"][:, 0] *= 300
    weights["w2"][0] /= 300
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"], "first"),
        helper.make_node("Relu", ["hidden"], ["active"], "relu"),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"], "second"),
    ]
    return model(nodes, [tensor("x", ["batch", 8])], [tensor("logits", ["batch", 3])], weights)


def quantized_off(source: Path, folder: Path) -> float:
    """Return how far the static int8 file of `source` is from the fragile net: rms, relative."""
    folder.mkdir()
    candidate = Candidate.of("onnxruntime", {"method": "static-int8"})
    built = build(candidate, source, feeds(fragile(), 40, seed=3), folder)
    given = feeds(fragile(), 60, seed=9)
    want, got = answers(fragile(), given), answers(built.files["model.onnx"], given)
    return float(np.sqrt(((want - got) ** 2).mean() / (want**2).mean()))


def test_training_with_rounding_lowers_the_error_of_static_int8(tmp_path: Path) -> None:
    trained(tmp_path, fragile(), Aware(), epochs=60, learning_rate=3e-2, classes=False, count=256)
    before = quantized_off(tmp_path / "model.onnx", tmp_path / "before")
    after = quantized_off(tmp_path / "student.onnx", tmp_path / "after")
    assert after < 0.7 * before


def test_what_was_trained_with_rounding_is_plain_floats(tmp_path: Path) -> None:
    trained(tmp_path, tiny_mlp(), Aware(), epochs=1)
    kinds = [node.op_type for node in load(tmp_path / "student.onnx").proto.graph.node]
    assert kinds == ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("student", [Pruned(share=0.3, align=2), Aware()])
def test_the_same_training_gives_the_same_bytes(tmp_path: Path, student: AnyStudent) -> None:
    made = [trained(tmp_path / name, tiny_cnn(), student, labels=True) for name in "ab"]
    assert made[0].digest == made[1].digest


def test_a_net_of_the_users_is_trained_and_keeps_the_originals_names(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OURS.format(classes=3))
    done = trained(tmp_path, tiny_mlp(), Named(function="net.py:make"), labels=True, epochs=20)
    assert done.epochs[done.best].held < done.epochs[0].held
    assert load(tmp_path / done.file).inputs == load(tmp_path / "model.onnx").inputs


def test_a_net_of_another_output_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OURS.format(classes=5))
    message = r"net.py:make gives 'logits' as float32 \[2, 5\], the original as float32 \[2, 3\]"
    with pytest.raises(InputError, match=message):
        trained(tmp_path, tiny_mlp(), Named(function="net.py:make"))


def test_what_a_net_of_the_users_raises_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def make():\n    raise ValueError('no weights')\n")
    with pytest.raises(InputError, match=r"net\.py:make raised ValueError: no weights"):
        trained(tmp_path, tiny_mlp(), Named(function="net.py:make"))


def test_training_that_diverges_says_where_and_what_to_lower(tmp_path: Path) -> None:
    message = r"diverged at step \d+ of 30: .* set \[train\] learning_rate below 1e\+06"
    with pytest.raises(ToolchainError, match=message):
        trained(tmp_path, tiny_mlp(), Aware(), learning_rate=1e6, epochs=5, classes=False)


def test_a_label_that_does_not_fit_the_answer_is_refused_with_its_sample(tmp_path: Path) -> None:
    labels = [0] * 96
    labels[5] = 9
    with pytest.raises(InputError, match="training sample 5: its label 9 is no class of 0 … 2"):
        trained(tmp_path, tiny_mlp(), Aware(), labels=labels)


def test_training_that_takes_too_long_is_shortened_and_says_so(tmp_path: Path) -> None:
    done = trained(tmp_path, tiny_mlp(), Aware(), epochs=400, seconds=0.3)
    assert "steps were made in 0.3 s" in done.notes[0]


def test_a_model_of_one_sample_at_a_time_is_trained_too(tmp_path: Path) -> None:
    proto = tiny_cnn()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    done = trained(tmp_path, proto, Aware(), labels=True, epochs=1)
    assert load(tmp_path / done.file).inputs[0].shape == (1, 3, 8, 8)


def test_the_workshop_trains_a_student_once_and_keeps_it(tmp_path: Path) -> None:
    config = digits(tmp_path / "project")
    images, labels = load_digits(return_X_y=True)
    np.savez(config.parent / "train.npz", x=(images[:300] / 16).astype(np.float32), labels=labels[:300])
    config.write_text(config.read_text() + '[train]\nsamples = "train.npz"\nepochs = 2\n')
    plan = prepare(load_config(config))
    assert plan.config.train is not None
    given = training.load(
        plan.config.train,
        config.parent,
        plan.model.inputs,
        None,
        metric=plan.metric,
        classes=plan.classes,
        splits=plan.splits,
    )
    (tmp_path / "scratch").mkdir()
    workshop = Workshop(plan, Cache(tmp_path / "cache"), tmp_path / "scratch")
    first, second = (workshop.train(Aware(), plan.model.path, given) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert first.source == second.source
    best = first.done.epochs[first.done.best]
    assert best.accuracy is not None
    assert best.accuracy > 0.9
    built = workshop.build(
        Candidate.of("onnxruntime", {"method": "static-int8", "student": {"kind": "aware"}}), first.source
    )
    assert built.operators.quantized == 2


def test_a_single_score_is_learned_from_the_original_alone_and_a_note_says_so(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("Gemm", ["x", "w"], ["score"])],
        [tensor("x", ["batch", 8])],
        [tensor("score", ["batch", 1])],
        {"w": normal(1, 8, 1)},
    )
    done = trained(tmp_path, proto, Aware(), labels=[0, 1] * 48, epochs=1)
    assert done.epochs[0].accuracy is None
    assert "labels were not learned from" in done.notes[0]
