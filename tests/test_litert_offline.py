"""LiteRT without its toolchain: what is fixed before a conversion, and what is said where something is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgewise import targets
from edgewise.errors import ToolchainError
from edgewise.targets import Tensors
from edgewise.targets.building import Original, Traits
from edgewise.targets.graph import spec
from edgewise.targets.litert import shapes, toolchain
from models import INT64, model, normal, tensor, tiny_cnn, tiny_transformer

PICTURES = [{"image": normal(seed, 1, 3, 8, 8)} for seed in range(3)]
SENTENCES = [{"ids": np.arange(length)[np.newaxis]} for length in (3, 5)]


def fixed(proto: onnx.ModelProto, samples: Sequence[Tensors], *, everything: bool = False) -> onnx.ModelProto:
    return shapes.fixed(proto, samples, everything=everything)[0]


def declared(proto: onnx.ModelProto) -> list[tuple[int | str | None, ...]]:
    return [spec(value).shape for value in proto.graph.input]


def test_a_dimension_that_is_always_one_is_fixed() -> None:
    assert declared(fixed(tiny_cnn(), PICTURES)) == [(1, 3, 8, 8)]


def test_a_dimension_that_differs_stays_free() -> None:
    ((batch, length),) = declared(fixed(tiny_transformer(), SENTENCES))
    assert batch == 1
    assert not isinstance(length, int)


def test_a_dimension_that_only_happens_to_be_the_same_stays_free_until_all_else_fails() -> None:
    samples = SENTENCES[:1]
    assert not isinstance(declared(fixed(tiny_transformer(), samples))[0][1], int)
    assert declared(fixed(tiny_transformer(), samples, everything=True)) == [(1, 3)]


def scaled(by: int) -> list[dict[str, np.ndarray]]:
    return [{"x": normal(seed, 1, 4), "mode": np.array(by)} for seed in range(2)]


def chosen() -> onnx.ModelProto:
    """x (1, 4), doubled where `mode` is 1, else negated."""
    out = [tensor("y", [1, 4])]
    double = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [], out)
    negate = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negate", [], out)
    nodes = [
        helper.make_node("Equal", ["mode", "one"], ["doubled"]),
        helper.make_node("If", ["doubled"], ["z"], then_branch=double, else_branch=negate),
    ]
    inputs = [tensor("x", [1, 4]), tensor("mode", [], INT64)]
    return model(nodes, inputs, [tensor("z", [1, 4])], {"one": np.array(1)})


def test_an_input_of_one_number_becomes_a_constant_when_all_else_fails() -> None:
    graph, constants = shapes.fixed(chosen(), scaled(1), everything=True)
    assert {name: int(value) for name, value in constants.items()} == {"mode": 1}
    assert [value.name for value in graph.graph.input] == ["x"]
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    x = normal(5, 1, 4)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], 2 * x)


def test_an_input_whose_number_changes_stays_one() -> None:
    samples = [*scaled(1), *scaled(2)]
    _, constants = shapes.fixed(chosen(), samples, everything=True)
    assert constants == {}


def test_what_moves_no_data_gets_its_shape_written_out() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "copies"], ["r"]),
        helper.make_node("Squeeze", ["r", "axis"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    weights = {"copies": np.array([0, 0, 1, 4]), "axis": np.array([2])}
    proto = model(nodes, [tensor("x", ["n", "t", 4])], [tensor("y", ["n", "t", 4])], weights)
    graph = fixed(proto, [{"x": normal(1, 1, t, 4)} for t in (2, 3)]).graph
    stored = {value.name: onnx.numpy_helper.to_array(value).tolist() for value in graph.initializer}
    written = [stored[node.input[1]] for node in graph.node if node.op_type == "Reshape"]
    assert written
    assert all(shape.count(-1) <= 1 and 0 not in shape for shape in written)
    assert not any(node.op_type == "Squeeze" for node in graph.node)


def test_pooling_over_a_free_dimension_pads_before_it_with_the_same_result() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    proto = model([pool], [tensor("x", [1, 2, "h", "w"])], [tensor("y", [1, 2, None, None])])
    samples = [{"x": normal(1, 1, 2, 6, 7)}, {"x": normal(2, 1, 2, 9, 8)}]
    graph = fixed(proto, samples)
    assert [node.op_type for node in graph.graph.node] == ["Pad", "MaxPool"]
    before, after = (onnxruntime.InferenceSession(one.SerializeToString()) for one in (proto, graph))
    for sample in samples:
        np.testing.assert_array_equal(before.run(None, sample)[0], after.run(None, sample)[0])


def test_the_users_graph_is_left_alone() -> None:
    proto = tiny_cnn()
    before = proto.SerializeToString()
    fixed(proto, PICTURES, everything=True)
    assert proto.SerializeToString() == before


def test_a_missing_converter_names_the_command_that_makes_it() -> None:
    with pytest.raises(ToolchainError, match=r"onnx2tf==2\.6\.9.* Run: edgewise targets --install litert"):
        toolchain.converter()


def test_a_python_that_only_names_others_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(shim) not in list(toolchain._pythons())


def test_a_transformers_layers_alone_are_quantized_statically() -> None:
    tried = list(targets.builder("litert").methods(Traits(transformer=True)))
    assert tried[0] == Original()
    assert {getattr(method, "scope", "layers") for method in tried} == {"layers"}
