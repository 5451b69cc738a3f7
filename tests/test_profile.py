from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewise.errors import InputError
from edgewise.lab.model import load
from edgewise.lab.profile import Profile, profile
from models import (
    FLOAT,
    INT64,
    Shape,
    Weights,
    model,
    normal,
    save,
    tensor,
    tiny_cnn,
    tiny_mlp,
    tiny_transformer,
    tiny_two_in_two_out,
)

MICROSOFT = "com.microsoft"


@pytest.fixture
def of(tmp_path: Path) -> Any:
    """Profile a model that was built here."""

    def measure(proto: onnx.ModelProto, **given: Any) -> Profile:
        return profile(load(save(proto, tmp_path / "model.onnx")), **given)

    return measure


def one(op: str, x: Shape, y: Shape, weights: Weights, domain: str = "", **attributes: Any) -> Any:
    """A model of one operator: x and the weights in, y out."""
    node = helper.make_node(op, ["x", *weights], ["y"], op, domain=domain, **attributes)
    return model([node], [tensor("x", x)], [tensor("y", y)], weights, domains=[domain] if domain else [])


def branch(name: str, nodes: list[onnx.NodeProto], weights: Weights) -> onnx.GraphProto:
    stored = [numpy_helper.from_array(array, key) for key, array in weights.items()]
    return helper.make_graph(nodes, name, [], [tensor("out", ["rows", "columns"])], stored)


# --- MACs by hand


def test_dense_layers_multiply_each_row_by_their_weights(of: Any) -> None:
    assert of(tiny_mlp()).macs_by_kind == {"fully connected": 8 * 16 + 16 * 3}


def test_convolutions_are_told_apart_by_kernel_and_groups(of: Any) -> None:
    assert of(tiny_cnn()).macs_by_kind == {
        "conv 1x1": 8 * 8 * 8 * 8,
        "conv 3x3": 8 * 8 * 8 * 3 * 9,
        "conv depthwise": 8 * 8 * 8 * 9,
        "fully connected": 8 * 4,
    }


def test_attention_is_what_multiplies_two_activations(of: Any) -> None:
    assert of(tiny_transformer(), dims={"length": 5}).macs_by_kind == {
        "fully connected": 3 * 5 * 16 * 16 + 16 * 2,
        "attention": 2 * 5 * 5 * 16,
    }


@pytest.mark.parametrize(
    ("shapes", "groups", "expected"),
    [
        (([1, 4, 6, 6], [1, 2, 2, 2], [2, 4, 5, 5]), 1, {"conv other": 8 * 100}),
        (([1, 4, 6, 6], [1, 6, 4, 4], [6, 2, 3, 3]), 2, {"conv grouped": 96 * 18}),
        (([1, 4, 6, 6], [1, 8, 4, 4], [8, 1, 3, 3]), 4, {"conv depthwise": 128 * 9}),
        (([1, 4, 9], [1, 2, 9], [2, 4, 1]), 1, {"conv 1x1": 18 * 4}),
        (([1, 4, 9], [1, 2, 7], [2, 4, 3]), 1, {"conv other": 14 * 12}),
    ],
)
def test_a_convolution_costs_its_outputs_times_its_filter(
    of: Any, shapes: tuple[list[int], ...], groups: int, expected: dict[str, int]
) -> None:
    x, y, w = shapes
    assert of(one("Conv", x, y, {"w": normal(1, *w)}, group=groups)).macs_by_kind == expected


def test_a_transposed_convolution_costs_its_inputs_times_its_filter(of: Any) -> None:
    proto = one("ConvTranspose", [1, 3, 4, 4], [1, 2, 8, 8], {"w": normal(1, 3, 2, 2, 2)}, strides=[2, 2])
    assert of(proto).macs_by_kind == {"conv transposed": 3 * 16 * 2 * 4}


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_costs_its_weights_at_each_step(of: Any, op: str, gates: int) -> None:
    weights: Weights = {"w": normal(1, 1, gates * 5, 3), "r": normal(2, 1, gates * 5, 5)}
    proto = one(op, [7, 2, 3], [7, 1, 2, 5], weights, hidden_size=5)
    assert of(proto).macs_by_kind == {"recurrent": 7 * 2 * gates * 5 * (3 + 5)}


def test_einsum_costs_the_product_of_its_indices(of: Any) -> None:
    proto = one("Einsum", [2, 3, 4], [2, 3, 5], {"w": normal(1, 4, 5)}, equation="...i,io->...o")
    assert of(proto).macs_by_kind == {"fully connected": 2 * 3 * 4 * 5}


