"""The device side on ARM64 Linux, in QEMU: released aarch64 wheels load and answer as on this machine.

Installs the emulation into the cache of whoever runs it, where it is kept, unlike that of other tests.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import bundles
import guarded
from conftest import Command
from edgewise import targets
from edgewise.bundle import golden
from edgewise.bundle.evidence import Evidence
from edgewise.cache import default_folder
from edgewise.lab.compress.apply import build
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.jobs import JobError
from edgewise.lab.places import arm64
from edgewise.lab.places.place import HERE, PythonPlace
from edgewise.targets import Tensors
from edgewise.targets.building import Method, Original
from edgewise.targets.graph import spec
from edgewise.targets.onnxruntime.build import DynamicInt8, StaticInt8
from edgewise.targets.status import install
from models import normal, save, tiny_cnn, tiny_mlp, tiny_transformer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.system() != "Linux", reason="QEMU's user emulation is for Linux"),
]

CACHE = default_folder()  # read before the tests get a cache of their own
SAMPLES = 40
HAS_DOT_PRODUCT = 1 << 20  # HWCAP_ASIMDDP of Linux on arm64


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWISE_CACHE", str(CACHE))
        arm64.toolchain().install()
        yield


@pytest.fixture(params=arm64.CPUS)
def place(request: pytest.FixtureRequest) -> PythonPlace:
    return arm64.emulated(request.param)


@pytest.fixture
def one() -> PythonPlace:
    """One processor, where it does not matter which."""
    return arm64.emulated(arm64.CPUS[0])


def test_the_command_that_is_named_where_it_is_missing_installs_it(command: Command) -> None:
    said = command("targets", "--install", "arm64")
    assert (said.code, said.err) == (0, "")
    assert Path(said.out.removeprefix("arm64: ").strip(), "pins.json").is_file()


def images() -> list[Tensors]:
    return [{"image": normal(seed, 1, 3, 8, 8)} for seed in range(SAMPLES)]


def texts() -> list[Tensors]:
    random = np.random.default_rng(0)
    return [{"ids": random.integers(0, 32, (1, 3 + number % 7))} for number in range(SAMPLES)]


@pytest.mark.parametrize(
    ("proto", "inputs"),
    [
        pytest.param(tiny_cnn(), images(), id="cnn"),
        pytest.param(tiny_transformer(), texts(), id="transformer of any length"),
    ],
)
@pytest.mark.parametrize("method", [Original(), DynamicInt8(), StaticInt8()], ids=lambda m: type(m).__name__)
def test_an_artifact_answers_on_arm64_as_here(
    proto: onnx.ModelProto, inputs: list[Tensors], method: Method, place: PythonPlace, tmp_path: Path
) -> None:
    source = save(proto, tmp_path / "source.onnx")
    folder = tmp_path / "artifact"
    folder.mkdir()
    main = build(Candidate(method, "onnxruntime"), source, inputs[:8], folder).files["model.onnx"]
    outputs = [spec(output) for output in proto.graph.output]
    there = place.run("onnxruntime", main, outputs, inputs)
    here = HERE.run("onnxruntime", main, outputs, inputs)
    assert there.report.reason is None
    assert (there.report.platform, there.report.evidence) == ("linux-arm64", Evidence.EMULATED)
    assert there.report.runtime == onnxruntime.__version__
    difference = golden.compare(here.answers, there.answers)
    assert difference.cases == SAMPLES
    assert difference.max_rel <= 1e-5
    assert difference.agreement == 1


@pytest.mark.parametrize(
    ("proto", "inputs"),
    [
        pytest.param(tiny_cnn(), images(), id="cnn"),
        pytest.param(tiny_transformer(), texts(), id="transformer of any length"),
    ],
)
@pytest.mark.skipif("litert" not in targets.names(), reason="this edgewise has no LiteRT")
def test_a_litert_file_answers_on_arm64_as_here(
    proto: onnx.ModelProto, inputs: list[Tensors], place: PythonPlace, tmp_path: Path
) -> None:
    install("litert")
    source = save(proto, tmp_path / "source.onnx")
    folder = tmp_path / "artifact"
    folder.mkdir()
    main = build(Candidate(Original(), "litert"), source, inputs[:8], folder).files["model.tflite"]
    outputs = [spec(output) for output in proto.graph.output]
    there, here = (where.run("litert", main, outputs, inputs) for where in (place, HERE))
    assert (there.report.reason, there.report.evidence) == (None, Evidence.EMULATED)
    assert there.report.runtime == here.report.runtime
    assert golden.compare(here.answers, there.answers).max_rel <= 1e-5


def test_the_processor_is_the_one_that_was_named() -> None:
    code = f"import ctypes; print(bool(ctypes.CDLL(None).getauxval(16) & {HAS_DOT_PRODUCT}))"
    found = {}
    for cpu in arm64.CPUS:
        place = arm64.emulated(cpu)
        command = [*place.python, "-c", code]
        found[cpu] = subprocess.run(
            command, env=place.environment, capture_output=True, text=True, check=True
        )
    assert {cpu: done.stdout for cpu, done in found.items()} == {
        "cortex-a53": "False\n",
        "cortex-a76": "True\n",
    }


def test_a_file_that_does_not_load_there_is_a_result_with_a_reason(one: PythonPlace, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("not a model")
    report = one.run("onnxruntime", tmp_path / "model.onnx", (), [{"x": normal(1, 1, 8)}]).report
    assert (report.loads, report.answered) == (False, 0)
    assert (report.reason or "").startswith("ONNX Runtime cannot load ")


def test_a_target_without_a_runtime_there_has_no_evidence(one: PythonPlace, tmp_path: Path) -> None:
    path = save(tiny_mlp(), tmp_path / "model.onnx")
    report = one.run("openvino", path, (), [{"x": normal(1, 1, 8)}]).report
    assert report.evidence is Evidence.NONE
    assert (report.reason or "").startswith("openvino is not installed")


def test_a_bundle_is_verified_on_arm64_from_raw_text_to_the_answer(
    place: PythonPlace, tmp_path: Path
) -> None:
    checked = place.verify(bundles.text(tmp_path / "b"))
    assert checked["preprocessing"] == "same tensors as in the lab for 1 raw input"
    assert [(found["variant"], found["ran"]) for found in checked["variants"]] == [("onnxruntime", True)]


def test_a_picture_is_read_on_arm64_as_in_the_lab(one: PythonPlace, tmp_path: Path) -> None:
    checked = one.verify(bundles.picture(tmp_path / "b"))
    assert checked["preprocessing"] == "same tensors as in the lab for 1 raw input"


def test_an_altered_bundle_is_refused_on_arm64(one: PythonPlace, tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path / "b")
    model = next(bundle.rglob("model.onnx"))
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(JobError, match=r"cortex-a53: .* exit code 4: .*model.onnx was changed"):
        one.verify(bundle)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the guard knows this machine's system calls only")
def test_running_there_opens_no_socket_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    path = save(tiny_mlp(), tmp_path / "model.onnx")
    code = f"""
import numpy as np
from pathlib import Path
from edgewise.lab.places import arm64
place = arm64.emulated("cortex-a53")
report = place.run("onnxruntime", Path({str(path)!r}), (), [{{"x": np.zeros((1, 8), np.float32)}}]).report
raise SystemExit(report.reason)
"""
    cache = {"EDGEWISE_CACHE": os.environ["EDGEWISE_CACHE"]}
    run = guarded.run(tmp_path, sys.executable, "-c", code, environment=cache)
    assert (run.code, run.err, run.log, list(run.home.rglob("*"))) == (0, "", "", [])
