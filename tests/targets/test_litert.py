"""LiteRT: models become .tflite files without TensorFlow, and answer as the original does, in its terms.

Installs the converter into the cache of whoever runs it, where it is kept, unlike that of other tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import guarded
from edgewise import targets
from edgewise.bundle.golden import compare
from edgewise.cache import default_folder
from edgewise.errors import DeviceError, InputError, ToolchainError
from edgewise.lab.compress import apply
from edgewise.lab.compress.apply import Built
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets import Session
from edgewise.targets.building import Method, Operators, Original
from edgewise.targets.graph import spec
from edgewise.targets.litert import build as litert
from edgewise.targets.litert import flatbuffer, toolchain
from edgewise.targets.litert.build import (
    LiteRtDynamic,
    LiteRtFp16,
    LiteRtInt4,
    LiteRtStatic,
    LiteRtStatic16,
    LiteRtWeights,
)
from models import (
    INT64,
    model,
    normal,
    save,
    tensor,
    tiny_cnn,
    tiny_mlp,
    tiny_transformer,
    tiny_two_in_two_out,
)

pytestmark = pytest.mark.slow

CACHE = default_folder()  # read before the tests get a cache of their own
Arrays = dict[str, NDArray[Any]]
QUANTIZED: list[Method] = [
    LiteRtWeights(),
    LiteRtDynamic(),
    LiteRtInt4(block=0),
    LiteRtInt4(block=32),
    LiteRtStatic(scope="layers"),
    LiteRtStatic(scope="all"),
    LiteRtStatic16(scope="layers"),
    LiteRtStatic16(scope="all"),
]


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWISE_CACHE", str(CACHE))
        toolchain.install()
        yield


def built(
    proto: onnx.ModelProto, samples: Sequence[Arrays], folder: Path, method: Method | None = None
) -> Built:
    source = save(proto, folder / "original.onnx")
    made = folder / "made"
    made.mkdir()
    return apply.build(Candidate(method or Original(), "litert"), source, samples, made)


def loaded(
    proto: onnx.ModelProto, samples: Sequence[Arrays], folder: Path, method: Method | None = None
) -> Session:
    main = built(proto, samples, folder, method).files["model.tflite"]
    return targets.session("litert").load(main, [spec(value) for value in proto.graph.output], threads=1)


def reference(proto: onnx.ModelProto, inputs: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_same(session: Session, proto: onnx.ModelProto, inputs: Arrays) -> None:
    answer, wanted = session.run(inputs), reference(proto, inputs)
    assert list(answer) == list(wanted)
    for name, array in wanted.items():
        assert (answer[name].dtype, answer[name].shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(answer[name], array, rtol=1e-4, atol=1e-5)


def pictures(count: int, *shape: int) -> list[Arrays]:
    return [{"image": normal(seed, 1, *shape)} for seed in range(count)]


def sentences(*lengths: int, below: int = 32) -> list[Arrays]:
    rng = np.random.default_rng(0)
    return [{"ids": rng.integers(0, below, (1, length))} for length in lengths]


def pairs(count: int) -> list[Arrays]:
    return [{"left": normal(2 * seed, 1, 4), "right": normal(2 * seed + 1, 1, 4)} for seed in range(count)]


def reader() -> onnx.ModelProto:
    """ids (batch, length) below 128 → embedding 64 → 64 → 48 (not whole blocks of 32) → mean → logits (batch, 8)."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["pooled"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["pooled", "w3"], ["logits"]),
    ]
    weights = {
        "table": normal(1, 128, 64) * np.float32(8),
        "w1": normal(2, 64, 64),
        "b1": normal(3, 64),
        "w2": normal(4, 64, 48),
        "w3": normal(5, 48, 8),
    }
    return model(
        nodes, [tensor("ids", ["batch", "length"], INT64)], [tensor("logits", ["batch", 8])], weights
    )


