"""The wheel, installed with its base dependencies alone, opens and runs a bundle."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import bundles
from edgewise.facade import Build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LAB = ("onnx", "openvino", "nncf", "sklearn", "jinja2", "matplotlib", "rich", "psutil", "tokenizers", "PIL")


def said(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside the repository and without what the tests set; return what it printed."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("dist")
    done = said(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and what it depends on; its programs' folder."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    done = said(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    assert done.returncode == 0, done.stderr[-2000:]
    return programs


def test_the_wheel_holds_the_package_with_its_data_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
    package = ROOT / "src"
    tracked = {
        path.relative_to(package).as_posix()
        for path in (package / "edgewise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(names) == tracked


def test_the_base_install_has_nothing_of_the_lab(clean: Path) -> None:
    code = f"from importlib.util import find_spec; print([n for n in {LAB!r} if find_spec(n)])"
    assert said(clean / "python", "-c", code).stdout == "[]\n"


def test_the_base_install_opens_and_runs_a_bundle(clean: Path, built: Build) -> None:
    code = f"""
import edgewise, numpy as np
with edgewise.open({str(built.path)!r}) as model:
    answer = model({{"x": np.zeros((1, 64), np.float32)}})
print(answer.route, answer.outputs["probabilities"].shape)
"""
    done = said(clean / "python", "-c", code)
    assert (done.stdout, done.stderr) == ("device (1, 10)\n", "")


def test_the_base_install_verifies_a_signed_bundle(clean: Path, built: Build) -> None:
    done = said(clean / "edgewise", "verify", built.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signing: development" in done.stdout


@pytest.mark.parametrize("code", ["edgewise.build('edgewise.toml')", "from edgewise import build"])
def test_build_names_the_extra_that_it_needs(code: str, clean: Path) -> None:
    done = said(clean / "python", "-c", f"import edgewise\n{code}")
    assert done.stderr.rstrip().endswith("is not installed. Run: pip install 'edgewise[lab]'")


@pytest.mark.parametrize("verb", ["build", "demo", "inspect"])
def test_verbs_of_the_lab_name_the_extra_that_they_need(verb: str, clean: Path, tmp_path: Path) -> None:
    done = said(clean / "edgewise", verb, *([tmp_path / "model.onnx"] if verb == "inspect" else []))
    assert done.returncode == 3
    assert done.stderr.startswith("edgewise: ")
    assert done.stderr.endswith("is not installed. Run: pip install 'edgewise[lab]'\n")


def test_init_needs_no_extra(clean: Path, tmp_path: Path) -> None:
    assert said(clean / "edgewise", "init", tmp_path).returncode == 0


def test_a_bundle_of_text_names_the_extra_that_it_needs(clean: Path, tmp_path: Path) -> None:
    done = said(clean / "edgewise", "run", bundles.text(tmp_path / "b"), "-i", "great")
    assert (done.returncode, done.stderr) == (
        3,
        "edgewise: tokenizers is not installed. Run: pip install 'edgewise[text]'\n",
    )
