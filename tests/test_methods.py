"""Methods around the tools' defaults: finer ranges, corrected biases, fewer bits, fused operators. Each does what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import calibrate

from edgewise import targets
from edgewise.demo import bert
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.compress import already, apply
from edgewise.lab.compress.outliers import outliers
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.model.runtime import open_session
from edgewise.targets.building import (
    Fp16,
    Method,
    NncfPtq,
    Operators,
    Original,
    Quantizer,
    Traits,
    WeightInt8,
)
from edgewise.targets.nncf_options import nncf_options
from edgewise.targets.onnxruntime import cuts, ranges
from edgewise.targets.onnxruntime.build import DynamicInt8, Fused, Int4Blocks, StaticInt8
from edgewise.targets.openvino.build import OpenVinoInt4, OpenVinoPtq
from models import model, normal, save, tensor, tiny_cnn, tiny_mlp, tiny_transformer

Sample = dict[str, NDArray[Any]]
Answers = NDArray[np.float32]


def built(
    method: Method,
    proto: onnx.ModelProto,
    samples: Sequence[Sample],
    folder: Path,
    target: str = "onnxruntime",
) -> Path:
    folder.mkdir()
    source = save(proto, folder.parent / f"{folder.name}.onnx")
    made = apply.build(Candidate(method, target), source, samples, folder)
    return made.files[made.artifact.files[0].name]


def answered(path: Path, samples: Sequence[Sample], target: str = "onnxruntime") -> Answers:
    session = targets.session(target).load(path, [], threads=1)
    return np.concatenate([next(iter(session.run(sample).values())) for sample in samples])


def original(proto: onnx.ModelProto, samples: Sequence[Sample]) -> Answers:
    session = open_session(proto)
    return np.concatenate([session.run(None, sample)[0] for sample in samples])


def error(
    path: Path, proto: onnx.ModelProto, samples: Sequence[Sample], target: str = "onnxruntime"
) -> float:
    wanted = original(proto, samples)
    return float(np.linalg.norm(answered(path, samples, target) - wanted) / np.linalg.norm(wanted))


def pictures(count: int) -> list[Sample]:
    """Pictures with a mean: their errors have one, too."""
    return [{"image": np.abs(normal(seed, 1, 3, 8, 8)) * np.float32(3)} for seed in range(count)]


def rows(count: int, width: int = 256) -> list[Sample]:
    return [{"x": normal(100 + seed, 1, width) * np.float32(16)} for seed in range(count)]


def wide(*, gemm: bool = False) -> onnx.ModelProto:
    """x (1, 256) → two layers of 256 × 256 → logits; with `gemm`, biases and weights that lie turned."""
    if gemm:
        first = helper.make_node("Gemm", ["x", "w1", "b"], ["a"], transB=1)
        second = helper.make_node("Gemm", ["b1", "w2", "b"], ["logits"])
    else:
        first = helper.make_node("MatMul", ["x", "w1"], ["a"])
        second = helper.make_node("MatMul", ["b1", "w2"], ["logits"])
    weights = {"w1": normal(1, 256, 256), "w2": normal(2, 256, 256), "b": normal(3, 256)}
    nodes = [first, helper.make_node("Relu", ["a"], ["b1"]), second]
    return model(nodes, [tensor("x", [1, 256])], [tensor("logits", [1, 256])], weights)


def small_bert() -> onnx.ModelProto:
    """A BERT of two layers, 32 channels and four heads, as the demo exports it."""
    rng = np.random.default_rng(0)
    hidden, inner = 32, 64
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (50, hidden),
        "embeddings.position_embeddings.weight": (16, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(2):
        at = f"encoder.layer.{layer}"
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            shapes |= {f"{at}.{part}.weight": (hidden, hidden), f"{at}.{part}.bias": (hidden,)}
        shapes |= {
            f"{at}.intermediate.dense.weight": (inner, hidden),
            f"{at}.intermediate.dense.bias": (inner,),
        }
        shapes |= {f"{at}.output.dense.weight": (hidden, inner), f"{at}.output.dense.bias": (hidden,)}
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    weights = {name: np.asarray(rng.normal(0, 0.3, shape), np.float32) for name, shape in shapes.items()}
    for name in norms:
        weights |= {
            f"{name}.weight": np.ones(hidden, np.float32),
            f"{name}.bias": np.zeros(hidden, np.float32),
        }
    return bert.classifier(weights, heads=4)


def sentences(count: int) -> list[Sample]:
    rng = np.random.default_rng(1)
    lengths = [3 + index % 5 for index in range(count)]
    return [
        {"input_ids": rng.integers(0, 50, (1, length)), "attention_mask": np.ones((1, length), np.int64)}
        for length in lengths
    ]


# Ranges


def test_a_lone_value_far_out_is_cut_off() -> None:
    counts, edges = np.histogram(np.random.default_rng(0).normal(0, 1, 100_000), cuts.BINS, range=(-60, 60))
    counts *= 1000
    counts[-1] = 1
    low, high = cuts.best(counts, edges, -5, 60)
    assert -5 <= low < -3
    assert 3 < high < 20


def test_a_range_without_tails_is_kept() -> None:
    values = np.random.default_rng(0).uniform(0, 4, 100_000)
    counts, edges = np.histogram(values, cuts.BINS, range=(-4, 4))
    low, high = cuts.best(counts, edges, 0, 4)
    assert low == 0
    assert high > 3.9


def test_a_tensor_of_zeros_keeps_its_range() -> None:
    counts, edges = np.histogram(np.zeros(5), cuts.BINS, range=(-1, 1))
    assert cuts.best(counts, edges, 0, 0) == (0, 0)


def test_mse_ranges_round_and_clip_with_less_error_than_minmax(tmp_path: Path) -> None:
    tails = np.random.default_rng(0).standard_t(3, (60, 256)).astype(np.float32)
    source = save(wide(), tmp_path / "source.onnx")
    errors = {}
    for method in ("minmax", "mse"):
        path = ranges.find(source, [{"x": row[None]} for row in tails], method, tmp_path)
        low, high = (float(end.item()) for end in calibrate.load_tensors_data(path)["x"].range_value)
        step = (high - low) / 255
        errors[method] = np.square(tails - np.rint(np.clip(tails, low, high) / step) * step).mean()
    assert errors["mse"] < 0.96 * errors["minmax"]


def test_mse_ranges_reach_the_file(tmp_path: Path) -> None:
    proto, samples = tiny_cnn(), pictures(10)
    minmax, mse = (
        built(StaticInt8(calibration=method), proto, samples, tmp_path / method)
        for method in ("minmax", "mse")
    )
    assert minmax.read_bytes() != mse.read_bytes()
    assert error(mse, proto, samples) < 0.1


# Biases


def test_bias_correction_takes_the_mean_error_out(tmp_path: Path) -> None:
    proto, samples = tiny_cnn(), pictures(30)
    plain, fixed = (
        built(StaticInt8(per_channel=False, bias_correction=on), proto, samples, tmp_path / str(on))
        for on in (False, True)
    )
    wanted = original(proto, samples)
    before, after = (np.abs((answered(path, samples) - wanted).mean(axis=0)).max() for path in (plain, fixed))
    assert after < 0.6 * before


def test_bias_correction_leaves_protected_layers_alone(tmp_path: Path) -> None:
    proto, samples = tiny_cnn(), pictures(8)
    made = built(StaticInt8(bias_correction=True, protected=("logits",)), proto, samples, tmp_path / "out")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(made).graph.initializer}
    head = next(node for node in onnx.load(made).graph.node if node.op_type == "Gemm")
    np.testing.assert_array_equal(stored[head.input[2]], normal(6, 4))


def test_a_model_without_biases_has_none_corrected(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="has a bias to correct"):
        built(StaticInt8(bias_correction=True), wide(), rows(4), tmp_path / "out")


def test_the_biases_of_a_transformer_are_corrected_too(tmp_path: Path) -> None:
    proto, samples = small_bert(), sentences(20)
    plain, fixed = (
        built(StaticInt8(bias_correction=on), proto, samples, tmp_path / str(on)) for on in (False, True)
    )
    wanted = original(proto, samples)
    before, after = (
        np.abs((answered(path, samples) - wanted).mean(axis=0)).mean() for path in (plain, fixed)
    )
    assert after < before


# NNCF


def test_nncf_corrects_biases_the_slow_way_when_asked(tmp_path: Path) -> None:
    proto, samples = tiny_cnn(), pictures(20)
    fast, slow = (
        built(NncfPtq(full_bias_correction=on), proto, samples, tmp_path / str(on)) for on in (False, True)
    )
    assert error(slow, proto, samples) < error(fast, proto, samples)


@pytest.mark.parametrize("kind", [NncfPtq, OpenVinoPtq])
def test_nncf_is_told_what_a_method_says(kind: Any) -> None:
    plain = nncf_options(kind())
    asked = nncf_options(kind(preset="mixed", full_bias_correction=True, smooth=0.3))
    assert (plain["fast_bias_correction"], asked["fast_bias_correction"]) == (True, False)
    assert (plain["model_type"], asked["model_type"]) == (None, nncf.ModelType.TRANSFORMER)
    assert asked["advanced_parameters"].smooth_quant_alphas.matmul == 0.3
    assert asked["preset"] == nncf.QuantizationPreset.MIXED


def spiked() -> onnx.ModelProto:
    """A transformer whose normalisation makes two channels 30 times as wide as the others, for its projections."""
    proto = tiny_transformer()
    stored = {one.name: one for one in proto.graph.initializer}
    spikes = np.ones(16, np.float32)
    spikes[[3, 11]] = 30
    for node in proto.graph.node:
        if node.op_type == "MatMul" and node.input[0] == "x":
            weight = onnx.numpy_helper.to_array(stored[node.input[1]]) / spikes[:, None]
            stored[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(weight, node.input[1]))
            node.input[0] = "normed_x"
    norm = helper.make_node("LayerNormalization", ["x", "spikes", "bias"], ["normed_x"], axis=-1)
    proto.graph.node.insert(1, norm)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(spikes, "spikes"))
    return proto


def tokens(count: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [{"ids": rng.integers(0, 32, (1, 3 + index % 4))} for index in range(count)]


def test_smoothing_helps_where_channels_stick_out(tmp_path: Path) -> None:
    proto, samples = spiked(), tokens(40)
    rough, smooth = (
        built(NncfPtq(transformer=True, smooth=alpha), proto, samples, tmp_path / str(alpha))
        for alpha in (-1.0, 0.95)
    )
    assert error(smooth, proto, samples) < 0.7 * error(rough, proto, samples)


def test_outlier_channels_are_measured_layer_by_layer() -> None:
    found = outliers(spiked(), tokens(4))
    plain = outliers(tiny_transformer(), tokens(4))
    assert set(found) == {"q", "k", "v", "logits"}
    assert found["q"] > 15
    assert plain["q"] < 5
    assert found["logits"] < 5


def test_a_model_without_dense_layers_has_no_outliers() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [1, 4])], [tensor("y", [1, 4])])
    assert outliers(proto, [{"x": np.ones((1, 4), np.float32)}]) == {}


# Fusions


def test_attention_is_fused_and_answers_alike(tmp_path: Path) -> None:
    proto, samples = small_bert(), sentences(4)
    made = built(Fused(), proto, samples, tmp_path / "out")
    kinds = [node.op_type for node in onnx.load(made).graph.node]
    assert (kinds.count("Attention"), kinds.count("BiasGelu")) == (2, 2)
    assert error(made, proto, samples) < 1e-5


def test_fused_attention_becomes_one_integer_operator(tmp_path: Path) -> None:
    proto, samples = small_bert(), sentences(4)
    made = built(DynamicInt8(fused=True), proto, samples, tmp_path / "out")
    assert [node.op_type for node in onnx.load(made).graph.node].count("QAttention") == 2
    assert error(made, proto, samples) < 0.2


def test_a_protected_layer_that_fusing_takes_away_is_an_error(tmp_path: Path) -> None:
    at = "encoder.layer.0.attention.self.query/MatMul"
    with pytest.raises(ToolchainError, match=r"to stay as they are: encoder\.layer\.0"):
        built(DynamicInt8(fused=True, protected=(at,)), small_bert(), sentences(2), tmp_path / "out")


def test_nothing_to_fuse_is_said(tmp_path: Path) -> None:
    for method in (Fused(), DynamicInt8(fused=True)):
        with pytest.raises(ToolchainError, match="nothing to fuse"):
            built(method, tiny_cnn(), pictures(2), tmp_path / type(method).__name__)


# Four bits


@pytest.mark.parametrize(
    ("method", "target", "share"),
    [
        (Int4Blocks(), "onnxruntime", 0.17),
        (Int4Blocks(symmetric=True, block=128), "onnxruntime", 0.15),
        (OpenVinoInt4(), "openvino", 0.24),  # the last layer stays in int8
    ],
    ids=str,
)
def test_four_bits_take_a_sixth(method: Method, target: str, share: float, tmp_path: Path) -> None:
    proto, samples = wide(), rows(4)
    made = built(method, proto, samples, tmp_path / "out", target)
    assert sum(file.stat().st_size for file in made.parent.iterdir()) < share * proto.ByteSize()
    assert targets.builder(target).operators(made) == Operators(2, 2)
    assert error(made, proto, samples, target) < 0.2


def test_weights_of_a_gemm_are_stored_in_four_bits_as_well(tmp_path: Path) -> None:
    proto, samples = wide(gemm=True), rows(4)
    made = built(Int4Blocks(), proto, samples, tmp_path / "out")
    assert [node.op_type for node in onnx.load(made).graph.node].count("MatMulNBits") == 2
    assert error(made, proto, samples) < 0.2


def correlated(count: int) -> list[Sample]:
    """Inputs that move together, as a layer's do: one weight can then make up for another."""
    mixing = normal(7, 16, 256) * np.float32(4)
    return [
        {"x": normal(seed, 1, 16) @ mixing + np.float32(0.05) * normal(900 + seed, 1, 256)}
        for seed in range(count)
    ]


