"""Methods applied: every candidate builds, runs and repeats; what a tool cannot do is said in one line."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import calibrate
from onnxruntime.quantization.registry import QDQRegistry

from edgewise import targets
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.compress import apply, prepare
from edgewise.lab.compress.apply import Built
from edgewise.lab.compress.enumerate import first_rungs, is_transformer
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.quiet import quiet
from edgewise.lab.search.screen import Screen
from edgewise.targets.building import Fp16, Method, NncfPtq, Operators, Original, WeightInt4, WeightInt8
from edgewise.targets.graph import spec
from edgewise.targets.onnxruntime import quantize, ranges
from edgewise.targets.onnxruntime.build import DynamicInt8, StaticInt8
from edgewise.targets.openvino.build import OpenVinoPtq, OpenVinoWeights
from models import model, normal, save, tensor, tiny_cnn, tiny_mlp, tiny_transformer

Sample = dict[str, NDArray[Any]]


def pictures(count: int) -> list[Sample]:
    return [{"image": normal(seed, 1, 3, 8, 8)} for seed in range(count)]


def sentences(count: int) -> list[Sample]:
    """Samples of different lengths: nothing may stack them."""
    rng = np.random.default_rng(0)
    return [{"ids": rng.integers(0, 32, (1, 3 + index % 4))} for index in range(count)]


def build(
    method: Method, source: Path, samples: Sequence[Sample], folder: Path, target: str = "onnxruntime"
) -> Built:
    folder.mkdir()
    return apply.build(Candidate(method, target), source, samples, folder)


def main_file(built: Built) -> Path:
    return built.files[built.artifact.files[0].name]


def counted(built: Built) -> Operators:
    target = {"onnx": "onnxruntime", "openvino-ir": "openvino"}[built.artifact.format]
    return targets.builder(target).operators(main_file(built))


def answers(built: Built, proto: onnx.ModelProto, samples: Sequence[Sample], target: str) -> list[Any]:
    session = targets.session(target).load(main_file(built), [spec(v) for v in proto.graph.output], threads=1)
    return [session.run(sample)["logits"] for sample in samples]


def paddle_like() -> onnx.ModelProto:
    """Return a CNN as Paddle exports it: opset 11, weights in Constant nodes, a cast of a constant."""
    proto = tiny_cnn()
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    weights["w2"], weights["w3"] = normal(3, 8, 1, 3, 3), normal(4, 64, 8, 1, 1)
    weights["w4"] = normal(5, 64, 4)
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in weights.items()
    ]
    shape = numpy_helper.from_array(np.array([0, -1], np.int32))
    constants.append(helper.make_node("Constant", [], ["shape32"], value=shape))
    constants.append(helper.make_node("Cast", ["shape32"], ["shape"], to=onnx.TensorProto.INT64))
    nodes = [
        helper.make_node("Reshape", ["e", "shape"], ["f"]) if node.op_type == "Flatten" else node
        for node in proto.graph.node
    ]
    return model([*constants, *nodes], proto.graph.input, proto.graph.output, opset=11)


def wide() -> onnx.ModelProto:
    """x (1, 256) → two layers of 256 × 256 → logits."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["logits"]),
    ]
    weights = {"w1": normal(1, 256, 256), "w2": normal(2, 256, 256)}
    return model(nodes, [tensor("x", [1, 256])], [tensor("logits", [1, 256])], weights)


MODELS = {"cnn": (tiny_cnn, pictures), "transformer": (tiny_transformer, sentences)}
EVERYTHING = [
    pytest.param(name, candidate, id=f"{name}:{candidate.id}")
    for name in MODELS
    for candidate in first_rungs(["onnxruntime", "openvino"], Screen(transformer=name == "transformer"))
    if (name, candidate.method) != ("cnn", WeightInt8())  # whose weights are all too small
]


