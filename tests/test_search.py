"""What is tried: a screen decides on repairs, a first look passes over, and fragile layers are protected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import edgewise
from edgewise.bundle.golden import compare
from edgewise.lab.compress import apply, layers
from edgewise.lab.compress.enumerate import first_rungs, variations
from edgewise.lab.compress.equalise import equalised, spread
from edgewise.lab.compress.layers import Layer, Ranking
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.lab.model import load
from edgewise.lab.search import protect
from edgewise.lab.search.fragile import fragile
from edgewise.lab.search.screen import Screen, screen
from edgewise.lab.trial import Trial
from edgewise.targets.building import NncfPtq, Quantizer, WeightInt8
from edgewise.targets.onnxruntime.build import DynamicInt8, StaticInt8
from models import model, normal, save, tensor, tiny_cnn, tiny_mlp, tiny_transformer


def answers(proto: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def unbalanced(proto: onnx.ModelProto, first: str, bias: str, second: str) -> onnx.ModelProto:
    """Return the same function, the channels between two dense layers spread over three orders of magnitude."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    stored = {one.name: one for one in made.graph.initializer}
    factor = 10 ** np.random.default_rng(0).uniform(-1.5, 1.5, stored[bias].dims[0])
    for name, scale in ((first, factor), (bias, factor), (second, 1 / factor[:, None])):
        array = (numpy_helper.to_array(stored[name]) * scale).astype(np.float32)
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    return made