def test_gptq_halves_the_error_where_inputs_move_together(tmp_path: Path) -> None:
    proto, samples = wide(), correlated(64)
    nearest, finer = (
        built(Int4Blocks(rounding=one, accuracy_level=0), proto, samples[:48], tmp_path / one)
        for one in ("rtn", "gptq")
    )
    assert error(finer, proto, samples[48:]) < 0.6 * error(nearest, proto, samples[48:])


@pytest.mark.parametrize("rounding", ["k-quant", "hqq"])
def test_other_roundings_give_other_weights(rounding: Any, tmp_path: Path) -> None:
    if rounding == "hqq":
        pytest.importorskip("torch")
    proto, samples = wide(), rows(4)
    nearest, other = (
        built(Int4Blocks(rounding=one), proto, samples, tmp_path / one) for one in ("rtn", rounding)
    )
    assert nearest.read_bytes() != other.read_bytes()
    assert error(other, proto, samples) < 0.2


def test_symmetric_blocks_are_rounded_by_gptq_as_well(tmp_path: Path) -> None:
    proto, samples = wide(), correlated(64)
    nearest, finer = (
        built(Int4Blocks(rounding=one, symmetric=True, accuracy_level=0), proto, samples[:48], tmp_path / one)
        for one in ("rtn", "gptq")
    )
    assert error(finer, proto, samples[48:]) < 0.6 * error(nearest, proto, samples[48:])


