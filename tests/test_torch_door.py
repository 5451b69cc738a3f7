"""What torch made, where torch is not: the door says what to install, and the lab needs none of it to be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Command
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import config
from edgewise.lab.model import export_torch, take
from edgewise.lab.model.torch_program import bringing, exporting
from projects import Project

EXTRA = r"torch is not installed\. Run: pip install 'edgewise\[torch\]'"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bringing, exporting):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "torch" else object())


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize("name", ["model.pt2", "net.py:make"])
def test_without_torch_the_extra_that_brings_it_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=EXTRA):
        take(tmp_path / name)


@pytest.mark.usefixtures("without_torch")
def test_export_torch_without_torch_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=EXTRA):
        export_torch(None, None, tmp_path / "model.onnx")


@pytest.mark.usefixtures("without_torch", "tidy")
def test_a_build_from_a_program_without_torch_ends_with_3(project: Project, command: Command) -> None:
    project.write("model.pt2", "")
    project.set('path = "model.onnx"', 'path = "model.pt2"')
    assert command("build", project.config).code == 3


def test_the_lab_and_the_door_are_imported_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import edgewise.facade, edgewise.lab.model"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_function_for_a_model_is_named_by_its_file(project: Project) -> None:
    project.write("net.py", "")
    project.set('path = "model.onnx"', 'path = "net.py:make"')
    read = config.load(project.config)
    assert (read.name, read.model.name) == ("net", "net.py:make")


def test_a_function_in_a_file_that_is_missing_is_named_with_its_key(project: Project) -> None:
    project.set('path = "model.onnx"', 'path = "nett.py:make"')
    with pytest.raises(InputError, match=r"line 2, model\.path: .*nett\.py does not exist"):
        config.load(project.config)


@pytest.mark.parametrize("name", ["gone.pt2", "gone.py:make"])
def test_a_model_that_is_not_there_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "find_spec", lambda _: object())
    with pytest.raises(InputError, match="is not a file: check the path"):
        take(tmp_path / name)