def squeezed() -> onnx.ModelProto:
    """Convolution → gate computed from the same channels → convolution."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["e"]),
        helper.make_node("Mul", ["b", "e"], ["f"]),
        helper.make_node("Conv", ["f", "w3"], ["logits"]),
    ]
    weights = {
        "w1": normal(1, 8, 3, 3, 3) * np.logspace(-2, 2, 8, dtype=np.float32).reshape(8, 1, 1, 1),
        "b1": normal(2, 8),
        "w2": normal(3, 8, 8, 1, 1),
        "w3": normal(4, 4, 8, 1, 1),
    }
    return model(nodes, [tensor("image", [1, 3, 8, 8])], [tensor("logits", [1, 4, 8, 8])], weights)


PICTURE = {"image": normal(9, 1, 3, 8, 8)}


@pytest.mark.parametrize("proto", [tiny_cnn(), squeezed()], ids=["depthwise", "gated"])
def test_equalisation_keeps_the_function(proto: onnx.ModelProto) -> None:
    made = equalised(proto)
    assert made.SerializeToString() != proto.SerializeToString()
    np.testing.assert_allclose(answers(made, PICTURE)[0], answers(proto, PICTURE)[0], rtol=1e-4, atol=1e-6)


def test_equalisation_makes_channels_alike() -> None:
    proto = unbalanced(tiny_mlp(), "w1", "b1", "w2")
    assert spread(proto) > 8
    assert spread(equalised(proto)) < 3
    row = {"x": normal(5, 1, 8)}
    np.testing.assert_allclose(answers(equalised(proto), row)[0], answers(tiny_mlp(), row)[0], rtol=1e-4)


@pytest.mark.parametrize("between", ["Sigmoid", "HardSwish", "Softmax"])
def test_nothing_is_equalised_through_an_operator_that_bends(between: str) -> None:
    proto = tiny_mlp()
    proto.graph.node[1].op_type = between
    with pytest.raises(ValueError, match="no two layers"):
        equalised(proto)


def test_a_value_that_is_an_output_is_not_scaled() -> None:
    proto = tiny_mlp()
    proto.graph.output.append(tensor("active", ["batch", 16]))
    with pytest.raises(ValueError, match="no two layers"):
        equalised(proto)


def test_weights_that_two_layers_share_are_left_alone() -> None:
    proto = tiny_mlp()
    proto.graph.node.append(helper.make_node("Gemm", ["x", "w1", "b1"], ["again"]))
    proto.graph.output.append(tensor("again", ["batch", 16]))
    with pytest.raises(ValueError, match="no two layers"):
        equalised(proto)


def test_the_screen_asks_for_equalisation_where_channels_are_unlike(tmp_path: Path) -> None:
    plain = screen(load(save(tiny_mlp(), tmp_path / "plain.onnx")))
    spread_out = screen(load(save(unbalanced(tiny_mlp(), "w1", "b1", "w2"), tmp_path / "twin.onnx")))
    assert (plain.repairs, spread_out.repairs) == ((), ("equalised",))
    assert "times as wide as the median one" in spread_out.notes[0]


def test_the_screen_sees_attention_and_its_mask(tmp_path: Path) -> None:
    found = screen(load(save(tiny_transformer(), tmp_path / "t.onnx")))
    assert found.transformer
    nodes = [helper.make_node("Add", ["x", "mask"], ["logits"])]
    proto = model(
        nodes, [tensor("x", [2])], [tensor("logits", [2])], {"mask": np.array([0, -1e4], np.float32)}
    )
    assert screen(load(save(proto, tmp_path / "m.onnx"))).fragile == ("logits",)


def test_after_a_repair_every_quantizer_is_tried_again() -> None:
    plain = list(first_rungs(["onnxruntime"], Screen()))
    both = list(first_rungs(["onnxruntime"], Screen(spread=1000.0)))
    again = [one for one in both if one.repairs]
    assert [one for one in both if not one.repairs] == plain
    assert [one.method for one in again] == [
        one.method for one in plain if one.precision not in ("fp32", "fp16")
    ]
    assert again[0].id == "onnxruntime/weight-int8-equalised"
    assert Candidate.of("onnxruntime", again[0].recipe) == again[0]


ROWS = [{"x": normal(seed, 1, 8)} for seed in range(8)]


@pytest.mark.parametrize(
    "method",
    [WeightInt8(), DynamicInt8(), StaticInt8(), NncfPtq()],
    ids=lambda method: str(method.__struct_config__.tag),
)
def test_a_protected_layer_stays_as_it_is(method: Quantizer, tmp_path: Path) -> None:
    wide = {"x": [64, 64], "y": [64, 32]}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["logits"]),
    ]
    weights = {"w1": normal(1, *wide["x"]), "w2": normal(2, *wide["y"])}
    proto = model(nodes, [tensor("x", ["n", 64])], [tensor("logits", ["n", 32])], weights)
    source = save(proto, tmp_path / "s.onnx")
    samples = [{"x": normal(seed, 1, 64)} for seed in range(4)]
    counts = {}
    for name, protected in (("none", ()), ("one", ("a",))):
        (tmp_path / name).mkdir()
        changed = type(method)(protected=protected)
        made = apply.build(Candidate(changed, "onnxruntime"), source, samples, tmp_path / name)
        counts[name] = edgewise.targets.builder("onnxruntime").operators(made.files["model.onnx"]).quantized
    assert (counts["none"], counts["one"]) == (2, 1)


def test_the_layer_that_costs_most_a_byte_is_ranked_first(tmp_path: Path) -> None:
    proto = tiny_mlp()
    stored = {one.name: one for one in proto.graph.initializer}
    # The first hidden unit is never on, and its weight takes the whole range of an output: the others are lost.
    for name, index, value in (("w1", (slice(None), 0), 0), ("b1", 0, -1), ("w2", (0, slice(None)), 300)):
        array = numpy_helper.to_array(stored[name]).copy()
        array[index] = value
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    source = save(proto, tmp_path / "s.onnx")
    (tmp_path / "out").mkdir()
    made = apply.build(Candidate(NncfPtq(), "onnxruntime"), source, ROWS, tmp_path / "out").files[
        "model.onnx"
    ]
    store.write(tmp_path / "rows.npz", [Sample(row) for row in ROWS])
    ranking = layers.rank(layers.Job(str(source), str(made), str(tmp_path / "rows.npz"), len(ROWS)))
    first, second = ranking.by("bytes")
    assert (first.names[0], second.names[0]) == ("logits", "hidden")
    assert first.removed > 0.5 * ranking.error
    assert (first.bytes, second.bytes) == (3 * 48, 3 * 128)


def test_a_slow_layer_is_ranked_behind_a_quick_one_where_time_counts() -> None:
    slow, quick = Layer(("slow",), 0.5, 10, 100.0), Layer(("quick",), 0.2, 10, 1.0)
    ranking = Ranking(1.0, (slow, quick))
    assert (ranking.by("bytes")[0], ranking.by("microseconds")[0]) == (slow, quick)


def test_with_all_layers_in_float_the_file_is_the_original_again(tmp_path: Path) -> None:
    source = save(tiny_cnn(), tmp_path / "s.onnx")
    (tmp_path / "out").mkdir()
    made = apply.build(Candidate(NncfPtq(), "onnxruntime"), source, [PICTURE] * 4, tmp_path / "out")
    pair = layers._Pair(onnx.load(source), onnx.load(made.files["model.onnx"]))
    assert len(pair.layers) == 4
    whole = pair.mixed(range(4))
    expected, got = answers(tiny_cnn(), PICTURE), answers(whole, PICTURE)
    assert compare([{"logits": expected[0]}], [{"logits": got[0]}]).rms < 0.05


@pytest.mark.parametrize("needed", [1, 2, 5, 16])
def test_the_fewest_layers_that_hold_the_floor_are_found_by_bisection(needed: int) -> None:
    names = [f"l{index:02}" for index in range(32)]
    order = [Layer((name,), 1.0, 1) for name in names]
    tried = []

    def attempted(candidate: Candidate) -> Trial:
        assert isinstance(candidate.method, StaticInt8)
        tried.append(len(candidate.method.protected))
        trial = Trial(candidate, candidate.id)
        trial.holds = {"all": len(candidate.method.protected) >= needed}
        return trial

    base = Trial(Candidate(StaticInt8(), "onnxruntime"), "base")
    found = list(protect.bisected(base, order, attempted, 6))
    counts = [len(one.candidate.recipe["protected"]) for one in found if one.holds["all"]]
    assert needed <= min(counts) <= needed + 1 + needed // 8
    assert len(tried) <= 6


def test_where_half_of_the_layers_are_not_enough_the_search_ends() -> None:
    order = [Layer((str(index),), 1.0, 1) for index in range(32)]
    base = Trial(Candidate(StaticInt8(), "onnxruntime"), "base")
    assert len(list(protect.bisected(base, order, lambda candidate: Trial(candidate, "x"), 6))) == 1


def masked() -> onnx.ModelProto:
    """Scores of x @ w, a mask of −10,000 added where `mask` is 0, and a second sum that no mask reaches."""
    nodes = [
        helper.make_node("Unsqueeze", ["mask", "axis"], ["wide"]),
        helper.make_node("Sub", ["one", "wide"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "least"], ["added"]),
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Add", ["scores", "added"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"]),
        helper.make_node("Add", ["shares", "bias"], ["logits"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "axis": np.array([1], np.int64),
        "one": np.array([1], np.float32),
        "least": np.array([-1e4], np.float32),
        "w": normal(1, 8, 8),
        "bias": normal(2, 8),
    }
    inputs = [tensor("x", [1, 4, 8]), tensor("mask", [1, 8])]
    return model(nodes, inputs, [tensor("logits", [1, 4, 8])], weights)


def test_what_carries_a_mask_is_fragile_up_to_the_scores_it_is_added_to() -> None:
    assert fragile(masked()) == ("added", "masked")


def test_what_a_mask_passes_through_stays_in_float_when_a_quantizer_falls_short() -> None:
    screened = Screen(fragile=("added", "masked"), transformer=True)
    first = next(variations(Candidate(StaticInt8(), "onnxruntime"), screened))
    assert first.method == StaticInt8(protected=("added", "masked"))


@pytest.mark.parametrize(("outlying", "tried"), [(1.0, False), (100.0, True)])
def test_outliers_are_smoothed_only_where_there_are_some(outlying: float, tried: bool) -> None:
    candidate = Candidate(NncfPtq(transformer=True), "onnxruntime")
    found = variations(candidate, Screen(outlying=outlying, transformer=True))
    assert any(getattr(one.method, "smooth", None) is not None for one in found) is tried