@pytest.mark.parametrize(("name", "candidate"), EVERYTHING)
def test_every_candidate_runs_answers_and_repeats_byte_for_byte(
    name: str, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(outside))
    make, sample = MODELS[name]
    proto, samples = make(), sample(4)
    source = save(proto, tmp_path / "source.onnx")
    before = set(tmp_path.iterdir())
    built, again = (
        build(candidate.method, source, samples, tmp_path / folder, candidate.target) for folder in ("a", "b")
    )
    assert built.artifact == again.artifact
    assert {path.name for path in (tmp_path / "a").iterdir()} == {file.name for file in built.artifact.files}
    assert not any(outside.iterdir())
    assert set(tmp_path.iterdir()) - before == {tmp_path / "a", tmp_path / "b"}
    session = targets.session("onnxruntime").load(source, [])
    tolerance = 1.0 if candidate.precision == "int8" else 0.05
    for sample_, answer in zip(samples, answers(built, proto, samples, candidate.target), strict=True):
        np.testing.assert_allclose(answer, session.run(sample_)["logits"], atol=tolerance)
        assert answer.dtype == np.float32


def test_bytes_do_not_depend_on_the_order_of_hashing(tmp_path: Path) -> None:
    source = save(tiny_cnn(), tmp_path / "source.onnx")
    wanted = [StaticInt8(calibration="percentile"), NncfPtq(), OpenVinoPtq()]
    code = f"""
import tempfile
import numpy as np
from pathlib import Path
from edgewise.lab.compress import apply
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.search.screen import Screen
from edgewise.targets.building import NncfPtq
from edgewise.targets.onnxruntime.build import StaticInt8
from edgewise.targets.openvino.build import OpenVinoPtq
samples = [{{"image": np.random.default_rng(s).random((1, 3, 8, 8), np.float32)}} for s in range(3)]
for method, target in (({wanted[0]!r}, "onnxruntime"), ({wanted[1]!r}, "onnxruntime"), ({wanted[2]!r}, "openvino")):
    with tempfile.TemporaryDirectory() as folder:
        print(apply.build(Candidate(method, target), Path({str(source)!r}), samples, Path(folder)).artifact.digest)
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "22")
    }
    assert len(digests) == 1
    assert len(digests.pop().split()) == 3


@pytest.mark.parametrize("method", [WeightInt8(), DynamicInt8(), StaticInt8(), NncfPtq()], ids=str)
def test_weights_in_constant_nodes_of_an_old_opset_are_quantized(method: Method, tmp_path: Path) -> None:
    source = save(paddle_like(), tmp_path / "source.onnx")
    count = counted(build(method, source, pictures(3), tmp_path / "out"))
    assert count.total == 4
    assert count.quantized >= (2 if isinstance(method, WeightInt8) else 4)


@pytest.mark.parametrize(
    ("method", "target", "share"),
    [
        (WeightInt4(), "onnxruntime", 0.14),
        (WeightInt8(), "onnxruntime", 0.26),
        (DynamicInt8(), "onnxruntime", 0.27),
        (Fp16(), "onnxruntime", 0.51),
        (Fp16(), "openvino", 0.53),
        (OpenVinoWeights(), "openvino", 0.30),
    ],
    ids=str,
)
def test_files_shrink(method: Method, target: str, share: float, tmp_path: Path) -> None:
    source = save(wide(), tmp_path / "source.onnx")
    built = build(method, source, [{"x": normal(1, 1, 256)}], tmp_path / "out", target)
    assert built.artifact.size < share * source.stat().st_size


def test_int8_weights_are_within_half_a_step_of_the_float_ones(tmp_path: Path) -> None:
    source = save(wide(), tmp_path / "source.onnx")
    stored = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(
            main_file(build(WeightInt8(), source, [], tmp_path / "out"))
        ).graph.initializer
    }
    error = stored["w1_int8"].astype(np.float32) * stored["w1_scale"] - normal(1, 256, 256)
    assert (np.abs(error) <= stored["w1_scale"] / 2 + 1e-7).all()


def test_four_bits_of_any_operator_answer_alike_and_protected_weights_have_eight(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["logits"]),
    ]
    weights = {"w1": normal(1, 32, 16, 3, 3), "w2": normal(2, 16, 32, 1, 1)}
    proto = model(
        nodes, [tensor("image", [1, 16, 8, 8])], [tensor("logits", [1, 16, 8, 8])], weights, opset=13
    )
    source = save(proto, tmp_path / "source.onnx")
    kinds = {}
    for name, protected in (("all", ()), ("one", ("a",))):
        built = build(WeightInt4(protected=protected), source, [], tmp_path / name)
        made = onnx.load(main_file(built))
        kinds[name] = sorted(one.name for one in made.graph.initializer if not one.name.endswith("scale"))
        sample = {"image": normal(3, 1, 16, 8, 8)}
        (got,) = answers(built, proto, [sample], "onnxruntime")
        wanted = targets.session("onnxruntime").load(source, []).run(sample)["logits"]
        assert np.linalg.norm(got - wanted) < 0.15 * np.linalg.norm(wanted)
    assert kinds == {"all": ["w1_int4", "w2_int4"], "one": ["w1_int8", "w2_int4"]}


def test_four_bits_clip_where_that_errs_less(tmp_path: Path) -> None:
    weights = {
        "w": np.concatenate([normal(1, 8, 512) * np.float32(0.1), np.full((8, 1), 1, np.float32)], axis=1)
    }
    nodes = [helper.make_node("Gemm", ["x", "w"], ["logits"], transB=1)]
    proto = model(nodes, [tensor("x", [1, 513])], [tensor("logits", [1, 8])], weights)
    made = onnx.load(main_file(build(WeightInt4(), save(proto, tmp_path / "s.onnx"), [], tmp_path / "out")))
    scale = next(numpy_helper.to_array(one) for one in made.graph.initializer if one.name == "w_scale")
    assert (scale < 1 / 7).all()


def test_depthwise_kernels_keep_eight_bits(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["image", "w"], ["logits"], group=64, pads=[1, 1, 1, 1])]
    proto = model(
        nodes,
        [tensor("image", [1, 64, 8, 8])],
        [tensor("logits", [1, 64, 8, 8])],
        {"w": normal(1, 64, 1, 3, 3)},
    )
    with pytest.raises(ToolchainError, match="has 16 values to a channel"):
        build(WeightInt4(), save(proto, tmp_path / "s.onnx"), [], tmp_path / "out")


def test_a_model_whose_weights_are_all_small_is_not_called_compressed(tmp_path: Path) -> None:
    source = save(tiny_mlp(), tmp_path / "source.onnx")
    with pytest.raises(ToolchainError, match="no weight of 1024 bytes"):
        build(WeightInt8(), source, [], tmp_path / "out")


def test_a_body_may_use_compressed_weights_of_the_graph_around_it(tmp_path: Path) -> None:
    then, other = (
        helper.make_graph(
            [helper.make_node("MatMul", ["x", w], [f"{w}_out"])], w, [], [tensor(f"{w}_out", [1, 32])]
        )
        for w in ("w1", "w2")
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["logits"], then_branch=then, else_branch=other),
    ]
    weights = {"w1": normal(1, 32, 32), "w2": normal(2, 32, 32), "zero": np.array(0, np.float32)}
    proto = model(nodes, [tensor("x", [1, 32])], [tensor("logits", [1, 32])], weights)
    built = build(WeightInt8(), save(proto, tmp_path / "source.onnx"), [], tmp_path / "out")
    assert counted(built) == Operators(2, 2)
    sample = {"x": np.ones((1, 32), np.float32)}
    np.testing.assert_allclose(
        answers(built, proto, [sample], "onnxruntime")[0], sample["x"] @ weights["w1"], atol=0.05
    )


def test_external_data_is_brought_along(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    onnx.save(wide(), str(folder / "m.onnx"), save_as_external_data=True, location="weights.bin")
    built = build(Original(), folder / "m.onnx", [], tmp_path / "out")
    assert list(built.files) == ["model.onnx"]
    assert built.artifact.size > 2 * 256 * 256 * 4


@pytest.mark.parametrize("method", [Original(), Fp16(), WeightInt8(), DynamicInt8(), StaticInt8()], ids=str)
def test_what_outgrows_one_file_keeps_its_weights_beside_it(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PROTOBUF_LIMIT", 10_000)
    monkeypatch.setattr(quantize, "_LARGE", 10_000)
    proto = wide()
    sample = {"x": normal(9, 1, 256)}
    built = build(method, save(proto, tmp_path / "s.onnx"), [sample], tmp_path / "out")
    assert list(built.files) == ["model.onnx", "model.onnx.data"]
    assert main_file(built).stat().st_size < 20_000
    wanted = np.maximum(sample["x"] @ normal(1, 256, 256), 0) @ normal(2, 256, 256)
    np.testing.assert_allclose(answers(built, proto, [sample], "onnxruntime")[0], wanted, atol=0.2)


def test_the_main_file_of_openvino_comes_first(tmp_path: Path) -> None:
    built = build(Original(), save(tiny_mlp(), tmp_path / "s.onnx"), [], tmp_path / "out", "openvino")
    assert [file.name for file in built.artifact.files] == ["model.xml", "model.bin"]
    assert built.artifact.format == "openvino-ir"


def test_onnx_methods_also_serve_openvino(tmp_path: Path) -> None:
    built = build(NncfPtq(), save(tiny_cnn(), tmp_path / "s.onnx"), pictures(3), tmp_path / "out", "openvino")
    assert counted(built).quantized == 4


def test_a_failing_tool_is_one_line_that_names_the_candidate(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["x", "zero"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["logits"]),
    ]
    weights = {"zero": np.zeros(1, np.float32), "w": normal(1, 4, 4)}
    proto = model(nodes, [tensor("x", [1, 4])], [tensor("logits", [1, 4])], weights)
    source = save(proto, tmp_path / "s.onnx")
    with pytest.raises(ToolchainError) as caught:
        build(
            StaticInt8(calibration="percentile"), source, [{"x": np.ones((1, 4), np.float32)}], tmp_path / "o"
        )
    message = str(caught.value)
    assert message.startswith("onnxruntime/static-int8-percentile-per-channel failed: ValueError: ")
    assert "\n" not in message
    assert len(message) < 300
    assert not any((tmp_path / "o").iterdir())


def test_a_method_that_a_target_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="onnxruntime has no such method"):
        build(OpenVinoPtq(), save(tiny_mlp(), tmp_path / "s.onnx"), [], tmp_path / "out")


def test_tools_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = save(tiny_cnn(), tmp_path / "s.onnx")
    build(StaticInt8(calibration="percentile"), source, pictures(2), tmp_path / "a")
    build(OpenVinoPtq(), source, pictures(2), tmp_path / "b", "openvino")
    assert capfd.readouterr() == ("", "")


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> Sample | None:
        return next(self.samples, None)


def brighter_and_brighter(count: int) -> list[Sample]:
    return [{"image": sample["image"] * np.float32(1 + i)} for i, sample in enumerate(pictures(count))]


def test_ranges_found_sample_by_sample_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    source, samples = save(tiny_cnn(), tmp_path / "source.onnx"), brighter_and_brighter(5)
    ours, theirs = tmp_path / "ours.onnx", tmp_path / "theirs.onnx"
    with quiet(tmp_path):
        quantize.quantize_static(source, ours, tmp_path, samples, method="minmax", per_channel=True)
        quantization.quantize_static(
            tmp_path / "static.onnx",
            theirs,
            Reader(samples),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
        )
    assert ours.read_bytes() == theirs.read_bytes()


def test_entropy_finds_the_cuts_of_onnx_runtime_given_as_many_bins(tmp_path: Path) -> None:
    source, samples = save(tiny_cnn(), tmp_path / "source.onnx"), brighter_and_brighter(5)
    entropy, bins = quantization.CalibrationMethod.Entropy, {"num_bins": ranges._ENTROPY_BINS}
    theirs = calibrate.create_calibrator(
        source, sorted(QDQRegistry), str(tmp_path / "a.onnx"), entropy, extra_options=bins
    )
    theirs.collect_data(Reader(samples))
    wanted = {name: data.range_value for name, data in theirs.compute_data().data.items()}
    found = calibrate.load_tensors_data(ranges.find(source, samples, "entropy", tmp_path)).data
    assert {name: found[name].range_value for name in wanted} == wanted


def test_entropy_cuts_what_minmax_keeps(tmp_path: Path) -> None:
    source = save(tiny_cnn(), tmp_path / "source.onnx")
    minmax, entropy = (
        build(StaticInt8(calibration=calibration), source, brighter_and_brighter(5), tmp_path / calibration)
        for calibration in ("minmax", "entropy")
    )
    assert minmax.artifact != entropy.artifact


@pytest.mark.parametrize("method", [Original(), Fp16()], ids=str)
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_file_that_is_not_quantized_counts_none(method: Method, target: str, tmp_path: Path) -> None:
    built = build(method, save(tiny_cnn(), tmp_path / "s.onnx"), [], tmp_path / "out", target)
    assert counted(built) == Operators(0, 4)


def test_candidates_have_names_of_their_own_and_hold_every_tools_default() -> None:
    found = list(first_rungs(["openvino", "onnxruntime"], Screen(transformer=True)))
    assert len({candidate.id for candidate in found}) == len(found)
    assert {
        Candidate(DynamicInt8(), "onnxruntime"),
        Candidate(StaticInt8(calibration="minmax", per_channel=False), "onnxruntime"),
        Candidate(Fp16(), "onnxruntime"),
        Candidate(NncfPtq(), "onnxruntime"),
        Candidate(NncfPtq(preset="mixed", transformer=True), "onnxruntime"),
        Candidate(OpenVinoPtq(), "openvino"),
        Candidate(OpenVinoPtq(preset="mixed", transformer=True), "openvino"),
        Candidate(OpenVinoWeights(), "openvino"),
        Candidate(Fp16(), "openvino"),
    } <= set(found)


def test_candidates_are_for_the_targets_asked() -> None:
    assert {c.target for c in first_rungs(["openvino"], Screen())} == {"openvino"}


def test_attention_is_recognised() -> None:
    assert is_transformer(tiny_transformer())
    assert not is_transformer(tiny_cnn())


def test_a_softmax_over_the_answer_is_no_attention() -> None:
    proto = wide()
    proto.graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"]))
    assert not is_transformer(proto)


@pytest.mark.parametrize("imported_first", ["", "import nncf, onnxruntime, openvino"], ids=["fresh", "late"])
def test_quantizing_opens_no_socket(imported_first: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source = save(tiny_cnn(), tmp_path / "source.onnx")
    code = f"""
{imported_first}
import os, sys
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "os.fork"):
        os.write(2, event.encode())
        os._exit(9)
