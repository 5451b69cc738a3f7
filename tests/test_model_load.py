import hashlib
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgewise.errors import InputError
from edgewise.lab.model import OnnxModel, load, simplify
from models import (
    FLOAT,
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


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    return str(caught.value)


def loaded(proto: onnx.ModelProto, folder: Path) -> OnnxModel:
    return load(save(proto, folder / "model.onnx"))


def split(proto: onnx.ModelProto, folder: Path, location: str = "weights.bin") -> Path:
    """Save `proto` with all weights in a second file."""
    path = folder / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def redirect(path: Path, **entries: str) -> Path:
    """Rewrite where the model says that its weights are."""
    proto = onnx.load(path, load_external_data=False)
    for stored in proto.graph.initializer:
        for entry in stored.external_data:
            entry.value = entries.get(entry.key, entry.value)
    return save(proto, path)


def relu(opset: int = 17) -> onnx.ModelProto:
    return model(
        [helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [1])], [tensor("y", [1])], opset=opset
    )


# --- what is read


def test_the_signature_has_names_dtypes_and_dynamic_dimensions(tmp_path: Path) -> None:
    inputs = loaded(tiny_transformer(), tmp_path).inputs
    assert [(spec.name, spec.dtype, spec.shape) for spec in inputs] == [("ids", "int64", ("batch", "length"))]


def test_outputs_keep_their_order(tmp_path: Path) -> None:
    assert [spec.name for spec in loaded(tiny_two_in_two_out(), tmp_path).outputs] == ["sum", "logits"]


@pytest.mark.parametrize("unnamed", ["?", None])
def test_an_unnamed_dimension_is_none(tmp_path: Path, unnamed: str | None) -> None:
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [unnamed])], [tensor("y", [unnamed])]
    )
    assert loaded(proto, tmp_path).inputs[0].shape == (None,)


def test_initializers_listed_as_inputs_are_not_inputs(tmp_path: Path) -> None:
    proto = tiny_mlp()
    proto.graph.input.append(tensor("w1", [8, 16]))
    assert [spec.name for spec in loaded(proto, tmp_path).inputs] == ["x"]


def test_the_digest_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    path = save(tiny_mlp(), tmp_path / "model.onnx")
    assert load(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_opset_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    path = save(tiny_mlp(), tmp_path / "model.onnx")
    assert (load(path).opset, load(path).size) == (17, path.stat().st_size)


def test_external_data_is_loaded_into_memory(tmp_path: Path) -> None:
    first = load(split(tiny_mlp(), tmp_path)).proto.graph.initializer[0]
    assert np.array_equal(onnx.numpy_helper.to_array(first), normal(1, 8, 16))


def test_external_data_counts_in_the_size(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    assert load(path).size == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size


def test_the_digest_changes_with_external_data(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    before = load(path).digest
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert load(path).digest != before


def test_external_data_in_a_subfolder_is_read(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "weights.bin").rename(tmp_path / "parts" / "weights.bin")
    assert load(redirect(path, location="parts/weights.bin")).inputs[0].name == "x"


def test_a_stale_shape_note_does_not_refuse_a_model_that_runs(tmp_path: Path) -> None:
    proto = tiny_mlp()
    proto.graph.value_info.append(tensor("hidden", ["batch", 99]))
    assert loaded(proto, tmp_path).opset == 17


def test_a_model_too_large_for_one_message_is_checked_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["edgewise.lab.model.load"], "PROTOBUF_LIMIT", 10)
    assert load(split(tiny_mlp(), tmp_path)).opset == 17


# --- what is refused


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "model.onnx")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    assert "is empty" in refusal(tmp_path / "model.onnx")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1",
        b"hello, this is a text file\n",
        bytes(range(7, 256)),
        pickle.dumps({"a": 1}),
        b"\n\n\n",
    ],
    ids=["png", "text", "garbage", "pickle", "newlines"],
)
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert "is not an ONNX model" in refusal(tmp_path / "model.onnx")


@pytest.mark.parametrize("kept", [2, 30, 300, -3])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_mlp().SerializeToString(deterministic=True)[:kept])
    assert "truncated" in refusal(path)


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refusal(path)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_a_pickle_is_answered_with_the_lines_that_export_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps([1]))
    assert 'export_sklearn(estimator, "model.onnx", features=X.shape[1])' in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt"])
def test_a_pickle_of_torch_is_answered_with_the_line_that_saves_a_program(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps([1]))
    assert 'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")' in refusal(
        tmp_path / name
    )


@pytest.mark.parametrize("name", ["model.safetensors", "model.tflite", "model.ort"])
def test_another_format_is_answered_with_the_way_to_onnx(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1234")
    assert "onnx" in refusal(tmp_path / name).lower()


def test_missing_external_data_is_refused(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert "weights.bin, which is missing" in refusal(path)


@pytest.mark.parametrize("location", ["/etc/hostname", "../weights.bin", "a/../../w", "C:\\w", "..\\w", ""])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    path = redirect(split(tiny_mlp(), tmp_path), location=location)
    assert "not inside its folder" in refusal(path)


def test_external_data_linked_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = split(tiny_mlp(), folder)
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    assert "a link that leaves" in refusal(path)


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    data = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(data[:-1])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize("entry", [{"length": "1"}, {"offset": "-4"}, {"length": "many"}])
def test_external_data_that_contradicts_the_shape_is_refused(tmp_path: Path, entry: dict[str, str]) -> None:
    assert "does not fit" in refusal(redirect(split(tiny_mlp(), tmp_path), **entry))


def test_an_opset_newer_than_onnx_runtime_is_refused(tmp_path: Path) -> None:
    assert "is too new: ONNX Runtime" in refusal(save(relu(opset=99), tmp_path / "model.onnx"))


def test_an_ir_version_newer_than_onnx_runtime_is_refused(tmp_path: Path) -> None:
    proto = relu()
    proto.ir_version = 99
    assert "reads IR version" in refusal(save(proto, tmp_path / "model.onnx"))


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    proto = relu()
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "x"))
    assert "has no inputs" in refusal(save(proto, tmp_path / "model.onnx"))