def test_a_rounding_without_a_symmetric_form_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="k-quant is never symmetric"):
        built(Int4Blocks(rounding="k-quant", symmetric=True), wide(), rows(2), tmp_path / "out")


def test_gptq_without_samples_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are none"):
        built(Int4Blocks(rounding="gptq"), wide(), [], tmp_path / "out")


def with_a_table() -> onnx.ModelProto:
    """The wide model behind an embedding of 400 rows."""
    proto = wide()
    proto.graph.node.insert(0, helper.make_node("Gather", ["table", "ids"], ["x"]))
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(normal(8, 400, 256) * np.float32(20), "table")
    )
    proto.graph.input[0].CopyFrom(tensor("ids", [1, 2], onnx.TensorProto.INT64))
    proto.graph.output[0].CopyFrom(tensor("logits", [1, 2, 256]))
    return proto


@pytest.mark.parametrize(("tables", "share"), [("int8", 0.22), ("int4", 0.17)])
def test_tables_are_stored_in_few_bits_as_well(tables: Any, share: float, tmp_path: Path) -> None:
    proto, samples = with_a_table(), [{"ids": np.array([[3, 9]])}]
    made, again = (built(Int4Blocks(tables=tables), proto, samples, tmp_path / name) for name in "ab")
    assert targets.builder("onnxruntime").operators(made) == Operators(3, 3)
    assert made.stat().st_size < share * proto.ByteSize()
    assert error(made, proto, samples) < 0.25
    assert made.read_bytes() == again.read_bytes()


