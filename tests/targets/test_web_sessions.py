"""Sessions in a real Chromium: both engines answer as the original does, in its terms, and leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import webpage
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise import targets
from edgewise.bundle.canonical import digest_file
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError, InputError, ToolchainError
from edgewise.targets.browser.engines import DIGESTS, Engine, Package
from edgewise.targets.browser.page import Page
from edgewise.targets.browser.server import Server
from edgewise.targets.browser.session import BrowserSession
from edgewise.targets.building import Job, Original
from edgewise.targets.graph import spec
from edgewise.targets.litert_web.engine import ENGINE as LITERT
from edgewise.targets.onnxruntime_web.engine import ENGINE as ORT
from edgewise.targets.status import install, status
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

Arrays = dict[str, NDArray[Any]]
Load = Callable[..., BrowserSession]
TARGETS = ("onnxruntime-web", "litert-web")

pytestmark = pytest.mark.slow


def reference(proto: onnx.ModelProto, inputs: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, session.run(names, inputs), strict=True))


def specs(proto: onnx.ModelProto) -> list[TensorSpec]:
    return [spec(value) for value in proto.graph.output]


def built(proto: onnx.ModelProto, target: str, samples: Sequence[Arrays], folder: Path) -> Path:
    """Build the original for a target, as the lab does, and return its main file."""
    source = save(proto, folder / "original.onnx")
    places = {name: folder / name for name in ("folder", "work", "kept", "made")}
    for place in places.values():
        place.mkdir()

    def made(*_: object) -> Path:
        return Path(shutil.copyfile(source, places["made"] / "model.onnx"))

    targets.builder(target).build(
        Original(),
        Job(
            source,
            samples,
            places["folder"],
            places["work"],
            places["kept"],
            onnx=made,
            prepared=lambda: source,
        ),
    )
    return places["folder"] / targets.builder(target).MAIN


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """The engines, and onnx2tf, which makes the .tflite files."""
    with webpage.engines():
        install("litert")
        yield


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Return a function that builds a model and loads it; its sessions are closed after the test."""
    open_: list[BrowserSession] = []

    def loaded(proto: onnx.ModelProto, target: str, *samples: Arrays, **options: Any) -> BrowserSession:
        path = built(proto, target, samples, tmp_path)
        session = targets.session(target).load(path, options.pop("outputs", specs(proto)), **options)
        assert isinstance(session, BrowserSession)
        open_.append(session)
        return session

    yield loaded
    for session in open_:
        session.close()


def pair(seed: int = 0) -> Arrays:
    return {"left": normal(seed, 2, 4), "right": normal(seed + 1, 2, 4)}


