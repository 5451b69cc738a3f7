"""What an imported module is: its weights, their names, what it refuses, and that it trains, prunes and exports."""

from __future__ import annotations

import copy
import io
import sys

import numpy as np
import onnx
import pytest
import torch
import torch_pruning as pruning
from onnx import helper, numpy_helper
from operator_cases import floats, ints, positive
from torch_checks import exported, feed, off, tensors

from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.torch_graph import importing, to_torch, verify
from models import (
    INT64,
    Weights,
    model,
    normal,
    tensor,
    tiny_cnn,
    tiny_mlp,
    tiny_transformer,
    tiny_two_in_two_out,
)

SIZES = {"batch": 2, "length": 5, "n": 2, "h": 6}
OTHER = {"batch": 3, "length": 9, "n": 3, "h": 10}


def with_shape_arithmetic() -> onnx.ModelProto:
    """ids (batch, length) → positions added by Range, heads split and joined by Shape, Gather, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["places"]),
        helper.make_node("Expand", ["places", "shape"], ["positions"]),
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Gather", ["table2", "positions"], ["order"]),
        helper.make_node("Add", ["words", "order"], ["x"]),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["b"]),
        helper.make_node("Unsqueeze", ["length", "axis"], ["l"]),
        helper.make_node("Concat", ["b", "l", "heads"], ["split"], axis=0),
        helper.make_node("Reshape", ["x", "split"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("ConstantOfShape", ["two"], ["ones"], value=numpy_helper.from_array(ints(1))),
        helper.make_node("ReduceProd", ["shape"], ["count"], keepdims=1),
        helper.make_node("Div", ["count", "b"], ["again"]),
        helper.make_node("Mul", ["again", "ones1"], ["l2"]),
        helper.make_node("Concat", ["b", "eight", "l2"], ["join"], axis=0),
        helper.make_node("Reshape", ["turned", "join"], ["y"]),
    ]
    weights: Weights = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axis": ints(0),
        "two": ints(1),
        "ones1": ints(1),
        "heads": ints(2, 4),
        "eight": ints(8),
        "table": normal(1, 16, 8),
        "table2": normal(2, 16, 8),
    }
    ids = tensor("ids", ["batch", "length"], INT64)
    return model(nodes, [ids], [tensor("y", ["batch", 8, "length"])], weights)


def choosing(condition: str) -> onnx.ModelProto:
    """y is 2x where `condition` (an input or a tensor made from x) is true, else x."""
    value = tensor("y", [None, 4])
    double = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["twice"])], "then", [], [tensor("twice", [None, 4])]
    )
    same = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])], "else", [], [tensor("same", [None, 4])]
    )
    nodes = [
        helper.make_node("Equal", ["rate", "wanted"], ["flag"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "axis"], ["width"]),
        helper.make_node("Equal", ["width", "four"], ["wide"]),
        helper.make_node("If", [condition], ["y"], "choice", then_branch=double, else_branch=same),
    ]
    weights = {
        "wanted": np.array(16000, np.int64),
        "four": np.array(4, np.int64),
        "axis": np.array(1, np.int64),
    }
    return model(nodes, [tensor("x", ["n", 4]), tensor("rate", [], INT64)], [value], weights)


@pytest.mark.parametrize(
    "proto", [tiny_mlp(), tiny_cnn(), tiny_transformer(), tiny_two_in_two_out(), with_shape_arithmetic()]
)
def test_a_model_is_exported_and_answers_at_other_sizes(proto: onnx.ModelProto) -> None:
    first = feed(proto, SIZES)
    module = to_torch(proto, [first])
    assert off(module, proto, feed(proto, OTHER)) < 1e-5
    assert off(exported(module, tensors(proto, first)), proto, feed(proto, OTHER)) < 1e-5


def test_shape_arithmetic_leaves_no_tensor_behind() -> None:
    proto = with_shape_arithmetic()
    module = to_torch(proto)
    program = torch.export.export(
        module, tensors(proto, feed(proto, SIZES)), dynamic_shapes=importing.dynamic_shapes(module)
    )
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("item" in name or "scalar_tensor" in name or "stack" in name for name in called), called


def test_sample_requests_are_made_up_when_there_are_none() -> None:
    assert off(to_torch(tiny_mlp()), tiny_mlp(), feed(tiny_mlp(), OTHER)) < 1e-5


def test_weights_sit_in_torchs_own_modules() -> None:
    kinds = [type(item).__name__ for item in to_torch(tiny_transformer()).modules()]
    assert kinds.count("Embedding") == 1
    assert kinds.count("Linear") == 4
    assert kinds.count("LayerNorm") == 1


def test_names_that_came_from_torch_come_back() -> None:
    node = helper.make_node("Conv", ["x", "features.0.weight", "features.0.bias"], ["y"])
    weights = {"features.0.weight": normal(1, 4, 3, 3, 3), "features.0.bias": normal(2, 4)}
    proto = model([node], [tensor("x", ["n", 3, "h", "h"])], [tensor("y", ["n", 4, None, None])], weights)
    found = dict(to_torch(proto, [feed(proto, SIZES)]).named_parameters())
    assert list(found) == ["features.0.weight", "features.0.bias"]
    assert np.array_equal(found["features.0.weight"].detach().numpy(), weights["features.0.weight"])


def test_names_that_python_does_not_allow_are_made_legal() -> None:
    proto = model(
        [helper.make_node("MatMul", ["in/put:0", "onnx::MatMul_1"], ["y"])],
        [tensor("in/put:0", ["n", 3])],
        [tensor("y", ["n", 2])],
        {"onnx::MatMul_1": normal(1, 3, 2)},
    )
    assert list(dict(to_torch(proto).named_parameters())) == ["onnx__MatMul_1.weight"]


def test_weights_in_constant_nodes_are_parameters_too() -> None:
    constant = helper.make_node("Constant", [], ["kernel"], value=numpy_helper.from_array(normal(1, 4, 2)))
    proto = model(
        [constant, helper.make_node("MatMul", ["x", "kernel"], ["y"])],
        [tensor("x", ["n", 4])],
        [tensor("y", ["n", 2])],
    )
    assert dict(to_torch(proto).named_parameters())["kernel.weight"].shape == (2, 4)


def test_a_tensor_that_two_operators_use_stays_one_parameter() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, [tensor("x", ["n", 4])], [tensor("y", ["n", 4])], {"w": normal(1, 4, 4)})
    assert sum(parameter.numel() for parameter in to_torch(proto).parameters()) == 16


def test_a_product_and_the_vector_added_to_it_are_one_linear() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["b", "h"], ["y"])]
    weights = {"w": normal(1, 4, 3), "b": normal(2, 3)}
    proto = model(nodes, [tensor("x", ["n", 4])], [tensor("y", ["n", 3])], weights)
    module = to_torch(proto)
    assert [type(item).__name__ for item in module.children()] == ["Linear"]
    assert off(module, proto, feed(proto, OTHER)) < 1e-6


def test_numbers_such_as_an_epsilon_are_not_learned() -> None:
    nodes = [helper.make_node("Add", ["x", "eps"], ["s"]), helper.make_node("Sqrt", ["s"], ["y"])]
    proto = model(nodes, [tensor("x", ["n", 4])], [tensor("y", ["n", 4])], {"eps": np.array(9, np.float32)})
    assert not list(to_torch(proto).parameters())


def test_batch_norm_keeps_its_statistics_in_eval_and_moves_them_in_training() -> None:
    weights = {"s": positive(3), "b": normal(1, 3), "m": normal(2, 3), "v": positive(3)}
    node = helper.make_node("BatchNormalization", ["x", *weights], ["y"])
    proto = model([node], [tensor("x", ["n", 3, "h", "h"])], [tensor("y", ["n", 3, "h", "h"])], weights)
    module = to_torch(proto, [feed(proto, SIZES)])
    norm = next(item for item in module.modules() if isinstance(item, torch.nn.BatchNorm2d))
    assert np.array_equal(norm.running_mean.numpy(), weights["m"])
    module.train()(*tensors(proto, feed(proto, SIZES)))
    assert not np.array_equal(norm.running_mean.numpy(), weights["m"])


@pytest.mark.parametrize("proto", [tiny_cnn(), tiny_transformer()])
def test_a_step_of_training_lowers_the_loss(proto: onnx.ModelProto) -> None:
    module = to_torch(proto).train()
    given, labels = tensors(proto, feed(proto, {"batch": 8, "length": 5})), torch.arange(8) % 2
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    losses = []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(module(*given), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert losses[1] < losses[0]


def test_channels_are_pruned_by_torch_pruning() -> None:
    module, example = to_torch(tiny_cnn()), torch.zeros(1, 3, 8, 8)
    graph = pruning.DependencyGraph().build_dependency(module, example_inputs=example)
    group = graph.get_pruning_group(module.w3, pruning.prune_conv_out_channels, idxs=[0, 5])
    group.prune()
    assert module.w3.weight.shape == (6, 8, 1, 1)
    assert module.w4.weight.shape == (4, 6)
    assert module(example).shape == (1, 4)


def test_a_module_is_copied_and_saved_with_its_weights() -> None:
    module, given = to_torch(tiny_cnn()), feed(tiny_cnn(), OTHER)
    buffer = io.BytesIO()
    torch.save(copy.deepcopy(module), buffer)
    buffer.seek(0)
    assert off(torch.load(buffer, weights_only=False), tiny_cnn(), given) < 1e-5


def test_the_same_model_gives_the_same_code() -> None:
    assert to_torch(tiny_transformer()).code == to_torch(tiny_transformer()).code


def test_an_if_is_decided_by_an_input_that_is_fixed() -> None:
    module = to_torch(choosing("flag"), fixed={"rate": 16000})
    assert torch.equal(module(torch.ones(2, 4)), torch.full((2, 4), 2.0))
    module = to_torch(choosing("flag"), fixed={"rate": 8000})
    assert torch.equal(module(torch.ones(2, 4)), torch.ones(2, 4))


def test_an_if_is_decided_by_a_size_that_is_known() -> None:
    module = to_torch(choosing("wide"), fixed={"rate": 0})
    assert torch.equal(module(torch.ones(3, 4)), torch.full((3, 4), 2.0))


def test_an_if_on_data_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"If \(node 'choice'\) depends on the data.*fixed="):
        to_torch(choosing("flag"))


@pytest.mark.parametrize(
    ("op", "domain", "named"),
    [("Det", "", r"Det \(node 'strange'\)"), ("Inverse", "com.microsoft", "com.microsoft::Inverse")],
)
def test_an_operator_that_is_not_known_is_refused_by_name(op: str, domain: str, named: str) -> None:
    node = helper.make_node(op, ["x"], ["y"], "strange", domain=domain)
    shape: list[int] = [] if op == "Det" else [2, 2]
    proto = model([node], [tensor("x", [2, 2])], [tensor("y", shape)], domains=[domain] if domain else [])
    with pytest.raises(InputError, match=f"lacks the operator {named}"):
        to_torch(proto)


def test_a_form_of_an_operator_that_torch_lacks_is_refused_with_the_reason() -> None:
    weights = {"w": normal(1, 1, 15, 4), "r": normal(2, 1, 15, 5)}
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], "old", hidden_size=5)
    proto = model([node], [tensor("x", [3, "n", 4])], [tensor("y", [3, 1, "n", 5])], weights)
    with pytest.raises(InputError, match=r"GRU \(node 'old'\): linear_before_reset=0"):
        to_torch(proto)


def test_an_input_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"no input 'rate'; its inputs are x"):
        to_torch(tiny_mlp(), fixed={"rate": 1})
    with pytest.raises(InputError, match=r"sample request has no input 'x'"):
        to_torch(tiny_mlp(), [{"z": floats(1)}])


def test_an_answer_that_differs_is_refused_with_the_outputs_name() -> None:
    proto = tiny_two_in_two_out()
    given = [feed(proto, SIZES)]
    module = to_torch(proto, given)
    with torch.no_grad():
        module.w.weight.mul_(1.001)
    with pytest.raises(ToolchainError, match=r"output 'logits' differs from ONNX Runtime's by 0.001"):
        verify.check(module, proto, given, verify.answers(proto, given))


def test_without_torch_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolchainError, match=r"pip install 'edgewise\[torch\]'"):
        to_torch(tiny_mlp())