def test_a_table_that_a_matrix_shares_is_not_torn_apart(tmp_path: Path) -> None:
    proto, samples = with_a_table(), [{"ids": np.array([[3, 9]])}]
    proto.graph.node.append(helper.make_node("Transpose", ["table"], ["turned"]))
    proto.graph.node.append(helper.make_node("MatMul", ["x", "turned"], ["again"]))
    proto.graph.output.append(tensor("again", [1, 2, 400]))
    made = built(Int4Blocks(tables="int4"), proto, samples, tmp_path / "out")
    assert "GatherBlockQuantized" not in [node.op_type for node in onnx.load(made).graph.node]
    assert error(made, proto, samples) < 0.2


def test_a_protected_matrix_stays_in_float(tmp_path: Path) -> None:
    made = built(Int4Blocks(protected=("a",)), wide(), rows(2), tmp_path / "out")
    assert targets.builder("onnxruntime").operators(made) == Operators(1, 2)


@pytest.mark.parametrize(
    ("method", "target"),
    [(Int4Blocks(), "onnxruntime"), (OpenVinoInt4(), "openvino")],
    ids=["onnx", "openvino"],
)
def test_convolutions_have_no_four_bits(method: Method, target: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="take an int8 method"):
        built(method, tiny_cnn(), pictures(2), tmp_path / "out", target)


