"""The door: targets are found by entry point, say what they can do here, and a third party's builds bundles."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bundles
from conftest import Command
from edgewise import report, targets
from edgewise.bundle import store
from edgewise.bundle.evidence import Evidence
from edgewise.device.runner import open_bundle
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets.building import Original
from edgewise.targets.status import install, status
from edgewise.targets.toolchains import Toolchain
from projects import Project

DOCS = Path(__file__).parents[1] / "docs" / "targets.md"
FLEET = """\
[[tier]]
name = "laptop"
share = 0.5
machine = "this"
[[tier]]
name = "phone"
share = 0.5
platform = "android-arm64"
runtimes = ["onnx-reference"]
"""


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target of docs/targets.md, installed as pip would: a package and its entry point."""
    site = tmp_path_factory.mktemp("site")
    (site / "onnx_reference").mkdir()
    (site / "onnx_reference" / "__init__.py").touch()
    for name, code in re.findall(
        r"`(onnx_reference/\w+\.py)`:\n\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL
    ):
        (site / name).write_text(code)
    points = re.search(
        r"```toml\n\[project\.entry-points\.\"edgewise\.targets\"\]\n(.*?)```", DOCS.read_text(), re.DOTALL
    )
    assert points
    info = site / "onnx_reference-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx-reference\nVersion: 1.0\n")
    line = points.group(1).replace('"', "")
    (info / "entry_points.txt").write_text(f"[edgewise.targets]\n{line}")
    return site


def test_the_built_in_targets_come_through_the_door() -> None:
    assert {"onnxruntime", "openvino"} <= set(targets.names())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_target_says_versions_precisions_and_evidence(name: str) -> None:
    found = status(name)
    assert found.missing == ()
    assert found.runtime
    assert found.toolchain
    assert {"fp32", "fp16", "int8"} <= set(found.precisions)
    assert found.evidence is Evidence.MEASURED


def test_a_missing_runtime_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = status("openvino")
    assert found.runtime is None
    assert found.evidence is Evidence.NONE
    assert any("pip install 'edgewise[openvino]'" in line for line in found.missing)


def test_a_target_with_nothing_to_make_says_so() -> None:
    with pytest.raises(InputError, match="needs nothing but Python packages"):
        install("onnxruntime")


def test_an_unknown_target_names_the_known() -> None:
    with pytest.raises(InputError, match=r"known are .*onnxruntime"):
        install("tensorrt")


def test_a_toolchain_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "half").touch()
        if len(made) == 1:
            raise ToolchainError("the registry is out of reach")

    chain = Toolchain("converter", ("converter 1.0",), make)
    with pytest.raises(ToolchainError, match="out of reach"):
        chain.install()
    with pytest.raises(ToolchainError, match="edgewise targets --install converter"):
        chain.path()
    assert chain.install() == chain.install() == chain.path()
    assert len(made) == 2
    assert [path.name for path in (tmp_path / "toolchains" / "converter").iterdir()] == [chain.folder.name]


def test_other_pins_are_another_toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    Toolchain("converter", ("converter 1.0",), lambda folder: None).install()
    with pytest.raises(ToolchainError):
        Toolchain("converter", ("converter 2.0",), lambda folder: None).path()


def test_the_verb_lists_targets_with_their_evidence(command: Command) -> None:
    assert "figures from here are: measured" in command("targets").out


@pytest.fixture
def installed(third_party: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process, and the workers it starts, find the third party's target."""
    monkeypatch.syspath_prepend(third_party)
    monkeypatch.setenv("PYTHONPATH", str(third_party))
    targets.names.cache_clear()
    yield
    targets.names.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_third_partys_target_is_listed(command: Command) -> None:
    found = {one["name"]: one for one in json.loads(command("targets", "--json").out)}
    assert found["onnx-reference"]["evidence"] == "emulated"
    assert found["onnx-reference"]["precisions"] == ["fp32"]


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_a_third_partys_target_builds_a_bundle_that_verifies_and_claims_no_speed(
    project: Project, only: Callable[..., None], tmp_path: Path, command: Command
) -> None:
    project.write("fleet.toml", FLEET)
    only(Candidate(Original(), "onnxruntime"), Candidate(Original(), "onnx-reference"))
    said = command("build", project.config, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    manifest = store.read(tmp_path / "out" / "bundle").manifest
    phone = next(tier for tier in manifest.tiers if tier.name == "phone")
    assert phone.variant == "onnx-reference/original"
    assert phone.verdicts == {
        "quality": "met",
        "size": "met",
        "latency_p95": "not assessed",
    }
    variant = next(one for one in manifest.models[0].variants if one.id == phone.variant)
    assert variant.figures["quality"].evidence is Evidence.EMULATED
    assert variant.figures["p50"].evidence is Evidence.NONE
    assert "onnx-reference/original: golden answers" in command("verify", tmp_path / "out" / "bundle").out


@pytest.mark.slow
def test_a_missing_toolchain_is_named_with_its_command_and_the_build_goes_on(
    project: Project, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> str:
        raise ToolchainError("nncf is not installed. Run: pip install 'edgewise[lab]'")

    monkeypatch.setattr(targets.builder("openvino"), "toolchain", lacking)
    said = command("build", project.config, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    result = report.read(tmp_path / "out" / "report.json")
    assert "openvino was not tried: nncf is not installed. Run: pip install 'edgewise[lab]'" in result.notes
    assert {row.target for row in result.candidates} == {"onnxruntime"}


@pytest.mark.usefixtures("installed")
def test_an_emulator_serves_a_device_only_where_its_tier_is_named(tmp_path: Path) -> None:
    tiers = [bundles.tier("all", "onnx-reference")]
    path = bundles.write(tmp_path / "bundle", runtimes=["onnx-reference", "onnxruntime"], tiers=tiers)
    with open_bundle(path) as model:
        assert model.variant.id == "onnxruntime"
        assert (
            model.reason
            == "the runtime of tier 'all', onnx-reference, is not what this machine itself runs; this variant runs here"
        )
    with open_bundle(path, tier="all") as model:
        assert model.variant.id == "onnx-reference"
