"""Core ML's lab side: ONNX becomes a package that answers alike, in the original's terms, in the same bytes each time.

Packages are executed by the Core ML session's interpreter, which was written without a look at the converter.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

pytest.importorskip("coremltools")

import coreml_cases
from coreml_cases import Case

import guarded
import models
from edgewise import targets
from edgewise.bundle import golden
from edgewise.bundle.manifest import FileRef
from edgewise.bundle.store import artifact_of
from edgewise.errors import ToolchainError
from edgewise.lab.compress.apply import build
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets.building import Fp16, Method, NncfPtq, Operators, Original
from edgewise.targets.coreml import support
from edgewise.targets.coreml.build import MAIN, CoreMlInt4, CoreMlInt8, CoreMlPalette, methods, smaller
from edgewise.targets.coreml.compress import Compression
from edgewise.targets.coreml.convert import MOST, convert
from edgewise.targets.coreml.features import IO, Feature
from edgewise.targets.graph import spec
from models import INT64, model, normal, tensor

Arrays = dict[str, NDArray[Any]]
FLOAT, BOOL, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL, onnx.TensorProto.INT32


def reference(proto: onnx.ModelProto, inputs: Mapping[str, Any]) -> Arrays:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def package(proto: onnx.ModelProto, folder: Path, **how: Any) -> Path:
    """Convert a model and return the package's main file."""
    folder.mkdir(exist_ok=True)
    convert(models.save(proto, folder / "original.onnx"), folder, **how)
    return folder / MAIN


def answered(proto: onnx.ModelProto, folder: Path, inputs: Mapping[str, Any], **how: Any) -> Arrays:
    outputs = [spec(value) for value in proto.graph.output]
    session = targets.session("coreml").load(package(proto, folder, **how), outputs)
    return session.run(dict(inputs))


def ports(folder: Path) -> IO:
    return msgspec.json.decode((folder / "io.json").read_bytes(), type=IO)


def one(
    kind: str, inputs: list[Any], outputs: list[Any], weights: Arrays | None = None, **more: Any
) -> onnx.ModelProto:
    """Return a model of one node, named "tested"."""
    names = [value.name for value in inputs] + [*(weights or {})]
    node = helper.make_node(kind, names, [value.name for value in outputs], "tested", **more)
    return model([node], inputs, outputs, weights)