def test_packed_4_bit_weights_count_singly(of: Any) -> None:
    weights: Weights = {"b": np.zeros((8, 1, 16), np.uint8), "scales": np.ones(8, np.float32)}
    proto = one("MatMulNBits", [2, 32], [2, 8], weights, MICROSOFT, N=8, K=32, bits=4, block_size=32)
    found = of(proto)
    assert (found.macs, found.parameters) == (2 * 8 * 32, 8 * 32)


def test_a_fused_attention_counts_projection_and_attention(of: Any) -> None:
    weights: Weights = {"w": normal(1, 8, 24), "b": normal(2, 24)}
    proto = one("Attention", [1, 5, 8], [1, 5, 8], weights, MICROSOFT, num_heads=2)
    assert of(proto).macs_by_kind == {"fully connected": 5 * 8 * 24, "attention": 2 * 5 * 5 * 8}


def test_two_kinds_of_work_in_one_operator_count_its_parameters_once(of: Any) -> None:
    weights: Weights = {"w": normal(1, 8, 24), "b": normal(2, 24)}
    proto = one("Attention", [1, 5, 8], [1, 5, 8], weights, MICROSOFT, num_heads=2)
    assert sum(layer.parameters for layer in of(proto).layers) == 8 * 24 + 24


def test_dynamically_quantized_weights_are_fully_connected(of: Any) -> None:
    weights: Weights = {
        "b": np.ones((4, 6), np.int8),
        "scale": np.array(1, np.float32),
        "zero": np.array(0, np.int8),
    }
    proto = one("DynamicQuantizeMatMul", [2, 4], [2, 6], weights, MICROSOFT)
    found = of(proto)
    assert (found.macs_by_kind, found.parameters) == ({"fully connected": 2 * 4 * 6}, 24)


# --- parameters and weights


def test_parameters_of_the_builders_are_as_documented(of: Any) -> None:
    assert (of(tiny_mlp()).parameters, of(tiny_cnn()).parameters) == (195, 396)


def test_weights_in_constant_nodes_count(of: Any) -> None:
    proto = tiny_mlp()
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in proto.graph.initializer]
    nodes = [*constants, *proto.graph.node]
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.node.extend(nodes)
    found = of(proto)
    assert (found.parameters, found.macs_by_kind) == (195, {"fully connected": 176})