# Quantized before


def test_a_model_that_is_quantized_already_is_not_quantized_again(tmp_path: Path) -> None:
    once = onnx.load(built(StaticInt8(), tiny_cnn(), pictures(4), tmp_path / "once"))
    assert already.quantized_share(once) == Operators(4, 4)
    for method in (StaticInt8(), DynamicInt8(), WeightInt8(), NncfPtq(), Int4Blocks()):
        with pytest.raises(ToolchainError, match=r"already quantized: 4 of 4 layers.*Bring the float model"):
            built(method, once, pictures(4), tmp_path / type(method).__name__)
    assert answered(built(Original(), once, [], tmp_path / "as it is"), pictures(1)).shape == (1, 4)


@pytest.mark.parametrize("method", [DynamicInt8(), WeightInt8(), NncfPtq(), Int4Blocks()], ids=str)
def test_whatever_quantized_it_is_seen(method: Method, tmp_path: Path) -> None:
    made = onnx.load(built(method, wide(gemm=True), rows(4), tmp_path / "out"))
    assert already.is_quantized(made)
    assert already.quantized_share(made) == Operators(2, 2)


def test_half_precision_is_no_quantization(tmp_path: Path) -> None:
    half = onnx.load(built(Fp16(), tiny_mlp(), [], tmp_path / "half"))
    assert not already.is_quantized(half)
    assert already.quantized_share(half) == Operators(0, 2)


# The door


KNOWN = [
    name
    for name in targets.names()
    if name in ("coreml", "litert", "litert-web", "onnxruntime", "onnxruntime-web", "openvino")
]


@pytest.mark.parametrize("transformer", [False, True])
@pytest.mark.parametrize("target", KNOWN)
def test_a_target_begins_with_few_and_goes_on_from_them(target: str, transformer: bool) -> None:
    module: Any = targets.builder(target)
    traits = Traits(transformer=transformer)
    first, small = list(module.methods(traits)), list(module.smaller(traits))
    assert len(first) <= (9 if target.startswith("onnxruntime") else 6)
    assert first[0] == Original()
    assert {method.precision for method in small} <= {"int4 weights", "4-bit palette"}
    assert small
    for method in (*first, *small):
        around = list(module.variations(method, traits))
        ids = {Candidate(one, target).id for one in (method, *around)}
        assert len(ids) == len(around) + 1 <= 6
        assert {type(one) for one in around} <= set(module.METHODS)
        assert [Candidate.of(target, Candidate(one, target).recipe).method for one in around] == around


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_what_is_protected_stays_so_in_every_variation(target: str) -> None:
    module: Any = targets.builder(target)
    for kind in module.METHODS:
        if issubclass(kind, Quantizer):
            for one in module.variations(kind(protected=("a",)), Traits(transformer=True)):
                assert one.protected == ("a",)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (StaticInt8(calibration="mse", bias_correction=True), "onnxruntime"),
        (DynamicInt8(fused=True), "onnxruntime"),
        (Fused(), "onnxruntime"),
        (NncfPtq(transformer=True, smooth=0.5), "onnxruntime"),
        (OpenVinoPtq(transformer=True, smooth=0.5), "openvino"),
        (OpenVinoInt4(ratio=0.5), "openvino"),
    ],
    ids=str,
)
def test_a_transformer_is_made_the_same_twice(method: Method, target: str, tmp_path: Path) -> None:
    first, again = (built(method, small_bert(), sentences(6), tmp_path / name, target) for name in "ab")
    assert [file.read_bytes() for file in sorted(first.parent.iterdir())] == [
        file.read_bytes() for file in sorted(again.parent.iterdir())
    ]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *((Int4Blocks(rounding=rounding), "onnxruntime") for rounding in ("rtn", "k-quant", "gptq")),
        (OpenVinoInt4(awq=True, scale_estimation=True), "openvino"),
        (OpenVinoInt4(gptq=True), "openvino"),
    ],
    ids=str,
)
def test_four_bits_are_made_the_same_twice(method: Method, target: str, tmp_path: Path) -> None:
    first, again = (built(method, wide(gemm=True), rows(6), tmp_path / name, target) for name in "ab")
    assert [file.read_bytes() for file in sorted(first.parent.iterdir())] == [
        file.read_bytes() for file in sorted(again.parent.iterdir())
    ]