sys.addaudithook(hook)
from edgewise.lab.quiet import no_telemetry
no_telemetry()
import tempfile
from pathlib import Path
import numpy as np
from edgewise.lab.compress import apply
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.search.screen import Screen
from edgewise.targets.building import NncfPtq
from edgewise.targets.openvino.build import OpenVinoPtq
samples = [{{"image": np.ones((1, 3, 8, 8), np.float32)}}]
for candidate in (Candidate(OpenVinoPtq(), "openvino"), Candidate(NncfPtq(), "onnxruntime")):
    with tempfile.TemporaryDirectory() as folder:
        apply.build(candidate, Path({str(source)!r}), samples, Path(folder))
"""
    # This process was silenced by an import, and its children inherit the variable that did it.
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"HOME": str(home)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert imported_first or not any(home.rglob("*"))


def scaled_and_fitted() -> onnx.ModelProto:
    """What skl2onnx makes of StandardScaler and a network: Scaler, then MatMul and Add with biases of [1, N]."""
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from edgewise.lab.model import from_sklearn

    features = normal(5, 60, 8)
    estimator = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=20, random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(features, features.sum(axis=1))
    return from_sklearn(estimator, features=8)


@pytest.mark.parametrize("method", [DynamicInt8(), DynamicInt8(per_channel=True), StaticInt8()], ids=str)
def test_a_scikit_learn_network_is_quantized_by_onnx_runtime(method: Method, tmp_path: Path) -> None:
    proto = scaled_and_fitted()
    name = proto.graph.input[0].name
    samples = [{name: normal(seed, 1, 8)} for seed in range(20)]
    built = build(method, save(proto, tmp_path / "source.onnx"), samples, tmp_path / "out")
    assert counted(built).quantized > 0
