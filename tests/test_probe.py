"""The probe: one process that loads an artifact, answers all inputs, and tells how far it came."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.device.probe import probe
from edgewise.errors import DeviceError, InputError, ToolchainError
from edgewise.targets import exchange
from edgewise.targets.graph import spec
from models import normal, save, tiny_mlp, tiny_two_in_two_out

Arrays = dict[str, NDArray[Any]]
MLP = [{"x": normal(seed, 1, 8)} for seed in range(3)]


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    return save(tiny_mlp(), tmp_path / "model.onnx")


def reports(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def started(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the probe as somebody on a device does."""
    command = [sys.executable, "-m", "edgewise.device.probe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_input_gets_the_runtimes_own_answer(mlp: Path, tmp_path: Path) -> None:
    exchange.write(tmp_path / "in.npz", MLP)
    done = started("onnxruntime", mlp, tmp_path / "in.npz", tmp_path / "out.npz")
    session = onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"])
    assert done.returncode == 0, done.stderr
    answers = exchange.read(tmp_path / "out.npz")
    assert [list(answer) for answer in answers] == [["logits"]] * 3
    for sample, answer in zip(MLP, answers, strict=True):
        np.testing.assert_allclose(answer["logits"], session.run(None, sample)[0], atol=1e-6)


def test_it_tells_of_each_step_and_what_running_there_shows(mlp: Path, tmp_path: Path) -> None:
    exchange.write(tmp_path / "in.npz", MLP)
    told = reports(started("onnxruntime", mlp, tmp_path / "in.npz", tmp_path / "out.npz").stdout)
    assert [(step.get("loads", False), step.get("answered", 0)) for step in told] == [
        (False, 0),
        (True, 0),
        (True, 3),
    ]
    assert (told[-1]["runtime"], told[-1]["evidence"]) == (onnxruntime.__version__, "measured")


def test_answers_come_in_the_originals_order_where_it_is_given(tmp_path: Path) -> None:
    proto = tiny_two_in_two_out()
    path = save(proto, tmp_path / "model.onnx")
    (tmp_path / "o.json").write_bytes(msgspec.json.encode([spec(o) for o in reversed(proto.graph.output)]))
    exchange.write(tmp_path / "in.npz", [{"left": normal(1, 1, 4), "right": normal(2, 1, 4)}])
    done = started(
        "onnxruntime", path, tmp_path / "in.npz", tmp_path / "out.npz", "--outputs", tmp_path / "o.json"
    )
    assert done.returncode == 0, done.stderr
    assert list(exchange.read(tmp_path / "out.npz")[0]) == ["logits", "sum"]


def test_a_file_that_does_not_load_is_told_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("not a model")
    exchange.write(tmp_path / "in.npz", MLP)
    done = started("onnxruntime", tmp_path / "model.onnx", tmp_path / "in.npz", tmp_path / "out.npz")
    last = reports(done.stdout)[-1]
    assert done.returncode == DeviceError.exit_code
    assert "loads" not in last
    assert last["reason"].startswith(f"ONNX Runtime cannot load {tmp_path / 'model.onnx'}: ")
    assert done.stderr == f"edgewise: {last['reason']}\n"


def test_answers_before_the_one_that_fails_are_kept(mlp: Path) -> None:
    report, answers = probe("onnxruntime", mlp, (), [*MLP[:2], {"x": normal(1, 1, 7)}, MLP[2]])
    assert (report.loads, report.answered, len(answers)) == (True, 2, 2)
    assert report.reason is not None
    assert report.reason.startswith("failed on sample 2: ")


def test_nothing_is_claimed_where_the_runtime_is_missing(mlp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version() -> str:
        raise ToolchainError("onnxruntime is not installed")

    monkeypatch.setattr(targets.session("onnxruntime"), "version", version)
    report, answers = probe("onnxruntime", mlp, (), MLP)
    assert (report.evidence, report.reason, answers) == (Evidence.NONE, "onnxruntime is not installed", [])


def test_a_target_that_the_device_does_not_know_is_a_reason(mlp: Path) -> None:
    report, _ = probe("abacus", mlp, (), MLP)
    assert report.evidence is Evidence.NONE
    assert "unknown runtime 'abacus'" in (report.reason or "")


def test_what_a_runtime_prints_is_no_report(mlp: Path, tmp_path: Path) -> None:
    exchange.write(tmp_path / "in.npz", MLP)
    loud = f"""
import os, sys
from edgewise import targets
from edgewise.device import probe
module = targets.session("onnxruntime")
load = module.load
def noisy(*given, **named):
    print("printed"); os.write(1, b"written\\n")
    return load(*given, **named)
module.load = noisy
sys.exit(probe.main(["onnxruntime", {str(mlp)!r}, {str(tmp_path / "in.npz")!r}, {str(tmp_path / "o.npz")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", loud], capture_output=True, text=True, check=False)
    assert [step.get("answered", 0) for step in reports(done.stdout)] == [0, 0, 3]
    assert {"printed", "written"} <= set(done.stderr.split())


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"1/x": np.zeros(2)}, "not numbered 0 to 0"),
        ({"x": np.zeros(2)}, "cannot be read as .npz of <sample>/<name>"),
        ({"first/x": np.zeros(2)}, "cannot be read as .npz of <sample>/<name>"),
        ({"0/x": np.array([object()])}, "cannot be read as .npz of <sample>/<name>"),
    ],
)
def test_inputs_that_are_no_samples_are_refused(arrays: Arrays, reason: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=reason):
        exchange.read(tmp_path / "in.npz")


def test_a_missing_file_of_inputs_is_named_and_nothing_is_written(mlp: Path, tmp_path: Path) -> None:
    done = started("onnxruntime", mlp, tmp_path / "absent.npz", tmp_path / "out.npz")
    assert done.returncode == InputError.exit_code
    assert done.stderr.startswith(f"edgewise: {tmp_path / 'absent.npz'} cannot be read")
    assert not (tmp_path / "out.npz").exists()


def test_labels_among_the_inputs_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **{"0/x": np.zeros(2), "0/": np.array(1)})  # type: ignore[arg-type]
    assert [list(sample) for sample in exchange.read(tmp_path / "in.npz")] == [["x"]]


def test_text_crosses_without_pickle(tmp_path: Path) -> None:
    exchange.write(tmp_path / "out.npz", [{"label": np.array(["cat", "elephant"], object)}])
    assert exchange.read(tmp_path / "out.npz")[0]["label"].tolist() == ["cat", "elephant"]


def test_other_python_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0/x: an array of Python objects cannot be stored"):
        exchange.write(tmp_path / "out.npz", [{"x": np.array([{}], object)}])


def test_it_needs_nothing_of_the_lab() -> None:
    code = """
import sys
import edgewise.device.probe
print([name for name in sys.modules if name in ("onnx", "click", "edgewise.lab", "edgewise.targets.building")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
