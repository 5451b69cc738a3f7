"""A .tflite that the user brings is run, quantized, measured and shipped: LiteRT is its runtime from end to end."""

from pathlib import Path

import click.testing
import msgspec
import numpy as np
import pytest

import edgewise
from edgewise import targets
from edgewise.cli import cli
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import config, plan
from edgewise.lab.compress import apply
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.model import take
from edgewise.targets.building import Method, Original
from edgewise.targets.litert import toolchain
from edgewise.targets.litert.build import LiteRtInt4, LiteRtStatic16
from edgewise.targets.status import status
from projects import digits


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits project, whose model is a .tflite."""
    toolchain.install()
    folder = tmp_path_factory.mktemp("digits")
    path = digits(folder)
    with np.load(folder / "samples.npz") as samples:
        calibration = [{"x": samples["x"][:1]}]
    (folder / "made").mkdir()
    made = apply.build(Candidate(Original(), "litert"), folder / "model.onnx", calibration, folder / "made")
    made.files["model.tflite"].rename(folder / "model.tflite")
    (folder / "model.onnx").unlink()
    path.write_text(path.read_text().replace("model.onnx", "model.tflite"))
    return path


@pytest.fixture(scope="module")
def build(project: Path, tmp_path_factory: pytest.TempPathFactory) -> edgewise.Build:
    return edgewise.build(project, out=tmp_path_factory.mktemp("out") / "out")


def test_it_is_what_its_signature_says(project: Path) -> None:
    model = take(project.parent / "model.tflite")
    assert (model.format, model.runtime) == ("tflite", "litert")
    assert [(one.name, one.dtype, one.shape) for one in model.inputs] == [("x", "float32", (1, 64))]
    assert [one.name for one in model.outputs] == ["probabilities"]
    assert model.size == (project.parent / "model.tflite").stat().st_size


def test_the_original_runs_in_litert_and_everything_else_is_made_from_it(build: edgewise.Build) -> None:
    rows = build.result.candidates
    assert {row.target for row in rows} == {"litert"}
    assert rows[0].id == "original"
    failed = {row.id: row.reason or "" for row in rows if row.status == "failed"}
    assert all("nothing to spare" in why for why in failed.values()), failed
    assert {"fp16", "int8", "int8 weights"} <= {row.precision for row in rows if row.artifact}
    smaller = [row for row in rows if row.precision == "int8" and row.artifact]
    assert all(row.figures["size"].value < rows[0].figures["size"].value for row in smaller)  # type: ignore[operator]
    assert all(row.figures["p50"].value for row in rows if row.holds_floor)


def test_the_bundle_answers_as_the_original_does(build: edgewise.Build, project: Path) -> None:
    with np.load(project.parent / "samples.npz") as samples:
        images, labels = samples["x"][:200], samples["labels"][:200]
    with edgewise.open(build.path) as model:
        found = [np.argmax(model({"x": image[None]}).outputs["probabilities"]) for image in images]
    assert np.mean(np.array(found) == labels) >= 0.85
    assert build.result.tiers[0].goals[0].verdict == "met"


def test_the_report_names_litert_as_what_everything_is_compared_with(build: edgewise.Build) -> None:
    page = (build.report.parent / "report.md").read_text()
    assert "original in LiteRT, default options" in page
    assert "ONNX Runtime" not in page


@pytest.mark.parametrize("method", [LiteRtInt4(), LiteRtStatic16()], ids=lambda method: method.precision)
def test_what_is_not_tried_first_is_made_from_it_too(method: Method, project: Path, tmp_path: Path) -> None:
    source = project.parent / "model.tflite"
    with np.load(project.parent / "samples.npz") as samples:
        calibration = [{"x": row[np.newaxis]} for row in samples["x"][:20]]
    made = apply.build(Candidate(method, "litert"), source, calibration, tmp_path)
    assert made.artifact.size < source.stat().st_size
    assert targets.builder("litert").operators(made.files["model.tflite"]).quantized == 2


def test_targets_that_start_from_onnx_are_left_out_with_the_reason(project: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[[tier]]\nname = "all"\nshare = 1.0\nruntimes = ["onnxruntime", "litert"]\n')
    whole = project.with_name("whole.toml")
    whole.write_text(project.read_text() + f'[fleet]\nfile = "{fleet}"\n')
    found = plan.prepare(config.load(whole))
    assert found.targets == ("litert",)
    assert "onnxruntime was not tried: it is built from ONNX, and the model is a .tflite" in found.notes


def test_without_litert_the_command_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = msgspec.structs.replace(status("litert"), missing=("run: pip install 'edgewise[litert]'",))
    monkeypatch.setattr(plan, "status", lambda name: lacking)
    with pytest.raises(ToolchainError, match=r"runs in litert: run: pip install"):
        plan.prepare(config.load(project))


@pytest.mark.parametrize("kept", [0, 20, 1000])
def test_a_broken_file_is_refused_by_name(project: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes((project.parent / "model.tflite").read_bytes()[:kept])
    with pytest.raises(InputError, match=r"broken\.tflite"):
        take(path)


def test_inspect_says_that_it_needs_onnx(project: Path) -> None:
    done = click.testing.CliRunner().invoke(cli, ["inspect", str(project.parent / "model.tflite")])
    assert isinstance(done.exception, InputError)
    assert "only `edgewise build` takes one" in str(done.exception)