def viewer() -> onnx.ModelProto:
    """image (batch, 3, 16, 16) → 3×3, depthwise, 1×1 convolutions of 64 → logits (batch, 10)."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], group=64, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "w3"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "w4"], ["logits"]),
    ]
    weights = {
        "w1": normal(1, 64, 3, 3, 3),
        "w2": normal(2, 64, 1, 3, 3),
        "w3": normal(3, 64, 64, 1, 1),
        "w4": normal(4, 64, 10),
    }
    inputs = [tensor("image", ["batch", 3, 16, 16])]
    return model(nodes, inputs, [tensor("logits", ["batch", 10])], weights)


VIEWED, READ = pictures(12, 3, 16, 16), sentences(*range(4, 16), below=128)


@pytest.mark.parametrize(
    ("proto", "samples"),
    [
        (tiny_mlp(), [{"x": normal(1, 1, 8)}]),
        (tiny_cnn(), pictures(1, 3, 8, 8)),
        (tiny_transformer(), sentences(3, 7, 5)),
        (tiny_two_in_two_out(), pairs(1)),
        (reader(), READ[:3]),
        (viewer(), VIEWED[:1]),
    ],
    ids=["mlp", "cnn", "transformer", "two in two out", "reader", "viewer"],
)
def test_a_converted_model_answers_as_the_original(
    proto: onnx.ModelProto, samples: list[Arrays], tmp_path: Path
) -> None:
    session = loaded(proto, samples, tmp_path)
    for sample in samples:
        assert_same(session, proto, sample)


def test_a_length_that_was_never_shown_is_answered(tmp_path: Path) -> None:
    session = loaded(tiny_transformer(), sentences(3, 5), tmp_path)
    for sample in sentences(11, 2, 11):
        assert_same(session, tiny_transformer(), sample)


def test_a_picture_that_is_an_output_keeps_its_layout_and_its_name(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["im:0", "w"], ["map:0"], pads=[1, 1, 1, 1])
    inputs, outputs = tensor("im:0", ["n", 3, "h", "w"]), tensor("map:0", ["n", 5, "h", "w"])
    proto = model([conv], [inputs], [outputs], {"w": normal(1, 5, 3, 3, 3)})
    samples = [{"im:0": normal(seed, 1, 3, 8 + seed, 5)} for seed in range(3)]
    session = loaded(proto, samples, tmp_path)
    for sample in samples:
        assert_same(session, proto, sample)


def test_pooling_of_pictures_of_any_size_is_right(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["image"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["a"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    proto = model(nodes, [tensor("image", [1, 3, "h", "w"])], [tensor("y", [1, 3, None, None])])
    samples = [{"image": normal(seed, 1, 3, 13 + seed, 18 - seed)} for seed in range(3)]
    session = loaded(proto, samples, tmp_path)
    for sample in samples:
        assert_same(session, proto, sample)


def test_types_and_single_numbers_are_the_originals(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "by"], ["scaled"]),
        helper.make_node("ArgMax", ["scaled"], ["best"], axis=1, keepdims=0),
        helper.make_node("Greater", ["scaled", "zero"], ["positive"]),
        helper.make_node("ReduceSum", ["scaled"], ["total"], keepdims=0),
    ]
    outputs = [
        tensor("best", ["n"], INT64),
        tensor("positive", ["n", 4], TensorProto.BOOL),
        tensor("total", []),
    ]
    inputs = [tensor("x", ["n", 4]), tensor("by", [])]
    proto = model(nodes, inputs, outputs, {"zero": np.zeros(1, np.float32)})
    samples = [
        {"x": normal(seed, 1, 4), "by": np.array(by, np.float32)} for seed, by in ((1, 2.5), (2, -1.0))
    ]
    session = loaded(proto, samples, tmp_path)
    for sample in samples:
        assert_same(session, proto, sample)


@pytest.mark.parametrize("method", [LiteRtFp16(), *QUANTIZED], ids=repr)
@pytest.mark.parametrize("name", ["viewer", "reader"])
def test_every_recipe_shrinks_the_file_and_answers_much_like_the_original(
    name: str, method: Method, tmp_path: Path
) -> None:
    proto, samples = (viewer(), VIEWED) if name == "viewer" else (reader(), READ)
    artifact = built(proto, samples, tmp_path, method)
    main = artifact.files["model.tflite"]
    assert main.stat().st_size < 0.7 * (tmp_path / "original.onnx").stat().st_size
    session = targets.session("litert").load(main, [spec(value) for value in proto.graph.output], threads=1)
    answers = [session.run(sample) for sample in samples]
    assert compare([reference(proto, sample) for sample in samples], answers).rms < 0.2
    quantized = 0 if isinstance(method, LiteRtFp16) else 4
    assert litert.operators(main) == Operators(quantized=quantized, total=4)


@pytest.mark.parametrize("method", [Original(), *QUANTIZED[1::2]], ids=repr)
def test_a_recipe_gives_the_same_bytes_again(method: Method, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (built(reader(), READ, folder, method).artifact.digest for folder in folders)
    assert first == second


@pytest.mark.parametrize("method", [LiteRtWeights, LiteRtDynamic])
def test_the_layer_that_costs_most_in_int8_is_spared(
    method: type[LiteRtWeights] | type[LiteRtDynamic], tmp_path: Path
) -> None:
    proto = viewer()
    (third,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w3")
    weights = onnx.numpy_helper.to_array(third).copy()
    weights[:, 0] *= 300  # one input is weighed so much more that the others' weights round to nothing
    third.CopyFrom(onnx.numpy_helper.from_array(weights, "w3"))
    wanted, distance = [reference(proto, sample) for sample in VIEWED], {}
    for sparing in (False, True):
        folder = tmp_path / str(sparing)
        folder.mkdir()
        main = built(proto, VIEWED, folder, method(sparing=sparing)).files["model.tflite"]
        session = targets.session("litert").load(main, [spec(value) for value in proto.graph.output])
        distance[sparing] = compare(wanted, [session.run(sample) for sample in VIEWED]).rms
    assert litert.operators(main) == Operators(quantized=3, total=4)
    assert distance[True] < 0.8 * distance[False]


def test_a_model_of_few_layers_has_none_to_spare(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="nothing to spare"):
        built(tiny_mlp(), [{"x": normal(1, 1, 8)}], tmp_path, LiteRtWeights(sparing=True))


def test_inputs_and_outputs_stay_float_when_all_else_is_int8(tmp_path: Path) -> None:
    main = built(viewer(), VIEWED, tmp_path, LiteRtStatic(scope="all")).files["model.tflite"]
    graph = flatbuffer.read(main).subgraphs[0]
    kinds = {graph.tensors[index].type for index in (*graph.inputs, *graph.outputs)}
    assert kinds == {flatbuffer.schema().TensorType.FLOAT32}


def test_a_recipe_that_changes_nothing_says_so(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("Softmax", ["x"], ["y"])], [tensor("x", ["n", 4])], [tensor("y", ["n", 4])]
    )
    with pytest.raises(ToolchainError, match=r"changed nothing: \S+ bytes before, \S+ after"):
        built(proto, [{"x": normal(1, 1, 4)}], tmp_path, LiteRtDynamic())


def test_int4_in_blocks_is_refused_where_no_layer_has_whole_blocks(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", ["n", 48])],
        [tensor("y", ["n", 64])],
        {"w": normal(1, 48, 64)},
    )
    with pytest.raises(ToolchainError, match="whole blocks of 32"):
        built(proto, [{"x": normal(1, 1, 48)}], tmp_path, LiteRtInt4(block=32))


@pytest.mark.parametrize(
    ("node", "kind", "reason"),
    [
        (helper.make_node("BitShift", ["x", "x"], ["y"], direction="LEFT"), TensorProto.UINT8, "BitShift"),
        (helper.make_node("Unique", ["x"], ["y"]), TensorProto.FLOAT, "no such operator: ONNX_UNIQUE"),
    ],
    ids=["refused by onnx2tf", "called a success by onnx2tf"],
)
def test_an_operator_that_cannot_be_converted_is_named(
    node: onnx.NodeProto, kind: int, reason: str, tmp_path: Path
) -> None:
    proto = model([node], [tensor("x", [4], kind)], [tensor("y", [None], kind)])
    sample = np.arange(4).astype(helper.tensor_dtype_to_np_dtype(kind))
    with pytest.raises(ToolchainError, match=reason) as caught:
        built(proto, [{"x": sample}], tmp_path)
    assert "\n" not in str(caught.value)


def test_a_conversion_opens_no_socket_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    source = save(tiny_transformer(), tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    code = f"""
from pathlib import Path
import numpy as np
from edgewise.lab.compress.apply import build
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets.litert.build import LiteRtStatic
samples = [{{"ids": np.arange(length)[np.newaxis]}} for length in (3, 5)]
build(Candidate(LiteRtStatic(), "litert"), Path({str(source)!r}), samples, Path({str(tmp_path / "out")!r}))
"""
    done = guarded.run(
        tmp_path / "guard", sys.executable, "-c", code, environment={"EDGEWISE_CACHE": str(CACHE)}
    )
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "model.tflite").exists()
    assert done.log == ""
    assert not any(path.is_file() for path in done.home.rglob("*"))


def test_a_tflite_is_taken_as_it_is_and_quantized(tmp_path: Path) -> None:
    own = built(viewer(), VIEWED, tmp_path).files["model.tflite"]
    session = targets.session("litert").load(own, (), threads=1)
    wanted = [session.run(sample) for sample in VIEWED]
    for method in (Original(), LiteRtStatic(scope="all")):
        made = tmp_path / type(method).__name__
        made.mkdir()
        again = apply.build(Candidate(method, "litert"), own, VIEWED, made).files["model.tflite"]
        session = targets.session("litert").load(again, (), threads=1)
        assert compare(wanted, [session.run(sample) for sample in VIEWED]).rms < 0.15
    assert again.stat().st_size < 0.6 * own.stat().st_size


def test_a_file_without_a_signature_goes_by_its_tensors_names(tmp_path: Path) -> None:
    own = built(tiny_mlp(), [{"x": normal(1, 1, 8)}], tmp_path).files["model.tflite"]
    bare = flatbuffer.read(own)
    bare.signatureDefs = None
    flatbuffer.write(bare, tmp_path / "bare.tflite")
    session = targets.session("litert").load(tmp_path / "bare.tflite", ())
    assert list(session.run({"x": normal(1, 1, 8)})) == ["logits"]


def test_an_input_that_became_a_constant_takes_no_other_value(tmp_path: Path) -> None:
    main = built(tiny_mlp(), [{"x": normal(1, 1, 8)}], tmp_path).files["model.tflite"]
    known = {"constants": {"rate": {"dtype": "int64", "shape": [], "value": 16000}}}
    main.with_name("io.json").write_text(json.dumps(known))
    session = targets.session("litert").load(main, ())
    assert session.run({"x": normal(1, 1, 8), "rate": np.array(16000)})["logits"].shape == (1, 3)
    with pytest.raises(DeviceError, match="rate = 16000 only"):
        session.run({"x": normal(1, 1, 8), "rate": np.array(8000)})


def test_a_later_call_leaves_earlier_answers_alone(tmp_path: Path) -> None:
    session = loaded(tiny_two_in_two_out(), pairs(1), tmp_path)
    first = session.run(pairs(1)[0])
    kept = {name: value.copy() for name, value in first.items()}
    session.run(pairs(2)[1])
    for name in first:
        np.testing.assert_array_equal(first[name], kept[name])


def test_several_threads_may_run_one_session_on_different_lengths(tmp_path: Path) -> None:
    proto, samples = tiny_transformer(), sentences(2, 3, 5, 8)
    session = loaded(proto, samples, tmp_path)

    def furthest(sample: Arrays) -> float:
        wanted = reference(proto, sample)["logits"]
        return max(float(np.abs(session.run(sample)["logits"] - wanted).max()) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(furthest, samples)) < 1e-5


def test_a_shape_that_the_file_does_not_have_is_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    session = loaded(tiny_mlp(), [{"x": normal(1, 1, 8)}], tmp_path)
    with pytest.raises(RuntimeError, match="dimension 0"):
        session.run({"x": normal(1, 2, 8)})
    assert_same(session, tiny_mlp(), {"x": normal(3, 1, 8)})


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    session = loaded(tiny_mlp(), [{"x": normal(1, 1, 8)}], tmp_path)
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run({"x": normal(1, 1, 8)})


def test_litert_s_own_kernels_answer_the_same(tmp_path: Path) -> None:
    main = built(viewer(), VIEWED, tmp_path).files["model.tflite"]
    session = targets.session("litert").load(main, (), settings={"kernels": "builtin"})
    assert_same(session, viewer(), VIEWED[0])
    with pytest.raises(InputError, match="xnnpack, builtin"):
        targets.session("litert").load(main, (), settings={"kernels": "magic"})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_text("not a model")
    for path in (broken, tmp_path / "absent.tflite"):
        with pytest.raises(DeviceError, match=str(path)) as caught:
            targets.session("litert").load(path, [])
        assert "\n" not in str(caught.value)


def test_a_missing_runtime_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ToolchainError, match=r"pip install 'edgewise\[litert\]'"):
        targets.session("litert").version()
