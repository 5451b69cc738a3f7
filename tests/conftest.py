"""What the tests of the main job share: one project, one real build of it, and a command line that is watched.

The lab is imported where a fixture needs it, so that a test of one small part starts at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import guarded

if TYPE_CHECKING:
    from webpage import Client

    from edgewise.facade import Build
    from projects import Project

FLEET = """
[fleet]
file = "fleet.toml"
"""
TIERS = """\
[[tier]]
name = "laptop"
share = 0.4
machine = "this"
runtimes = ["onnxruntime", "openvino"]
[[tier]]
name = "phone"
share = 0.6
platform = "android-arm64"
"""
GOALS = """\
quality = "95% of original"
latency_p95 = "1 s"
size = "1 MB"
"""


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the cache and the development key of the tests out of the home of whoever runs them."""
    folder = tmp_path_factory.mktemp("edgewise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWISE_CACHE", str(folder / "cache"))
        patch.setenv("EDGEWISE_HOME", str(folder / "keys"))
        yield folder


@pytest.fixture(scope="session")
def digits_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that builds: read it, copy it, leave it as it is."""
    from projects import Project, digits

    project = Project(digits(tmp_path_factory.mktemp("digits") / "project", goal=GOALS))
    project.config.write_text(project.config.read_text() + FLEET)
    project.write("fleet.toml", TIERS)
    return project


@pytest.fixture
def project(digits_project: Project, tmp_path: Path) -> Project:
    """A copy of the project, to be broken."""
    return digits_project.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def build_run(digits_project: Project, tmp_path_factory: pytest.TempPathFactory, home: Path) -> guarded.Run:
    """The one whole build of the test session: `edgewise build`, as a user types it, under guard."""
    folder = tmp_path_factory.mktemp("build")
    return guarded.run(folder, guarded.EDGEWISE, "build", digits_project.config, "-o", folder / "out")


@pytest.fixture(scope="session")
def built(build_run: guarded.Run) -> Build:
    """What that build wrote."""
    from edgewise import report
    from edgewise.facade import Build

    assert build_run.code in (0, 1), build_run.err
    out = build_run.home.parent / "out"
    return Build(out / "bundle", out / "report.html", report.read(out / "report.json"))


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One page of a real Chromium for many tests of the JavaScript client (tests/targets)."""
    import webpage

    with webpage.engines():
        page = webpage.Client(tmp_path_factory.mktemp("bundles"))
    with page:
        yield page


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes builds try the candidates it is given, instead of all."""
    return lambda *tried: monkeypatch.setattr(
        "edgewise.lab.search.ladder.first_rungs", lambda *_, **__: tried
    )


@pytest.fixture
def few(only: Callable[..., None]) -> None:
    """Try two candidates: for tests of what happens around them."""
    from edgewise.lab.compress.recipe import Candidate
    from edgewise.targets.building import Original
    from edgewise.targets.onnxruntime.build import DynamicInt8

    only(*(Candidate(method, "onnxruntime") for method in (Original(), DynamicInt8())))


@pytest.fixture
def unruly_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a target whose builds and sessions go wrong, for this process and its workers; return where it is."""
    import unruly
    from edgewise import targets

    site = unruly.install(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    targets.names.cache_clear()
    yield site
    targets.names.cache_clear()


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `edgewise` with its arguments, in this process."""

    from edgewise.cli import main

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["edgewise", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    return run


@pytest.fixture
def tidy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder with an empty TMPDIR; fail the test that leaves anything in either."""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read TMPDIR again
    yield work
    assert [*work.iterdir(), *temporary.iterdir()] == []