@pytest.mark.parametrize("tested", coreml_cases.every(), ids=lambda case: case.name.replace(" ", "_"))
def test_an_operator_answers_as_in_onnx_runtime(tested: Case, tmp_path: Path) -> None:
    proto = tested.model()
    answer = answered(proto, tmp_path, tested.inputs)
    for name, wanted in reference(proto, tested.inputs).items():
        assert (answer[name].shape, answer[name].dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(answer[name], wanted, rtol=2e-5, atol=2e-5)


def test_every_registered_operator_has_a_case() -> None:
    tried = {f"{case.domain}.{case.kind}".lstrip(".") for case in coreml_cases.every()}
    elsewhere = {
        "Cast",
        "CastLike",
        "Constant",
        "Dropout",
        "Identity",
        "If",
        "Loop",
        "Scan",
        "DequantizeLinear",
    }
    same_code = {
        "RMSNormalization",
        "GroupNormalization",
        "Swish",
        "Scatter",
        "com.microsoft.Gelu",
        "com.microsoft.FastGelu",
    }
    assert support.supported() - tried - elsewhere - same_code == set()


TINY = {
    "mlp": (models.tiny_mlp, {"x": normal(1, 2, 8)}),
    "cnn": (models.tiny_cnn, {"image": normal(2, 1, 3, 8, 8)}),
    "transformer": (models.tiny_transformer, {"ids": np.array([[3, 1, 31, 7, 7]])}),
    "two in, two out": (models.tiny_two_in_two_out, {"left": normal(3, 2, 4), "right": normal(4, 2, 4)}),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_a_tiny_model_answers_alike(name: str, half: bool, tmp_path: Path) -> None:
    make, inputs = TINY[name]
    proto = make()
    found = golden.compare([reference(proto, inputs)], [answered(proto, tmp_path, inputs, half=half)])
    assert found.max_rel <= (5e-3 if half else 1e-5)


def test_dynamic_length_stays_dynamic(tmp_path: Path) -> None:
    proto = models.tiny_transformer()
    main = package(proto, tmp_path)
    session = targets.session("coreml").load(main, [spec(value) for value in proto.graph.output])
    for length in (1, 4, 9):
        inputs = {"ids": np.arange(length)[np.newaxis]}
        np.testing.assert_allclose(
            session.run(inputs)["logits"], reference(proto, inputs)["logits"], atol=1e-5
        )


def description(main: Path) -> Any:
    from coremltools.proto import Model_pb2

    path = main.parent / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return Model_pb2.Model.FromString(path.read_bytes())


def reach(main: Path) -> list[int]:
    kind = description(main).description.input[0].type.multiArrayType
    return [span.upperBound for span in kind.shapeRange.sizeRanges]


def test_dynamic_dimensions_reach_to_a_known_maximum_and_beyond_what_calibration_shows(
    tmp_path: Path,
) -> None:
    proto = models.tiny_transformer()
    assert reach(package(proto, tmp_path / "a")) == [MOST, MOST]
    long = {"ids": np.zeros((1, MOST), np.int64)}
    assert reach(package(proto, tmp_path / "b", calibration=[long])) == [MOST, 2 * MOST]


def test_a_number_of_axes_that_depends_on_a_size_fixes_the_sizes_that_never_change(tmp_path: Path) -> None:
    keep = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["kept"])], "keep", [], [tensor("kept", ["a", "b"])]
    )
    drop = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"], axis=0)], "drop", [], [tensor("flat", ["a"])]
    )
    drop.node.append(helper.make_node("Squeeze", ["flat", "zero"], ["dropped"]))
    drop.output[0].CopyFrom(tensor("dropped", ["a"]))
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["size"]),
        helper.make_node("Equal", ["size", "one"], ["is_one"]),
        helper.make_node("If", ["is_one"], ["y"], then_branch=drop, else_branch=keep),
    ]
    weights = {"zero": np.array([0]), "one": np.array([1])}
    proto = model(nodes, [tensor("x", ["n", "m"])], [tensor("y", ["k"])], weights)
    sample = {"x": normal(1, 1, 3)}
    answer = answered(proto, tmp_path, sample, calibration=[sample])
    np.testing.assert_array_equal(answer["y"], sample["x"][0])
    assert ports(tmp_path).inputs[0].feature_shape == (1, 3)