def test_a_model_without_outputs_is_refused(tmp_path: Path) -> None:
    proto = relu()
    del proto.graph.output[:]
    assert "has no outputs" in refusal(save(proto, tmp_path / "model.onnx"))


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    proto = relu()
    proto.graph.node[0].op_type = "Frobnicate"
    assert "Frobnicate" in refusal(save(proto, tmp_path / "model.onnx"))


def test_types_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("Add", ["x", "i"], ["y"])],
        [tensor("x", [1]), tensor("i", [1], INT64)],
        [tensor("y", [1])],
    )
    assert "is not valid ONNX" in refusal(save(proto, tmp_path / "model.onnx"))


def test_an_element_type_that_onnx_does_not_define_is_refused(tmp_path: Path) -> None:
    path = split(tiny_mlp(), tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].data_type = 77
    assert "unknown type 77" in refusal(save(proto, path))


@pytest.mark.parametrize("kind", ["sequence", "optional", "map"])
def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path, kind: str) -> None:
    element = helper.make_tensor_type_proto(FLOAT, [1])
    types = {
        "sequence": helper.make_sequence_type_proto(element),
        "optional": helper.make_optional_type_proto(element),
        "map": helper.make_map_type_proto(INT64, element),
    }
    proto = relu()
    proto.graph.input.append(helper.make_value_info("many", types[kind]))
    assert f"'many' is a {kind}" in refusal(save(proto, tmp_path / "model.onnx"))


# --- simplify


def padded_mlp() -> onnx.ModelProto:
    """The MLP with a chain of constants and an Identity to remove."""
    proto = tiny_mlp()
    extra = [
        helper.make_node("Shape", ["w1"], ["shape"]),
        helper.make_node("Reshape", ["w1", "shape"], ["w1_again"]),
        helper.make_node("Identity", ["x"], ["x_again"]),
    ]
    proto.graph.node[0].input[:] = ["x_again", "w1_again", "b1"]
    nodes = [*extra, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def rows(count: int) -> list[dict[str, NDArray[Any]]]:
    return [{"x": normal(9, count, 8)}]


def test_simplify_removes_operators_that_do_nothing(tmp_path: Path) -> None:
    simplified = simplify(loaded(padded_mlp(), tmp_path), rows(2))
    assert (simplified.nodes_before, simplified.nodes_after) == (6, 3)


def test_simplify_keeps_dynamic_dimensions(tmp_path: Path) -> None:
    simplified = simplify(loaded(padded_mlp(), tmp_path), rows(2))
    assert simplified.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_simplify_does_not_change_its_argument(tmp_path: Path) -> None:
    brought = loaded(padded_mlp(), tmp_path)
    before = brought.proto.SerializeToString(deterministic=True)
    simplify(brought, rows(2))
    assert brought.proto.SerializeToString(deterministic=True) == before


def test_simplify_without_samples_keeps_the_original_and_says_so(tmp_path: Path) -> None:
    assert "no samples" in simplify(loaded(padded_mlp(), tmp_path), []).note


def test_simplify_with_nothing_to_do_keeps_the_original_and_says_so(tmp_path: Path) -> None:
    brought = loaded(tiny_cnn(), tmp_path)
    simplified = simplify(brought, [{"image": np.ones((1, 3, 8, 8), np.float32)}])
    assert "nothing to simplify" in simplified.note or simplified.nodes_after < simplified.nodes_before


def test_a_model_too_large_for_onnxslim_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["edgewise.lab.model.simplify"], "PROTOBUF_LIMIT", 10)
    assert "2 GB and more" in simplify(loaded(padded_mlp(), tmp_path), rows(2)).note


def test_a_crash_of_onnxslim_keeps_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: onnx.ModelProto) -> onnx.ModelProto:
        raise IndexError("list index out of range")

    monkeypatch.setattr("onnxslim.slim", crash)
    assert (
        "onnxslim failed (list index out of range)" in simplify(loaded(padded_mlp(), tmp_path), rows(2)).note
    )


def test_a_changed_answer_keeps_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_: onnx.ModelProto) -> onnx.ModelProto:
        proto = tiny_mlp()
        proto.graph.initializer[3].CopyFrom(onnx.numpy_helper.from_array(np.ones(3, np.float32), "b2"))
        return proto

    monkeypatch.setattr("onnxslim.slim", spoil)
    assert "'logits' changed by" in simplify(loaded(padded_mlp(), tmp_path), rows(2)).note


def test_a_changed_signature_keeps_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxslim.slim", lambda _: tiny_two_in_two_out())
    assert "changed the names" in simplify(loaded(padded_mlp(), tmp_path), rows(2)).note


def test_samples_that_do_not_suit_the_model_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not run on the samples"):
        simplify(loaded(padded_mlp(), tmp_path), [{"x": np.ones((2, 7), np.float32)}])
