"""torch models in: what a program becomes, what is refused and why, and that nothing of a stranger's file runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch_projects import NET, cnn, cnn_project, words, words_project

import edgewise
import guarded
from conftest import Command
from edgewise.cache import Cache
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import config, jobs, plan
from edgewise.lab.model import OnnxModel, export_torch, load, take
from edgewise.lab.model.torch_program import archive
from edgewise.lab.model.torch_program.convert import convert
from edgewise.lab.model.torch_program.harmless import is_arithmetic, is_operator
from edgewise.lab.model.torch_program.job import Job
from edgewise.lab.model.torch_program.proof import prove
from edgewise.lab.model.torch_program.tracing import trace
from edgewise.lab.model.torch_program.worker import make

BOTH = {0: "batch", 1: "length"}


class Sum(nn.Module):  # type: ignore[misc]
    """left and right (batch, 4) → their sum and difference."""

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": left + right, "difference": left - right}


class Branching(nn.Module):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x * 2
        return x


@pytest.fixture(scope="module")
def words_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with words.pt2."""
    return words_project(tmp_path_factory.mktemp("torch") / "words").parent


@pytest.fixture(scope="module")
def cnn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with net.py:make."""
    return cnn_project(tmp_path_factory.mktemp("torch") / "cnn").parent


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def taken(words_folder: Path, kept: Cache) -> OnnxModel:
    """words.pt2 through the door."""
    model = take(words_folder / "words.pt2", kept)
    assert isinstance(model, OnnxModel)
    return model


# A .pt2 at the door


def test_a_program_has_the_names_of_its_forward_and_its_open_sizes(taken: OnnxModel) -> None:
    assert [(one.name, one.dtype, one.shape) for one in (*taken.inputs, *taken.outputs)] == [
        ("ids", "int64", ("batch", "ids_1")),
        ("mask", "int64", ("batch", "ids_1")),
        ("output", "float32", ("batch", 2)),
    ]


def test_the_digest_is_of_the_file_that_was_brought(taken: OnnxModel, words_folder: Path) -> None:
    import hashlib

    assert taken.digest == hashlib.sha256((words_folder / "words.pt2").read_bytes()).hexdigest()


def test_a_program_says_where_it_came_from_and_how_near_its_answers_are(taken: OnnxModel) -> None:
    assert taken.origin
    assert "made from words.pt2 by torch" in taken.origin.note
    assert "at the example's size and another" in taken.origin.note


def test_the_onnx_file_answers_as_the_module_does_at_a_length_it_was_not_exported_with(
    taken: OnnxModel,
) -> None:
    from edgewise.lab.model.runtime import open_session

    ids = np.random.default_rng(0).integers(0, 32, (1, 23))
    mask = np.ones_like(ids)
    mask[:, 17:] = 0
    (answer,) = open_session(str(taken.path)).run(None, {"ids": ids, "mask": mask})
    with torch.no_grad():
        wanted = words().eval()(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(answer, wanted, atol=1e-5)


def test_a_program_is_converted_once(
    taken: OnnxModel, words_folder: Path, kept: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "run", lambda *_, **__: pytest.fail("it was converted again"))
    assert take(words_folder / "words.pt2", kept).path == taken.path


def test_nothing_of_the_makers_machine_is_in_the_onnx_file(taken: OnnxModel) -> None:
    data = taken.path.read_bytes()
    assert b"torch_projects" not in data
    assert b"site-packages" not in data


@pytest.mark.slow
def test_inspect_takes_a_program_and_opens_no_socket(words_folder: Path, tmp_path: Path) -> None:
    run = guarded.run(tmp_path, guarded.EDGEWISE, "inspect", words_folder / "words.pt2", "--json")
    assert (run.code, run.log) == (0, ""), run.err
    assert json.loads(run.out)["parameters"] > 2000


# Whole builds


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_function_that_returns_a_module_is_built(cnn_folder: Path, tmp_path: Path) -> None:
    result = edgewise.build(cnn_folder / "edgewise.toml", tmp_path / "out").result
    assert result.name == "net"
    assert any("made from net.py:make" in note for note in result.notes)
    assert {row.status for row in result.candidates} == {"ok"}
    assert (result.row("original").figures["quality"].value or 0) > 0.8


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_program_of_open_length_is_built_and_its_bundle_answers(words_folder: Path, tmp_path: Path) -> None:
    built = edgewise.build(words_folder / "edgewise.toml", tmp_path / "out")
    assert built.result.exit_code == 0
    with edgewise.open(built.path) as model:
        answer = model({"ids": np.full((1, 31), 5), "mask": np.ones((1, 31), np.int64)})
    assert answer.outputs["output"].argmax() == 1


# What is refused: files


def edited(
    path: Path, change: Callable[[dict[str, Any]], None], more: dict[str, bytes] | None = None
) -> Path:
    """Write a copy of a .pt2 whose graph was changed, and to which files were added."""
    with zipfile.ZipFile(path) as file:
        files = {name: file.read(name) for name in file.namelist()}
    root = next(iter(files)).partition("/")[0]
    name = next(name for name in files if name.endswith("models/model.json"))
    document = json.loads(files[name])
    change(document)
    files[name] = json.dumps(document).encode()
    files |= {f"{root}/{key}": data for key, data in (more or {}).items()}
    copy = path.with_name("changed.pt2")
    with zipfile.ZipFile(copy, "w") as file:
        for key, data in files.items():
            file.writestr(key, data)
    return copy


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def saved(folder: Path) -> Path:
    export_torch(
        Sum(),
        {"left": torch.ones(2, 4), "right": torch.ones(2, 4)},
        folder / "sum.pt2",
        dynamic={"left": {0: "batch"}, "right": {0: "batch"}},
    )
    return folder / "sum.pt2"


def call(target: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    return change


def size(text: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        values["left"]["sizes"][0]["as_expr"]["expr_str"] = text

    return change


def tree(document: dict[str, Any]) -> None:
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.tuple", "collections.defaultdict", 1)


def guard(document: dict[str, Any]) -> None:
    document["guards_code"] = ["__import__('os').system('true') == 0"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (call("torch.serialization.os.system"), "a call of 'torch.serialization.os.system'"),
        (call("_operator.call"), "a call of '_operator.call'"),
        (call("torch.ops.load_library"), "a call of"),
        (size("__import__('os').system('true')"), "the expression"),
        (size("Max('__import__(1)')"), "the expression"),
        (guard, "the expression"),
        (tree, "a container of type 'collections.defaultdict'"),
    ],
    ids=["os.system", "operator.call", "library", "size", "size in a text", "guard", "container"],
)
def test_a_graph_that_would_run_code_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds what would run code") as raised:
        archive.read(edited(saved(tmp_path), change))
    assert said in str(raised.value)


@pytest.mark.parametrize("place", ["data/constants/opaque_obj_0", "data/constants/custom_obj_0"])
def test_a_pickled_object_in_a_program_is_refused_unopened(place: str, tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "ran"))
    copy = edited(saved(tmp_path), lambda _: None, {place: evil})
    with pytest.raises(InputError, match="a pickle"):
        archive.read(copy)
    assert not (tmp_path / "ran").exists()


def test_pickled_example_inputs_that_are_no_tensors_are_never_unpickled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save((Evil(tmp_path / "ran"), {}), buffer)
    copy = edited(saved(tmp_path), lambda _: None, {"data/sample_inputs/model.pt": buffer.getvalue()})
    with pytest.raises(InputError, match="cannot be opened by torch"):
        archive.read(copy)
    assert not (tmp_path / "ran").exists()


def test_compiled_code_in_a_program_is_refused(tmp_path: Path) -> None:
    copy = edited(saved(tmp_path), lambda _: None, {"data/aotinductor/model/model.so": b"\x7fELF"})
    with pytest.raises(InputError, match="holds compiled code"):
        archive.read(copy)


def test_sizes_and_guards_as_torch_writes_them_pass() -> None:
    texts = (
        "Symbol('s40', positive=True, integer=True)",
        "Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-1))",
        "FloorDiv(Symbol('s0'), Integer(2))",
        "L['ids'].size()[1] == L['mask'].size()[1]",
        "L['images']['left'].size()[0] % 8 == 0",
    )
    assert all(map(is_arithmetic, texts))
    assert all(map(is_operator, ("torch.ops.aten.__and__.Tensor", "_operator.mul", "torch.sym_max")))


@pytest.mark.parametrize(
    "text",
    [
        "().__class__",
        "eval('1')",
        "x.append(1)",
        "[x for x in ()]",
        "lambda: 0",
        "S('1')",
        "f(**k)",
        "Max(('1',))",
    ],
)
def test_what_is_more_than_arithmetic_does_not_pass(text: str) -> None:
    assert not is_arithmetic(text)


@pytest.mark.parametrize("name", ["model.pt", "model.pth"])
def test_a_pickled_module_is_refused_unopened_with_what_to_do(name: str, tmp_path: Path) -> None:
    torch.save({"evil": Evil(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(InputError, match=r"opening one runs code[\s\S]*torch\.export\.save"):
        take(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["pickle", "torchscript"])
def test_another_file_of_torch_that_is_called_pt2_is_refused_unopened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    if kind == "pickle":
        torch.save({"evil": Evil(tmp_path / "ran")}, path)
    else:
        torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(InputError, match="pickle or TorchScript"):
        archive.read(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a picture", b"PK\x03\x04 cut short"], ids=["empty", "picture", "cut"]
)
def test_what_is_no_program_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.pt2 is (empty|not a \.pt2|a damaged)"):
        archive.read(path)


def test_a_truncated_program_is_refused(words_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes((words_folder / "words.pt2").read_bytes()[:-1000])
    with pytest.raises(InputError, match="damaged"):
        archive.read(path)


# What is refused: functions


FUNCTIONS = {
    "raises": ("def make():\n    raise KeyError('weights')\n", ["net.py:make raised KeyError", "weights"]),
    "exits": ("def make():\n    raise SystemExit(1)\n", ["net.py:make raised SystemExit"]),
    "no function": ("def build():\n    return 1\n", ["net.py has no function 'make'"]),
    "no Python": ("def make(:\n", ["net.py cannot be imported: SyntaxError"]),
    "a module alone": (
        f"{NET}\n\ndef make():\n    return Net()\n",
        ["returned Net", "(module, example_inputs)"],
    ),
    "four things": ("def make():\n    return 1, 2, 3, 4\n", ["returned tuple of 4"]),
    "no module": ("def make():\n    return 1, (1,)\n", ["the model is int", "torch.nn.Module"]),
    "arrays for tensors": (
        f"{NET}\n\ndef make():\n    return Net(), {{'image': np.zeros((1, 1, 8, 8))}}\n",
        ["the example inputs hold ndarray", "dict of tensors"],
    ),
    "another name": (
        f"{NET}\n\ndef make():\n    return Net(), {{'picture': torch.zeros(1, 1, 8, 8)}}\n",
        ["the example inputs name 'picture'", "Net takes image"],
    ),
    "another shape": (
        f"{NET}\n\ndef make():\n    return Net(), torch.zeros(1, 3, 8, 8)\n",
        ["net.py:make: Net fails on its example inputs at net.py, line", "channels"],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_makes_no_model_is_refused(name: str, tmp_path: Path) -> None:
    body, said = FUNCTIONS[name]
    (tmp_path / "net.py").write_text(body)
    with pytest.raises(InputError) as raised:
        make(Job(str(tmp_path / "net.py:make"), str(tmp_path / "model.onnx")))
    assert all(text in str(raised.value) for text in said), raised.value
    assert not (tmp_path / "model.onnx").exists()


def test_control_flow_on_values_is_named_with_its_line_and_what_to_do() -> None:
    with pytest.raises(InputError) as raised:
        trace(Branching(), torch.ones(3), who="net.py:make")
    line = Branching.forward.__code__.co_firstlineno + 1
    for text in ("net.py:make", f"test_torch_program.py, line {line}", "torch.where or torch.cond"):
        assert text in str(raised.value)


def test_an_axis_that_the_model_fixes_cannot_be_dynamic() -> None:
    with pytest.raises(InputError, match="an axis that is named as dynamic is fixed"):
        trace(nn.Linear(4, 2), torch.ones(3, 4), ({0: "batch", 1: "width"},), who="Linear")


def test_a_model_that_keeps_state_is_refused() -> None:
    class Counter(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return x + self.count

    with pytest.raises(InputError, match="changes its 'count' while it runs"):
        convert(trace(Counter(), torch.ones(2), who="Counter"), "Counter")


def test_samples_that_the_example_inputs_do_not_fit_are_named_with_both_sizes(
    cnn_folder: Path, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(cnn_folder, tmp_path / "copy"))
    images = np.zeros((40, 1, 9, 9), np.float32)
    np.savez(folder / "samples.npz", image=images, labels=np.arange(40) % 10)
    with pytest.raises(InputError, match=r"has shape \[1, 9, 9\]|has shape \[1, 1, 9, 9\]") as raised:
        plan.prepare(config.load(folder / "edgewise.toml"))
    assert "net.py:make was exported with" in str(raised.value)


def test_a_missing_file_is_named_with_the_key_that_names_it(cnn_folder: Path, tmp_path: Path) -> None:
    text = (cnn_folder / "edgewise.toml").read_text().replace("net.py:make", "nett.py:make")
    (tmp_path / "edgewise.toml").write_text(text)
    with pytest.raises(InputError, match=r"line 2, model\.path: .*nett\.py does not exist"):
        config.load(tmp_path / "edgewise.toml")


@pytest.mark.slow
def test_the_command_line_ends_with_2_where_the_function_fails(tmp_path: Path, command: Command) -> None:
    (tmp_path / "net.py").write_text("def make():\n    raise OSError('no weights here')\n")
    said = command("inspect", tmp_path / "net.py:make")
    assert (said.code, "no weights here" in said.err) == (2, True)


# export_torch


def test_an_exported_onnx_has_the_names_given_and_is_the_same_twice(tmp_path: Path) -> None:
    example = {"ids": torch.ones(2, 7, dtype=torch.int64), "mask": torch.ones(2, 7, dtype=torch.int64)}
    paths = [
        export_torch(words(), example, tmp_path / name, dynamic={"ids": BOTH, "mask": BOTH}, names=["logits"])
        for name in ("one.onnx", "two.onnx")
    ]
    model = load(paths[0])
    assert [(one.name, one.shape) for one in (*model.inputs, *model.outputs)] == [
        ("ids", ("batch", "length")),
        ("mask", ("batch", "length")),
        ("logits", ("batch", 2)),
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_inputs_keep_their_names_in_whatever_order_they_are_given(tmp_path: Path) -> None:
    example = {"right": torch.ones(2, 4), "left": torch.zeros(2, 4)}
    path = export_torch(Sum(), example, tmp_path / "sum.onnx")
    from edgewise.lab.model.runtime import open_session

    feeds = {"left": np.full((2, 4), 3, np.float32), "right": np.ones((2, 4), np.float32)}
    total, difference = open_session(str(path)).run(["sum", "difference"], feeds)
    assert (total[0, 0], difference[0, 0]) == (4, 2)


def test_an_example_of_one_may_stand_for_a_batch_of_any_size(tmp_path: Path) -> None:
    path = export_torch(cnn(), torch.zeros(1, 1, 8, 8), tmp_path / "cnn.onnx", dynamic=({0: "batch"},))
    assert load(path).inputs[0].shape == ("batch", 1, 8, 8)


def test_axes_are_named_by_forward_for_inputs_given_in_order_and_keep_the_range_the_model_allows(
    tmp_path: Path,
) -> None:
    class Halves(nn.Module):  # type: ignore[misc]
        def forward(self, image: Tensor) -> Tensor:
            return nn.functional.max_pool2d(image, 2)

    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    path = export_torch(Halves(), torch.rand(1, 3, 8, 6), tmp_path / "halves.onnx", dynamic=axes)
    assert load(path).inputs[0].shape == ("batch", 3, "height", "width")


def test_a_model_that_returns_more_than_tensors_is_refused() -> None:
    class Both(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Any:
            return x + 1, None

    with pytest.raises(InputError, match="returns something beside tensors"):
        convert(trace(Both(), torch.ones(2), who="Both"), "Both")


def test_a_module_is_exported_without_dropout_and_left_in_the_mode_it_was_in(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)).train()
    module[0].eval()
    path = export_torch(module, torch.ones(1, 4), tmp_path / "model.onnx")
    assert "Dropout" not in {node.op_type for node in onnx.load(path).graph.node}
    assert [one.training for one in module.modules()] == [True, False, True]


def test_an_input_and_an_output_of_one_name_are_told_apart(tmp_path: Path) -> None:
    class Echo(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"x": x + 1}

    model = load(export_torch(Echo(), torch.ones(2), tmp_path / "echo.onnx"))
    assert (model.inputs[0].name, model.outputs[0].name) == ("x", "x_output")


@pytest.mark.parametrize("names", [["one"], ["sum", "sum"], ["left", "other"], "sum"], ids=str)
def test_names_that_do_not_fit_are_refused(names: Any, tmp_path: Path) -> None:
    example = {"left": torch.ones(2, 4), "right": torch.ones(2, 4)}
    with pytest.raises(InputError, match="do not fit: give 2 different ones"):
        export_torch(Sum(), example, tmp_path / "sum.onnx", names=names)
    assert not (tmp_path / "sum.onnx").exists()


@pytest.mark.parametrize("name", ["model.pt", "model"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.onnx or \.pt2"):
        export_torch(Sum(), (torch.ones(1), torch.ones(1)), tmp_path / name)


def test_a_file_that_answers_otherwise_is_never_taken() -> None:
    traced = trace(nn.Linear(4, 2), torch.ones(3, 4), who="Linear")
    proto = convert(traced, "Linear")
    bias = next(one for one in proto.graph.initializer if list(one.dims) == [2])
    bias.raw_data = np.full(2, 9, np.float32).tobytes()
    with pytest.raises(ToolchainError, match=r"answers otherwise than the torch program"):
        prove(traced.program, proto, "Linear")


def test_an_operator_that_onnx_does_not_have_is_a_fault_of_the_toolchain() -> None:
    class Eigenvalues(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvals(x).real

    with pytest.raises(ToolchainError, match="exporter refused the program") as raised:
        convert(trace(Eigenvalues(), torch.eye(3), who="Eigenvalues"), "Eigenvalues")
    assert "linalg_eig" in str(raised.value)