def test_io_json_tells_how_features_differ_from_the_original(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["in:ids", "rate"], ["out/ids"]),
        helper.make_node("Not", ["2nd"], ["state"]),
        helper.make_node("Size", ["in:ids"], ["count"]),
    ]
    inputs = [tensor("in:ids", ["n", 2], INT64), tensor("rate", [], INT64), tensor("2nd", [None], BOOL)]
    outputs = [tensor("out/ids", ["n", 2], INT64), tensor("state", [None], BOOL), tensor("count", [], INT64)]
    proto = model(nodes, inputs, outputs)
    fed = {"in:ids": np.array([[1, 2]]), "rate": np.array(40), "2nd": np.array([True, False])}
    answer = answered(proto, tmp_path, fed)
    for name, wanted in reference(proto, fed).items():
        assert (answer[name].dtype, answer[name].shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(answer[name], wanted)
    assert ports(tmp_path) == IO(
        inputs=(
            Feature("in:ids", "int64", ("n", 2), "in_ids", "int32", ("n", 2)),
            Feature("rate", "int64", (), "rate", "int32", (1,)),
            Feature("2nd", "bool", (None,), "_2nd", "int32", (None,)),
        ),
        outputs=(
            Feature("out/ids", "int64", ("n", 2), "out_ids", "int32", ("n", 2)),
            Feature("state", "bool", (None,), "state_", "int32", (None,)),
            Feature("count", "int64", (), "count", "int32", (1,)),
        ),
    )


def test_the_packages_features_are_those_of_io_json(tmp_path: Path) -> None:
    main = package(models.tiny_two_in_two_out(), tmp_path, half=True)
    found, io = description(main).description, ports(tmp_path)
    assert [feature.name for feature in found.input] == [part.feature for part in io.inputs]
    assert [feature.name for feature in found.output] == [part.feature for part in io.outputs]
    kinds = {feature.type.multiArrayType.dataType for feature in (*found.input, *found.output)}
    assert kinds == {65568}  # FLOAT32 in FeatureTypes.proto: half is inside only


def test_an_input_that_is_an_output_is_passed_on(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Relu", ["x"], ["y"])]
    outputs = [tensor("same", [2]), tensor("y", [2]), tensor("y2", [2])]
    nodes.append(helper.make_node("Identity", ["y"], ["y2"]))
    x = {"x": np.array([-1, 2], np.float32)}
    answer = answered(model(nodes, [tensor("x", [2])], outputs), tmp_path, x)
    assert {name: list(value) for name, value in answer.items()} == {
        "same": [-1, 2],
        "y": [0, 2],
        "y2": [0, 2],
    }


def choosing() -> onnx.ModelProto:
    """x times 2 where sr is 16000, else x plus a weight."""
    twice = [helper.make_node("Add", ["x", "x"], ["a"])]
    more = [helper.make_node("Add", ["x", "w"], ["b"])]
    node = helper.make_node(
        "If",
        ["fast"],
        ["y"],
        then_branch=helper.make_graph(twice, "then", [], [tensor("a", ["n"])]),
        else_branch=helper.make_graph(more, "else", [], [tensor("b", ["n"])]),
    )
    nodes = [helper.make_node("Equal", ["sr", "rate"], ["fast"]), node]
    inputs = [tensor("x", ["n"]), tensor("sr", [], INT64)]
    weights = {"rate": np.array(16000), "w": np.array([1], np.float32)}
    return model(nodes, inputs, [tensor("y", ["n"])], weights)


@pytest.mark.parametrize(("rate", "wanted"), [(16000, [2, 4]), (8000, [2, 3])])
def test_an_if_on_an_input_chooses_while_running(rate: int, wanted: list[float], tmp_path: Path) -> None:
    fed = {"x": np.array([1, 2], np.float32), "sr": np.array(rate)}
    assert list(answered(choosing(), tmp_path, fed)["y"]) == wanted


def counting(trips: int | None) -> onnx.ModelProto:
    """Add x to 0 as often as told: by a stored number, or by an input."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["so_far", "x"], ["sum"]),
            helper.make_node("Identity", ["going"], ["goes_on"]),
        ],
        "body",
        [tensor("count", [], INT64), tensor("going", [], BOOL), tensor("so_far", [2])],
        [tensor("goes_on", [], BOOL), tensor("sum", [2])],
    )
    node = helper.make_node("Loop", ["trips", "", "none"], ["y"], body=body)
    inputs = [tensor("x", [2])] + ([] if trips else [tensor("trips", [], INT64)])
    weights: Arrays = {"none": np.zeros(2, np.float32)} | ({"trips": np.array(trips)} if trips else {})
    return model([node], inputs, [tensor("y", [2])], weights)


def test_a_loop_is_written_out_or_kept(tmp_path: Path) -> None:
    x = {"x": np.array([1, 2], np.float32)}
    assert list(answered(counting(3), tmp_path / "a", x)["y"]) == [3, 6]
    assert list(answered(counting(None), tmp_path / "b", x | {"trips": np.array(4)})["y"]) == [4, 8]


def test_a_scan_over_a_short_length_is_written_out(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["before", "now"], ["after"]), helper.make_node("Neg", ["after"], ["row"])],
        "body",
        [tensor("before", [2]), tensor("now", [2])],
        [tensor("after", [2]), tensor("row", [2])],
    )
    node = helper.make_node("Scan", ["s", "x"], ["last", "rows"], body=body, num_scan_inputs=1)
    proto = model(
        [node], [tensor("s", [2]), tensor("x", [3, 2])], [tensor("last", [2]), tensor("rows", [3, 2])]
    )
    fed = {"s": normal(1, 2), "x": normal(2, 3, 2)}
    answer, wanted = answered(proto, tmp_path, fed), reference(proto, fed)
    for name in wanted:
        np.testing.assert_allclose(answer[name], wanted[name], rtol=1e-6)


def test_casts_hold_types_in_the_nearest_that_mil_has(tmp_path: Path) -> None:
    kinds = {"as_int": INT64, "as_bool": BOOL, "as_float": FLOAT}
    nodes = [helper.make_node("Cast", ["x"], [name], to=kind) for name, kind in kinds.items()]
    nodes += [
        helper.make_node("CastLike", ["as_int", "x"], ["like"]),
        helper.make_node("Dropout", ["x"], ["same"]),
    ]
    outputs = [tensor(name, [4], kind) for name, kind in kinds.items()] + [
        tensor("like", [4]),
        tensor("same", [4]),
    ]
    x = {"x": np.array([-1.7, -0.4, 0.0, 2.6], np.float32)}
    proto = model(nodes, [tensor("x", [4])], outputs)
    answer = answered(proto, tmp_path, x)
    for name, wanted in reference(proto, x).items():
        assert (answer[name].dtype, list(answer[name])) == (wanted.dtype, list(wanted))


def test_a_function_of_the_model_is_written_in_place_of_its_call(tmp_path: Path) -> None:
    node = helper.make_node("Twice", ["x"], ["y"], "call", domain="own")
    proto = model([node], [tensor("x", [2])], [tensor("y", [2])], domains=["own"])
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    proto.functions.append(
        helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    )
    x = {"x": np.array([1, 2], np.float32)}
    assert list(answered(proto, tmp_path, x)["y"]) == [2, 4]


def test_what_onnx_defines_by_other_operators_is_converted_as_these(tmp_path: Path) -> None:
    shape = [1, 2, 3, 4]
    proto = one("Attention", [tensor(name, shape) for name in "qkv"], [tensor("y", shape)])
    proto.opset_import[0].version = 23
    fed = {name: normal(place, *shape) for place, name in enumerate("qkv")}
    scores = fed["q"] @ fed["k"].swapaxes(2, 3) / 2
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(answered(proto, tmp_path, fed)["y"], shares @ fed["v"], rtol=1e-5)


def test_an_operator_without_counterpart_is_named_with_its_node_and_what_to_do(tmp_path: Path) -> None:
    proto = one("Det", [tensor("x", [2, 2])], [tensor("y", [])])
    said = r"operator Det \(node 'tested'\) has no counterpart .* leave Core ML out of its runtimes"
    with pytest.raises(ToolchainError, match=said) as caught:
        package(proto, tmp_path)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original.onnx"]


REFUSED = {
    "MaxPool": (one("MaxPool", [tensor("x", [1, 1, 9])], [tensor("y", [1, 1, 5])], kernel_shape=[3], dilations=[2]), "dilation"),
    "Resize": (one("Resize", [tensor("x", [1, 1, 4, 4]), tensor("r", [0])], [tensor("y", [1, 1, 8, 8])], {"s": np.ones(4, np.float32)}, coordinate_transformation_mode="tf_crop_and_resize"), "tf_crop_and_resize"),
    "Pad": (one("Pad", [tensor("x", [3])], [tensor("y", [5])], {"p": np.array([1, 1])}, mode="wrap"), "mode 'wrap'"),
    "ReduceSum": (one("ReduceSum", [tensor("x", [3]), tensor("a", [1], INT64)], [tensor("y", [1])]), "depend on the model's inputs"),
    "Unsqueeze": (one("Unsqueeze", [tensor("x", [1, 1, 1, 1, 1])], [tensor("y", [1])], {"a": np.array([0])}), "6 axes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_form_that_does_not_convert_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    proto, reason = REFUSED[kind]
    with pytest.raises(ToolchainError, match=rf"{kind} \(node 'tested'\).*{reason}"):
        package(proto, tmp_path)


def test_text_is_refused(tmp_path: Path) -> None:
    proto = one(
        "Identity", [tensor("x", [1], onnx.TensorProto.STRING)], [tensor("y", [1], onnx.TensorProto.STRING)]
    )
    with pytest.raises(ToolchainError, match="'x' of type str"):
        package(proto, tmp_path)


def test_support_tells_what_converts_without_building() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"], "first"), helper.make_node("Det", ["a"], ["y"], "second")]
    (found,) = support.partitionings(model(nodes, [tensor("x", [2, 2])], [tensor("y", [])]))
    assert [(place.name, place.where) for place in found.placements] == [
        ("first", "accelerator"),
        ("second", "unsupported"),
    ]
    assert (found.accelerator, found.evidence, found.partitions) == ("Core ML", "compiled", 1)


def test_support_names_an_operator_that_converts_in_other_forms_only() -> None:
    (found,) = support.partitionings(REFUSED["MaxPool"][0])
    assert [(place.where, place.why) for place in found.placements] == [
        ("unsupported", "has a dilation, which MIL's pooling has not")
    ]


def masked(kind: type[np.generic] = np.float32) -> onnx.ModelProto:
    """Shares of scores, all masked but some: score + (1 - mask) times minus a lot."""
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "lot"], ["penalty"]),
        helper.make_node("Add", ["scores", "penalty"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["shares"], axis=-1),
    ]
    weights: Arrays = {"one": np.ones(1, np.float32), "lot": np.array([np.finfo(np.float32).min])}
    inputs = [tensor("mask", [1, 4]), tensor("scores", [1, 4])]
    return model(nodes, inputs, [tensor("shares", [1, 4])], weights)


def test_a_mask_of_minus_a_lot_does_not_become_nan_in_float16(tmp_path: Path) -> None:
    fed = {"mask": np.array([[1, 1, 0, 0]], np.float32), "scores": normal(1, 1, 4)}
    shares = answered(masked(), tmp_path, fed, half=True)["shares"]
    np.testing.assert_allclose(shares, reference(masked(), fed)["shares"], atol=2e-3)


def test_positions_are_counted_exactly_in_float16(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Squeeze", ["sizes"], ["size"]),
        helper.make_node("Range", ["zero", "size", "one"], ["places"]),
        helper.make_node("Cast", ["places"], ["floats"], to=FLOAT),
        helper.make_node("Sin", ["floats"], ["waves"]),
        helper.make_node("Add", ["waves", "x"], ["y"]),
    ]
    weights = {"zero": np.array(0), "one": np.array(1)}
    proto = model(nodes, [tensor("x", ["n"])], [tensor("y", ["n"])], weights)
    fed = {"x": np.zeros(4000, np.float32)}
    answer = answered(proto, tmp_path, fed, half=True)["y"]
    np.testing.assert_allclose(answer, reference(proto, fed)["y"], atol=1e-3)


def test_integers_beyond_16_bits_survive_float16(tmp_path: Path) -> None:
    proto = one("Gather", [tensor("x", [2], INT64), tensor("i", [1], INT64)], [tensor("y", [1], INT64)])
    fed = {"x": np.array([100_000, 2**31 - 1]), "i": np.array([1])}
    assert list(answered(proto, tmp_path, fed, half=True)["y"]) == [2**31 - 1]


def wide() -> onnx.ModelProto:
    """x (n, 64) → 128 → 128 → logits (n, 10), large enough for weights to matter."""
    sizes = (64, 128, 128, 10)
    nodes: list[onnx.NodeProto] = []
    weights: Arrays = {}
    for place, (before, after) in enumerate(pairwise(sizes)):
        last = place == len(sizes) - 2
        nodes.append(
            helper.make_node("Gemm", [f"h{place}" if place else "x", f"w{place}", f"b{place}"], [f"g{place}"])
        )
        nodes.append(
            helper.make_node(
                "Identity" if last else "Relu", [f"g{place}"], ["logits" if last else f"h{place + 1}"]
            )
        )
        weights |= {f"w{place}": normal(place, before, after), f"b{place}": normal(place, after)}
    return model(nodes, [tensor("x", ["n", 64])], [tensor("logits", ["n", 10])], weights)


CALIBRATION = [{"x": normal(seed, 1, 64)} for seed in range(20)]
EVERY: dict[str, tuple[Method, float, float, Operators]] = {
    # name: method, bytes against fp32, largest difference, operators
    "original": (Original(), 1.2, 1e-5, Operators(0, 3)),
    "fp16": (Fp16(), 0.6, 5e-3, Operators(0, 3)),
    "nncf-ptq": (NncfPtq(), 0.42, 0.2, Operators(3, 3)),
    "int8": (CoreMlInt8(), 0.35, 0.05, Operators(3, 3)),
    "int4": (CoreMlInt4(), 0.25, 0.3, Operators(3, 3)),
    "palette": (CoreMlPalette(), 0.22, 0.3, Operators(3, 3)),
    "palettes": (CoreMlPalette(group=16), 0.24, 0.3, Operators(3, 3)),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_method_shrinks_the_file_and_says_of_how_many_operators(name: str, tmp_path: Path) -> None:
    method, share, difference, operators = EVERY[name]
    proto = wide()
    source = models.save(proto, tmp_path / "source.onnx")
    folder = tmp_path / "out"
    folder.mkdir()
    built = build(Candidate(method, "coreml"), source, CALIBRATION, folder)
    assert built.artifact.size <= share * source.stat().st_size
    assert targets.builder("coreml").operators(folder / MAIN) == operators
    session = targets.session("coreml").load(folder / MAIN, [spec(value) for value in proto.graph.output])
    samples = [{"x": normal(seed, 1, 64)} for seed in range(50, 60)]
    wanted = [reference(proto, sample) for sample in samples]
    assert golden.compare(wanted, [session.run(sample) for sample in samples]).max_rel <= difference


def test_the_door_offers_what_it_can_build() -> None:
    from edgewise.targets.building import Traits

    module = targets.builder("coreml")
    for transformer in (False, True):
        traits = Traits(transformer=transformer)
        offered = [*methods(traits), *smaller(traits)]
        assert offered[0] == Original()
        assert {type(method) for method in offered} == set(module.METHODS)
    assert "coremltools 9." in module.toolchain()


def test_file_names_are_plain_and_the_manifest_comes_first(tmp_path: Path) -> None:
    package(models.tiny_cnn(), tmp_path)
    (tmp_path / "original.onnx").unlink()
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    made = artifact_of("mlpackage", sorted(files.items(), key=lambda item: item[0] != MAIN))
    assert made.files[0].name == MAIN
    for file in made.files:
        msgspec.convert(msgspec.to_builtins(file), FileRef)  # raises where a name breaks the pattern


SEVERAL = """
import sys
from pathlib import Path
from edgewise.targets.coreml.compress import Compression
from edgewise.targets.coreml.convert import convert
source, folder = map(Path, sys.argv[1:3])
for name, how in {
    "half": {"half": True},
    "int8": {"half": True, "compression": Compression(8)},
    "palette": {"half": True, "compression": Compression(4, 16, True)},
}.items():
    if sys.argv[3] == "alone" and name != "int8":
        continue
    (folder / name).mkdir(parents=True)
    convert(source, folder / name, **how)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    source = models.save(wide(), tmp_path / "source.onnx")
    runs = {("a", "all"): "0", ("b", "all"): "12345", ("c", "alone"): "7"}
    for (name, what), seed in runs.items():
        command = [sys.executable, "-c", SEVERAL, str(source), str(tmp_path / name), what]
        subprocess.run(command, env={"PYTHONHASHSEED": seed, "PATH": ""}, check=True, capture_output=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a" / "int8") == contents(tmp_path / "c" / "int8")


@pytest.mark.slow
def test_converting_opens_no_socket_says_nothing_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    source = models.save(wide(), tmp_path / "source.onnx")
    command = [sys.executable, "-c", SEVERAL, str(source), str(tmp_path / "out"), "all"]
    done = guarded.run(tmp_path / "run", *command)
    assert (done.code, done.out, done.err, done.log, list(done.home.rglob("*"))) == (0, "", "", "", [])


def test_a_missing_coremltools_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from edgewise.targets import building

    def version(name: str) -> str:
        if name == "coremltools":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(building, "version", version)
    with pytest.raises(ToolchainError, match=r"pip install 'edgewise\[coreml\]'"):
        targets.builder("coreml").toolchain()


def test_a_constant_of_64_bits_is_cut_to_what_fits(tmp_path: Path) -> None:
    proto = one("Min", [tensor("x", [2], INT64)], [tensor("y", [2], INT64)], {"far": np.array(2**62)})
    assert list(answered(proto, tmp_path, {"x": np.array([5, -(2**31)])})["y"]) == [5, -(2**31)]


def test_weights_in_constant_nodes_are_compressed_like_others(tmp_path: Path) -> None:
    proto = wide()
    held = [
        helper.make_node("Constant", [], [t.name], value=numpy_helper.from_array(numpy_helper.to_array(t)))
        for t in proto.graph.initializer
    ]
    nodes = [*held, *proto.graph.node]
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.node.extend(nodes)
    main = package(proto, tmp_path, half=True, compression=Compression(8))
    assert targets.builder("coreml").operators(main) == Operators(3, 3)


def test_names_that_coremltools_makes_up_too_stay_the_features_own(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["add_0"], ["cast_0"]),
        helper.make_node("Add", ["cast_0", "w"], ["relu_0"]),
    ]
    nodes.append(helper.make_node("Relu", ["relu_0"], ["const_0"]))
    outputs = [tensor("relu_0", [2]), tensor("const_0", [2])]
    proto = model(nodes, [tensor("add_0", [2])], outputs, {"w": np.array([1, -3], np.float32)})
    for half in (False, True):
        main = package(proto, tmp_path / str(half), half=half)
        found = description(main).description
        assert [feature.name for feature in (*found.input, *found.output)] == ["add_0", "relu_0", "const_0"]


def test_the_program_names_values_as_the_original_does(tmp_path: Path) -> None:
    program = description(package(models.tiny_cnn(), tmp_path)).mlProgram.functions["main"]
    operations = program.block_specializations[program.opset].operations
    names = {operation.outputs[0].name for operation in operations if operation.type == "conv"}
    assert names == {"a", "c", "d"}


def test_layer_normalization_in_parts_becomes_one_operator(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["spread"], axes=[-1]),
        helper.make_node("Add", ["spread", "epsilon"], ["above_zero"]),
        helper.make_node("Sqrt", ["above_zero"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], ["y"]),
    ]
    weights = {"two": np.array(2, np.float32), "epsilon": np.array(1e-5, np.float32)}
    proto = model(nodes, [tensor("x", ["n", 8])], [tensor("y", ["n", 8])], weights)
    large = {"x": 300 * normal(1, 3, 8)}  # its squares are beyond float16
    answer = answered(proto, tmp_path, large, half=True)["y"]
    np.testing.assert_allclose(answer, reference(proto, large)["y"], atol=5e-3)
    program = description(tmp_path / MAIN).mlProgram.functions["main"]
    kinds = [operation.type for operation in program.block_specializations[program.opset].operations]
    assert kinds.count("layer_norm") == 1
    assert "sqrt" not in kinds