@pytest.mark.parametrize("target", TARGETS)
def test_a_session_answers_as_the_original_does(target: str, load: Load) -> None:
    proto = tiny_cnn()
    samples = [{"image": normal(seed, 1, 3, 8, 8)} for seed in range(3)]
    session = load(proto, target, *samples, threads=1)
    for sample in samples:
        np.testing.assert_allclose(
            session.run(sample)["logits"], reference(proto, sample)["logits"], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threads", [0, 2])
def test_inputs_of_changing_length_and_64_bits_are_taken(target: str, threads: int, load: Load) -> None:
    proto = tiny_transformer()
    samples = [{"ids": np.arange(length, dtype=np.int64)[np.newaxis]} for length in (3, 7, 5, 3)]
    session = load(proto, target, *samples, threads=threads)
    for sample in samples:
        np.testing.assert_allclose(
            session.run(sample)["logits"], reference(proto, sample)["logits"], atol=1e-5
        )


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_may_vary_in_length_and_requests_may_repeat(target: str, load: Load) -> None:
    """LiteRT.js makes room for outputs before it knows how long they are, and keeps what a run has left behind."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["mixed"]),
        helper.make_node("Add", ["mixed", "rows"], ["y"]),
    ]
    weights = {"table": normal(1, 32, 8), "w": normal(2, 8, 8)}
    proto = model(nodes, [tensor("ids", ["n", "length"], INT64)], [tensor("y", ["n", "length", 8])], weights)
    samples = {length: {"ids": np.arange(length, dtype=np.int64)[np.newaxis] % 32} for length in (3, 7, 200)}
    session = load(proto, target, *samples.values())
    for length in (3, 7, 7, 3, 200, 200, 200, 3, 3, 7, 200):
        answer = session.run(samples[length])["y"]
        assert answer.shape == (1, length, 8)
        np.testing.assert_allclose(answer, reference(proto, samples[length])["y"], atol=1e-5)


def test_an_output_that_litert_has_no_room_for_is_refused(load: Load) -> None:
    node = helper.make_node("Concat", ["x", "x", "x"], ["y"], axis=1)
    proto = model([node], [tensor("x", [1, "n"])], [tensor("y", [1, "m"])])
    samples = [{"x": normal(1, 1, length)} for length in (4, 6)]
    with pytest.raises(DeviceError, match="longer than any side of the inputs"):
        load(proto, "litert-web", *samples).run(samples[0])


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_come_by_the_originals_names_in_the_order_asked_for(target: str, load: Load) -> None:
    proto = tiny_two_in_two_out()
    session = load(proto, target, pair(), outputs=specs(proto)[::-1])
    wanted = reference(proto, pair())
    for inputs in (pair(), dict(reversed(pair().items()))):
        answer = session.run(inputs)
        assert list(answer) == ["logits", "sum"]
        for name in answer:
            np.testing.assert_allclose(answer[name], wanted[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_that_a_tool_renamed_are_found_by_position(target: str, load: Load) -> None:
    asked = [TensorSpec("first", "float32", (None, 4)), TensorSpec("second", "float32", (None, 2))]
    session = load(tiny_two_in_two_out(), target, pair(), outputs=asked)
    assert {name: value.shape for name, value in session.run(pair()).items()} == {
        "first": (2, 4),
        "second": (2, 2),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_that_are_not_there_are_refused(target: str, load: Load) -> None:
    with pytest.raises(DeviceError, match="expected other"):
        load(tiny_two_in_two_out(), target, pair(), outputs=[TensorSpec("other", "float32", (None,))])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (INT64, np.array([0, 2**40, -2])),
        (TensorProto.INT32, np.array([0, 7, -2], np.int32)),
        (TensorProto.BOOL, np.array([False, True, True])),
        (TensorProto.FLOAT16, np.array([0, 1.5, -65504], np.float16)),
        (TensorProto.DOUBLE, np.array([0, 1.5, -2], np.float64)),
        (TensorProto.UINT8, np.array([0, 200, 3], np.uint8)),
        (TensorProto.STRING, np.array(["", "é", "日本語"], object)),
        (FLOAT, np.asfortranarray(np.array([0, np.nan, np.inf], np.float32))),
    ],
)
def test_arrays_of_every_type_pass_through_a_page(kind: int, values: NDArray[Any], load: Load) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    proto = model([node], [tensor("x", ["n"], kind)], [tensor("y", ["n"], kind)])
    answer = load(proto, "onnxruntime-web").run({"x": values})["y"]
    np.testing.assert_array_equal(answer, values.astype(str) if values.dtype.hasobject else values)
    assert answer.dtype.kind == ("U" if values.dtype.hasobject else values.dtype.kind)


def test_a_single_number_and_an_empty_array_pass_through_a_page(load: Load) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Identity", ["e"], ["f"])]
    proto = model(nodes, [tensor("x", []), tensor("e", ["n", 2])], [tensor("y", []), tensor("f", ["n", 2])])
    answer = load(proto, "onnxruntime-web").run(
        {"x": np.array(2.5, np.float32), "e": np.zeros((0, 2), np.float32)}
    )
    assert (answer["y"].shape, answer["y"].item(), answer["f"].shape) == ((), -2.5, (0, 2))


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_of_another_shape_is_refused_and_the_session_lives_on(target: str, load: Load) -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", [1, 4])],
        [tensor("y", [1, 2])],
        {"w": normal(1, 4, 2)},
    )
    good = {"x": normal(2, 1, 4)}
    session = load(proto, target, good)
    with pytest.raises(DeviceError):
        session.run({"x": normal(2, 1, 5)})
    np.testing.assert_allclose(session.run(good)["y"], reference(proto, good)["y"], rtol=1e-5)


def test_weights_beside_an_onnx_file_are_found(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", [1, 64])],
        [tensor("y", [1, 64])],
        {"w": normal(1, 64, 64)},
    )
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    assert (tmp_path / "model.onnx.data").stat().st_size == 64 * 64 * 4
    session = targets.session("onnxruntime-web").load(path, [])
    inputs = {"x": normal(2, 1, 64)}
    np.testing.assert_allclose(
        session.run(inputs)["y"], onnxruntime.InferenceSession(path).run(None, inputs)[0], rtol=1e-4
    )
    session.close()


def test_an_input_that_became_a_constant_takes_that_value_only(load: Load) -> None:
    """As in silero-vad: the converter cannot keep the `If`, since its branches want other shapes."""
    branch = [
        helper.make_graph([helper.make_node("Mul", ["x", "w"], [name])], name, [], [tensor(name, [1, 2])])
        for name in ("then", "else")
    ]
    nodes = [
        helper.make_node("Equal", ["rate", "known"], ["same"]),
        helper.make_node("If", ["same"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    proto = model(
        nodes,
        [tensor("x", [1, 2]), tensor("rate", [], INT64)],
        [tensor("y", [1, 2])],
        {"known": np.array(16000), "w": normal(1, 1, 2)},
    )
    inputs = {"x": normal(1, 1, 2), "rate": np.array(16000)}
    session = load(proto, "litert-web", inputs)
    np.testing.assert_allclose(session.run(inputs)["y"], reference(proto, inputs)["y"], rtol=1e-6)
    with pytest.raises(DeviceError, match="rate = 16000 only"):
        session.run(inputs | {"rate": np.array(8000)})


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_cannot_be_read_is_named(target: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_text("not a model")
    for path in (broken, tmp_path / "absent.bin"):
        with pytest.raises(DeviceError, match=re.escape(f"{target} cannot load {path}")) as caught:
            targets.session(target).load(path, [])
        assert "\n" not in str(caught.value)


def test_times_and_memory_are_those_of_the_page(load: Load) -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", ["n", 512])],
        [tensor("y", ["n", 512])],
        {"w": normal(1, 512, 512)},
    )
    session = load(proto, "onnxruntime-web", threads=1)
    big, small = {"x": normal(2, 2000, 512)}, {"x": normal(2, 1, 512)}
    for inputs in (big, small):
        session.run(inputs)
    start = time.perf_counter()
    slow = targets.timed(session, big)
    wall = (time.perf_counter() - start) * 1e3
    assert session.last_ms == slow < wall
    assert 0 < targets.timed(session, small) < slow
    assert isinstance(session, targets.Remote)
    assert session.load_ms > 0
    assert 2000 * 512 * 4 < session.peak() < 2**30


def test_versions_of_npm_engine_and_browser_are_recorded(load: Load) -> None:
    session = load(tiny_mlp(), "onnxruntime-web")
    assert re.fullmatch(
        r"onnxruntime-web@1\.30\.0, calls itself onnxruntime-web \d+\.\d+\.\d+\S*, in (Chromium|Google Chrome) [\d.]+",
        session.version,
    )
    assert re.fullmatch(
        r"1\.30\.0 in (Chromium|Google Chrome) [\d.]+", targets.session("onnxruntime-web").version()
    )


def test_several_threads_may_run_one_session_and_a_closed_one_says_so(load: Load) -> None:
    proto = tiny_two_in_two_out()
    session = load(proto, "onnxruntime-web")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seed: session.run(pair(seed)), range(12)))
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer["sum"], reference(proto, pair(seed))["sum"], rtol=1e-5, atol=1e-6)
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run(pair())


def browsers(profile: str) -> int:
    """Count this user's processes whose command line names a profile."""
    found = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += profile.encode() in file.read_bytes()
        except OSError:  # it ended
            continue
    return found


def test_a_process_that_ends_takes_its_browser_with_it(tmp_path: Path) -> None:
    path = save(tiny_mlp(), tmp_path / "model.onnx")
    code = f"""
import os, sys
from pathlib import Path
from edgewise import targets
session = targets.session("onnxruntime-web").load(Path({str(path)!r}), [])
os.kill(os.getpid(), 9)
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    until = time.monotonic() + 20
    while browsers(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.2)
    assert browsers(str(tmp_path)) == 0


def test_a_browser_that_dies_is_an_error_and_not_a_hang(load: Load) -> None:
    session = load(tiny_mlp(), "onnxruntime-web")
    with pytest.raises(DeviceError, match="the page is gone"):
        session._ask(lambda page: (page._browser.close(), page.ask("run", names=[])))


def test_a_page_reaches_no_name_of_any_host(load: Load) -> None:
    """Addresses are not looked up, so nothing that a page or Chromium itself asks for leaves this machine."""
    session = load(tiny_mlp(), "onnxruntime-web")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(3)
        port = listener.getsockname()[1]

        def ask(page: Page, host: str) -> None:
            page._page.evaluate(
                "(url) => { fetch(url, { mode: 'no-cors' }).catch(() => 0); }", f"http://{host}:{port}/"
            )

        session._ask(lambda page: ask(page, "localhost"))
        with pytest.raises(TimeoutError):
            listener.accept()
        session._ask(lambda page: ask(page, "127.0.0.1"))
        listener.accept()[0].close()


def test_webgpu_answers_on_a_gpu_in_software(load: Load) -> None:
    proto = tiny_cnn()
    inputs = {"image": normal(1, 1, 3, 8, 8)}
    session = load(proto, "onnxruntime-web", inputs, settings={"provider": "webgpu"})
    np.testing.assert_allclose(
        session.run(inputs)["logits"], reference(proto, inputs)["logits"], rtol=1e-4, atol=1e-5
    )
    assert "WebGPU" in session.reason


def convolution(*shape: int, channels: int, **attributes: Any) -> onnx.ModelProto:
    """x (1, channels, 7) → logits, by weights of this shape."""
    node = helper.make_node("Conv", ["x", "w"], ["logits"], **attributes)
    outputs = [tensor("logits", (1, shape[0], None))]
    return model([node], [tensor("x", (1, channels, 7))], outputs, {"w": normal(1, *shape)})


def in_a_branch(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the convolution as the branch of an If, its weights constants of int8."""
    weights = np.round(20 * numpy_helper.to_array(proto.graph.initializer[0])).astype(np.int8)
    nodes = [
        helper.make_node("Constant", [], ["stored"], value=numpy_helper.from_array(weights)),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.float32(0.05))),
        helper.make_node("DequantizeLinear", ["stored", "scale"], ["w"]),
        *proto.graph.node,
    ]
    branch = helper.make_graph(nodes, "branch", [], proto.graph.output)
    node = helper.make_node("If", ["yes"], ["logits"], then_branch=branch, else_branch=branch)
    return model([node], proto.graph.input, proto.graph.output, {"yes": np.array([True])})