def quantized() -> onnx.ModelProto:
    """x (1, 4) times int8 weights (4, 6), dequantized on the way, plus an int32 bias."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wf"]),
        helper.make_node("DequantizeLinear", ["b", "bias_scale"], ["bf"]),
        helper.make_node("Gemm", ["x", "wf", "bf"], ["logits"], "dense"),
    ]
    weights: Weights = {
        "w": np.ones((4, 6), np.int8),
        "scale": np.array(0.1, np.float32),
        "zero": np.array(0, np.int8),
        "b": np.ones(6, np.int32),
        "bias_scale": np.array(0.01, np.float32),
    }
    return model(nodes, [tensor("x", [1, 4])], [tensor("logits", [1, 6])], weights)


def test_dequantized_weights_are_weights(of: Any) -> None:
    assert of(quantized()).macs_by_kind == {"fully connected": 24}


def test_a_quantized_model_has_as_many_parameters_as_its_float_original(of: Any) -> None:
    assert of(quantized()).parameters == 24 + 6


def test_weight_bytes_are_by_the_type_they_are_stored_in(of: Any) -> None:
    assert of(quantized()).weight_bytes == {"int8": 24 + 1, "int32": 24, "float32": 8}


def test_weights_are_credited_to_the_layer_that_uses_them(of: Any) -> None:
    assert [(layer.name, layer.parameters) for layer in of(quantized()).layers] == [("dense", 30)]


def test_shapes_and_scalars_are_not_parameters(of: Any) -> None:
    proto = one("Reshape", [2, 3], [3, 2], {"shape": np.array([3, 2], np.int64)})
    assert (of(proto).parameters, of(proto).weight_bytes) == (0, {"int64": 16})


# --- memory


def test_every_computed_tensor_counts_once_in_the_sum(of: Any) -> None:
    assert of(tiny_mlp()).activation_bytes == 4 * (16 + 16 + 3)


def test_the_peak_is_the_input_and_output_of_the_widest_operator(of: Any) -> None:
    assert of(tiny_mlp()).peak_activation_bytes == 4 * (8 + 16)


def test_a_tensor_needed_later_stays_alive(of: Any) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Concat", ["a", "c"], ["y"], axis=1),
    ]
    proto = model(nodes, [tensor("x", [1, 4])], [tensor("y", [1, 8])], {"w": normal(1, 4, 4)})
    assert of(proto).peak_activation_bytes == 4 * (4 + 4 + 8)


def test_a_view_and_an_operator_in_place_need_no_bytes(of: Any) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["y"]),
    ]
    proto = model(nodes, [tensor("x", [1, 4])], [tensor("y", [1, 4])], {"w": normal(1, 4, 4)})
    assert of(proto).peak_activation_bytes == 4 * (4 + 4)


def test_outputs_live_to_the_end(of: Any) -> None:
    assert of(tiny_two_in_two_out()).peak_activation_bytes == 4 * (4 + 4 + 4)


# --- dynamic dimensions


def test_dims_size_the_model(of: Any) -> None:
    assert of(tiny_mlp(), dims={"batch": 10}).macs == 1760


def test_feeds_size_the_model(of: Any) -> None:
    assert of(tiny_transformer(), feeds={"ids": np.ones((2, 9), np.int64)}).dims == {"batch": 2, "length": 9}


def test_what_nobody_gave_is_assumed_and_said(of: Any) -> None:
    found = of(tiny_transformer())
    assert found.assumptions[0] == "dynamic dimensions were taken as batch = 1, length = 128"


def test_a_fixed_model_assumes_nothing(of: Any) -> None:
    assert of(quantized()).assumptions == ()


def test_images_are_taken_as_224_pixels_wide(of: Any) -> None:
    proto = one("Conv", [None, 3, None, None], [None, 2, None, None], {"w": normal(1, 2, 3, 1, 1)})
    assert of(proto).dims == {"x[0]": 1, "x[2]": 224, "x[3]": 224}


def test_sizes_that_the_graph_cannot_run_give_way_to_others(of: Any) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[32, 32]),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    weights: Weights = {"w": normal(1, 2, 3, 32, 32), "shape": np.array([1, 2], np.int64)}
    proto = model(nodes, [tensor("x", [1, 3, "height", "width"])], [tensor("y", [1, 2])], weights)
    assert of(proto).dims == {"height": 32, "width": 32}


def test_sizes_that_the_user_gave_and_the_graph_cannot_run_are_an_input_error(of: Any) -> None:
    proto = one("Reshape", ["rows", 4], [2, 2], {"shape": np.array([2, 2], np.int64)})
    with pytest.raises(InputError, match="does not run with rows = 3"):
        of(proto, dims={"rows": 3})


def test_an_unknown_dimension_is_refused_with_those_there_are(of: Any) -> None:
    with pytest.raises(InputError, match="no dynamic dimension 'size'; it has: batch"):
        of(tiny_mlp(), dims={"size": 1})


def test_a_dimension_below_one_is_refused(of: Any) -> None:
    with pytest.raises(InputError, match="positive whole number"):
        of(tiny_mlp(), dims={"batch": 0})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"y": np.ones((1, 8), np.float32)}, "inputs are"),
        ({"x": np.ones((1, 7), np.float32)}, r"has to be \[1, 8\]"),
        ({"x": np.ones((1, 8), np.int64)}, "does not run on the feeds"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(of: Any, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(tiny_mlp(), feeds=feeds)


def test_shapes_that_inference_cannot_find_are_read_from_a_run(of: Any) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Transpose", ["places"], ["pairs"], perm=[1, 0]),
        helper.make_node("Cast", ["pairs"], ["numbers"], to=FLOAT),
        helper.make_node("MatMul", ["numbers", "w"], ["y"]),
    ]
    proto = model(nodes, [tensor("x", [3, 5])], [tensor("y", [None, 7])], {"w": normal(1, 2, 7)})
    assert of(proto).macs == 15 * 2 * 7


# --- branches and loops


def chosen() -> onnx.ModelProto:
    """An If: x times heavy weights (4, 300), or its first columns."""
    heavy = branch("heavy", [helper.make_node("MatMul", ["x", "w"], ["out"])], {"w": normal(1, 4, 300)})
    light = branch("light", [helper.make_node("MatMul", ["x", "w"], ["out"])], {"w": normal(1, 4, 2)})
    node = helper.make_node("If", ["flag"], ["y"], "choice", then_branch=light, else_branch=heavy)
    inputs = [tensor("x", [1, 4]), tensor("flag", [], onnx.TensorProto.BOOL)]
    return model([node], inputs, [tensor("y", [1, None])])


def test_of_two_branches_the_heavier_is_counted(of: Any) -> None:
    assert of(chosen()).macs == 4 * 300


def test_a_branch_left_out_is_an_assumption(of: Any) -> None:
    assert any(
        "'choice': else_branch, the heavier one, is counted" in line for line in of(chosen()).assumptions
    )


def test_parameters_and_operators_of_all_branches_count(of: Any) -> None:
    found = of(chosen())
    assert (found.parameters, found.operators) == (4 * 302, {"MatMul": 2, "If": 1})


def test_a_branch_without_weights_follows_the_inputs(of: Any) -> None:
    squeeze = branch("then", [helper.make_node("Squeeze", ["x"], ["out"])], {})
    keep = branch("else", [helper.make_node("Identity", ["x"], ["out"])], {})
    nodes = [
        helper.make_node("If", ["flag"], ["same"], then_branch=squeeze, else_branch=keep),
        helper.make_node("MatMul", ["same", "w"], ["y"]),
    ]
    weights: Weights = {"w": normal(1, 4, 2), "flag": np.array(False)}
    proto = model(nodes, [tensor("x", [1, 3, 4])], [tensor("y", [1, 3, 2])], weights)
    assert of(proto).macs == 3 * 4 * 2


def test_a_loop_counts_as_often_as_it_repeats(of: Any) -> None:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"]),
            helper.make_node("Identity", ["going"], ["still_going"]),
        ],
        "body",
        [tensor("i", [], INT64), tensor("going", [], onnx.TensorProto.BOOL), tensor("state", [1, 4])],
        [tensor("still_going", [], onnx.TensorProto.BOOL), tensor("next", [1, 4])],
    )
    weights: Weights = {"w": normal(1, 4, 4), "rounds": np.array(6, np.int64), "yes": np.array(True)}
    node = helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body)
    assert of(model([node], [tensor("x", [1, 4])], [tensor("y", [1, 4])], weights)).macs == 6 * 16


def test_a_scan_counts_once_for_each_step(of: Any) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "item"], ["next"]),
            helper.make_node("MatMul", ["next", "w"], ["made"]),
        ],
        "body",
        [tensor("state", [1, 4]), tensor("item", [1, 4])],
        [tensor("next", [1, 4]), tensor("made", [1, 3])],
    )
    node = helper.make_node("Scan", ["start", "x"], ["end", "y"], body=body, num_scan_inputs=1)
    weights: Weights = {"w": normal(1, 4, 3), "start": np.zeros((1, 4), np.float32)}
    proto = model([node], [tensor("x", [9, 1, 4])], [tensor("y", [9, 1, 3])], weights)
    assert of(proto).macs == 9 * 4 * 3


def test_local_functions_are_counted_inside(of: Any) -> None:
    proto = one("Double", [1, 4], [1, 4], {"w": normal(1, 4, 4)}, "ours")
    twice = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("MatMul", ["c", "b"], ["d"])]
    imports = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("ours", "Double", ["a", "b"], ["d"], twice, imports))
    assert of(proto).macs == 32


def test_an_operator_that_onnx_runtime_lacks_is_named_not_fatal(of: Any) -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["a"], domain="ours"),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    proto = model(
        nodes, [tensor("x", [1, 4])], [tensor("y", [1, 2])], {"w": normal(1, 4, 2)}, domains=["ours"]
    )
    assert "not counted, for their shapes are unknown: MatMul (1)" in of(proto).assumptions


def test_a_model_too_large_to_run_is_profiled_by_inference(of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewise.lab.profile.inspection.PROTOBUF_LIMIT", 10)
    found = of(tiny_mlp())
    assert (found.macs, "2 GB" in found.assumptions[-1]) == (176, True)


# --- the result


def test_operators_of_other_domains_are_told_apart(of: Any) -> None:
    proto = one("FusedMatMul", [1, 4], [1, 2], {"w": normal(1, 4, 2)}, MICROSOFT)
    assert of(proto).operators == {"com.microsoft.FusedMatMul": 1}


def test_a_profile_becomes_plain_data(of: Any) -> None:
    plain = msgspec.to_builtins(of(tiny_cnn()))
    assert plain["layers"][0] == {
        "name": "conv",
        "op": "Conv",
        "kind": "conv 3x3",
        "macs": 13824,
        "parameters": 224,
        "output": (1, 8, 8, 8),
    }


def test_the_model_is_not_changed(tmp_path: Path) -> None:
    brought = load(save(chosen(), tmp_path / "model.onnx"))
    before = brought.proto.SerializeToString(deterministic=True)
    profile(brought)
    assert brought.proto.SerializeToString(deterministic=True) == before
