"""The sessions: both runtimes answer as the original does, in its terms, and say clearly when they cannot."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgewise import targets
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, InputError, ToolchainError
from edgewise.targets import SessionModule
from edgewise.targets.graph import spec
from edgewise.targets.openvino.convert import convert
from models import INT64, model, normal, save, tensor, tiny_transformer, tiny_two_in_two_out

RUNTIMES = ["onnxruntime", "openvino"]
Arrays = dict[str, NDArray[Any]]


def artifact(proto: onnx.ModelProto, runtime: str, folder: Path) -> Path:
    """Write the original for a runtime and return its main file."""
    path = save(proto, folder / "original.onnx")
    if runtime == "onnxruntime":
        return path
    convert(path, folder)
    return folder / "model.xml"


def outputs(proto: onnx.ModelProto) -> list[TensorSpec]:
    return [spec(value) for value in proto.graph.output]


def reference(proto: onnx.ModelProto, inputs: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, session.run(names, inputs), strict=True))


def pair(seed: int = 0) -> Arrays:
    return {"left": normal(seed, 2, 4), "right": normal(seed + 1, 2, 4)}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(runtime: str) -> SessionModule:
    return targets.session(runtime)


def test_a_session_answers_with_the_originals_names_in_its_order(
    runtime: str, module: SessionModule, tmp_path: Path
) -> None:
    proto = tiny_two_in_two_out()
    asked = outputs(proto)[::-1]
    session = module.load(artifact(proto, runtime, tmp_path), asked, threads=1)
    answer, wanted = session.run(pair()), reference(proto, pair())
    assert list(answer) == ["logits", "sum"]
    for name in answer:
        np.testing.assert_allclose(answer[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_a_session_keeps_the_originals_types(runtime: str, module: SessionModule, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
    ]
    results = [tensor("best", ["n"], INT64), tensor("positive", ["n", 4], onnx.TensorProto.BOOL)]
    proto = model(nodes, [tensor("x", ["n", 4])], results, {"zero": np.zeros(1, np.float32)})
    session = module.load(artifact(proto, runtime, tmp_path), outputs(proto))
    answer = session.run({"x": normal(1, 3, 4)})
    assert [(value.dtype.name, value.shape) for value in answer.values()] == [
        ("int64", (3,)),
        ("bool", (3, 4)),
    ]


def test_a_session_takes_inputs_of_changing_length(
    runtime: str, module: SessionModule, tmp_path: Path
) -> None:
    proto = tiny_transformer()
    session = module.load(artifact(proto, runtime, tmp_path), outputs(proto), threads=1)
    for length in (3, 7, 5):
        inputs = {"ids": np.arange(length, dtype=np.int64)[np.newaxis]}
        np.testing.assert_allclose(
            session.run(inputs)["logits"], reference(proto, inputs)["logits"], atol=1e-5
        )


def test_a_later_call_leaves_earlier_answers_alone(
    runtime: str, module: SessionModule, tmp_path: Path
) -> None:
    proto = tiny_two_in_two_out()
    session = module.load(artifact(proto, runtime, tmp_path), outputs(proto))
    first = session.run(pair(0))
    kept = {name: value.copy() for name, value in first.items()}
    session.run(pair(5))
    for name in first:
        np.testing.assert_array_equal(first[name], kept[name])


def test_openvino_computes_in_float32_where_the_cpu_has_bfloat16(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = model([node], [tensor("x", [1, 256])], [tensor("y", [1, 256])], {"w": normal(1, 256, 256)})
    session = targets.session("openvino").load(artifact(proto, "openvino", tmp_path), outputs(proto))
    inputs = {"x": normal(2, 1, 256)}
    # bfloat16 has 8 bits of precision: its error would be about 1e-2 here.
    np.testing.assert_allclose(session.run(inputs)["y"], reference(proto, inputs)["y"], atol=1e-5)


def test_outputs_that_a_tool_renamed_are_found_by_position(
    runtime: str, module: SessionModule, tmp_path: Path
) -> None:
    proto = tiny_two_in_two_out()
    asked = [TensorSpec("first", "float32", (None, 4)), TensorSpec("second", "float32", (None, 2))]
    answer = module.load(artifact(proto, runtime, tmp_path), asked).run(pair())
    assert {name: value.shape for name, value in answer.items()} == {"first": (2, 4), "second": (2, 2)}


def test_outputs_that_are_not_there_are_refused(runtime: str, module: SessionModule, tmp_path: Path) -> None:
    path = artifact(tiny_two_in_two_out(), runtime, tmp_path)
    with pytest.raises(DeviceError, match="expected other"):
        module.load(path, [TensorSpec("other", "float32", (None,))])


def test_a_file_that_cannot_be_read_is_named(module: SessionModule, tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("not a model")
    for path in (broken, tmp_path / "absent.xml"):
        with pytest.raises(DeviceError, match=str(path)) as caught:
            module.load(path, [])
        assert "\n" not in str(caught.value)


def test_several_threads_may_run_one_session(runtime: str, module: SessionModule, tmp_path: Path) -> None:
    proto = tiny_two_in_two_out()
    session = module.load(artifact(proto, runtime, tmp_path), outputs(proto), threads=1)

    def furthest(seed: int) -> float:
        wanted = reference(proto, pair(seed))["logits"]
        return max(float(np.abs(session.run(pair(seed))["logits"] - wanted).max()) for _ in range(100))

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(furthest, range(8))) < 1e-5


def test_a_closed_session_says_so(runtime: str, module: SessionModule, tmp_path: Path) -> None:
    session = module.load(artifact(tiny_two_in_two_out(), runtime, tmp_path), [])
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run(pair())


def test_a_missing_runtime_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = targets.session("openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ToolchainError, match=r"pip install 'edgewise\[openvino\]'"):
        module.version()


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InputError, match="onnxruntime"):
        targets.session("abacus")


def test_the_onnx_session_costs_next_to_nothing(tmp_path: Path) -> None:
    path = save(tiny_two_in_two_out(), tmp_path / "m.onnx")
    ours = targets.session("onnxruntime").load(path, [], threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = pair()

    def microseconds(call: Any) -> float:
        started = time.perf_counter()
        for _ in range(1000):
            call()
        return (time.perf_counter() - started) * 1e3

    gaps = [
        microseconds(lambda: ours.run(inputs)) - microseconds(lambda: bare.run(None, inputs))
        for _ in range(9)
    ]
    assert float(np.median(gaps)) < 10


def test_running_on_a_device_opens_no_socket_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    home.mkdir()
    files.mkdir()
    path = artifact(tiny_two_in_two_out(), "openvino", files)
    code = f"""
import os, sys
def hook(event, args):
    if event.startswith("socket."):
        os._exit(9)
sys.addaudithook(hook)
from pathlib import Path
from edgewise import targets
import numpy as np
for name, file in (("onnxruntime", {str(files / "original.onnx")!r}), ("openvino", {str(path)!r})):
    session = targets.session(name).load(Path(file), [])
    session.run({{"left": np.ones((1, 4), np.float32), "right": np.ones((1, 4), np.float32)}})
"""
    # This process was silenced by an import, and its children inherit the variable that did it.
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"HOME": str(home)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not any(home.rglob("*"))