@pytest.mark.parametrize(
    ("proto", "first"),
    [
        (convolution(8, 9, 3, channels=9, pads=[1, 1]), True),
        (convolution(8, 8, 3, channels=8, pads=[1, 1]), False),
        (convolution(4, 6, 1, channels=6, strides=[2]), True),
        (convolution(4, 6, 1, channels=6), False),
        (convolution(12, 2, 3, channels=4, group=2), True),
        (convolution(8, 2, 3, channels=4, group=2), False),
        (in_a_branch(convolution(8, 9, 3, channels=9)), True),
    ],
    ids=["threes", "fours", "stride", "product", "groups of 6", "groups of 4", "branch"],
)
def test_webgpu_convolves_any_number_of_channels(proto: onnx.ModelProto, first: bool, load: Load) -> None:
    """Channels last, ONNX Runtime Web 1.30.0 answers the cases of True wrongly: see onnx.js of the client."""
    inputs = {"x": normal(0, 1, proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value, 7)}
    session = load(proto, "onnxruntime-web", inputs, settings={"provider": "webgpu"})
    np.testing.assert_allclose(
        session.run(inputs)["logits"], reference(proto, inputs)["logits"], rtol=1e-4, atol=1e-5
    )
    assert session.reason.endswith("channels first") is first


