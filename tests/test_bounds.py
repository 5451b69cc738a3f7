"""What one candidate may take, and what becomes of one that takes more or goes wrong: real hogs, hangs and crashes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluates
import unruly
from conftest import Command
from edgewise import report
from edgewise.errors import InputError
from edgewise.lab import config, jobs, machine
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.jobs import JobError
from edgewise.targets.building import Original
from projects import Project

MB = 10**6


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers find the module that they are."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("[bytearray(b'x') * 600_000_000, time.sleep(60)]", id="its own"),
        pytest.param(
            "os.spawnl(os.P_WAIT, sys.executable, 'python', '-c', \"b = bytearray(b'x') * 600_000_000\\nimport time; time.sleep(60)\")",
            id="a child's",
        ),
    ],
)
def test_a_worker_that_takes_more_memory_than_allowed_is_stopped(code: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^took more than 400 MB of memory and was stopped$"):
        jobs.run(
            evaluates.__name__, evaluates.Job(code), object, timeout=60, memory=400 * MB, scratch=tmp_path
        )


def test_half_of_the_memory_is_allowed_unless_something_else_is_said(project: Project) -> None:
    assert config.load(project.config).measure.memory == machine.memory() // 2
    project.set("rounds = 6", 'rounds = 6\nmemory_limit = "1.5 GB"')
    assert config.load(project.config).measure.memory == 1_500_000_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('memory_limit = "lots"', r"line \d+, measure\.memory_limit: bad unit in 'lots'"),
        ('memory_limit = "5 MB"', r"measure\.memory_limit: 5 MB must be 200 MB or more"),
        ("workers = -1", r"measure\.workers: -1 must be 0 \(as this machine takes\) or more"),
    ],
)
def test_a_bound_that_cannot_be_meant_is_named_with_its_line(
    line: str, message: str, project: Project
) -> None:
    project.set("rounds = 6", f"rounds = 6\n{line}")
    with pytest.raises(InputError, match=message):
        config.load(project.config)


# Candidates that go wrong, each a row


def failing(way: str) -> Candidate:
    return Candidate.of("unruly", {"method": "fails", "version": 1, "way": way})


@pytest.mark.slow
@pytest.mark.usefixtures("unruly_target")
def test_each_candidate_that_hogs_hangs_or_crashes_is_a_row_and_the_build_goes_on(
    project: Project, only: Callable[..., None], tmp_path: Path, command: Command
) -> None:
    reasons = {
        "hog": "took more than 700 MB of memory and was stopped",
        "hog-in-a-child": "took more than 700 MB of memory and was stopped",
        "hang": "took longer than 20 s and was stopped",
        "crash": "crashed with SIGSEGV",
        "hang-when-run": "took longer than 20 s and was stopped",
        "crash-when-run": "crashed with SIGSEGV",
    }
    project.set("rounds = 6", 'rounds = 1\ntimeout_s = 20.0\nmemory_limit = "700 MB"')
    project.write("fleet.toml", unruly.FLEET)
    only(Candidate(Original(), "onnxruntime"), Candidate(Original(), "unruly"), *map(failing, reasons))
    said = command("build", project.config, "-o", tmp_path / "out", "--workers", "6")
    assert said.code in (0, 1), said.err
    rows = {row.id: row for row in report.read(tmp_path / "out" / "report.json").candidates}
    for way, reason in reasons.items():
        assert (rows[f"unruly/fails-{way}"].reason or "").startswith(reason), way
    assert rows["onnxruntime/original"].status == rows["unruly/original"].status == "ok"