def test_litert_answers_on_a_gpu_in_software(load: Load) -> None:
    proto = tiny_cnn()
    inputs = {"image": normal(1, 1, 3, 8, 8)}
    session = load(proto, "litert-web", inputs, settings={"provider": "webgpu"})
    np.testing.assert_allclose(
        session.run(inputs)["logits"], reference(proto, inputs)["logits"], rtol=1e-4, atol=1e-5
    )


def test_a_provider_that_does_not_exist_is_refused(load: Load) -> None:
    with pytest.raises(InputError, match="wasm, webgpu"):
        load(tiny_mlp(), "onnxruntime-web", settings={"provider": "webnn"})


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_missing_is_named_with_its_command(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = targets.session(target)
    monkeypatch.setenv("EDGEWISE_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(ToolchainError, match="EDGEWISE_CHROMIUM"):
        module.version()
    monkeypatch.delenv("EDGEWISE_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt-get install chromium"):
        module.version()
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    with pytest.raises(ToolchainError, match=f"Run: edgewise targets --install {target}"):
        module.version()
    with pytest.raises(ToolchainError, match="npm is not installed"):
        install(target)
    monkeypatch.setitem(sys.modules, "playwright", None)
    assert any("pip install 'edgewise[web]'" in line for line in status(target).missing)


def test_a_package_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    pinned = LITERT.packages[1]
    other = Package(pinned.name, pinned.version, ORT.packages[0].integrity, pinned.files)
    with pytest.raises(ToolchainError, match=r"another @litertjs/wasm-utils.* than the one that was pinned"):
        Engine("other", (other,), {}).toolchain.install()
    assert list((tmp_path / "toolchains" / "other").iterdir()) == []


def test_an_engines_files_are_recorded_with_their_digests() -> None:
    for engine in (ORT, LITERT):
        folder = engine.toolchain.path()
        record = json.loads((folder / DIGESTS).read_text())
        assert record["packages"] == {one.pin: one.integrity for one in engine.packages}
        assert record["files"] == {name: digest_file(folder / name) for name in record["files"]}
        assert set(engine.imports.values()) <= set(record["files"])


def test_a_server_gives_its_files_to_those_who_know_its_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("inside")
    (tmp_path / "out.txt").write_text("outside")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out.txt")
    server = Server({"files": tmp_path / "in"}, {"index.html": b"<p>"})

    def get(path: str) -> int | bytes:
        try:
            with urllib.request.urlopen(path) as answer:
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.code

    root = server.url.removesuffix(f"{server.secret}/")
    assert get(f"{server.url}files/a.txt") == b"inside"
    assert get(f"{server.url}index.html") == b"<p>"
    for path in (
        "files/../out.txt",
        "files/%2e%2e/out.txt",
        "files/link",
        "files/",
        "files",
        "other/a.txt",
        "",
    ):
        assert get(server.url + path) == 404
    for path in ("", "files/a.txt", "x/files/a.txt", f"{server.secret}x/files/a.txt"):
        assert get(root + path) == 404
    assert server.url.startswith("http://127.0.0.1:")
    server.close()
