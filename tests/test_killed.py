"""A build that is killed leaves no process and nothing half-written that is used; the next goes on from what was done."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import guarded
import unruly
from edgewise import report
from edgewise.cache import Cache, staging_prefix
from projects import Project


def ends(pid: int, within: float = 5) -> bool:
    """Tell whether a process ends in time."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.usefixtures("unruly_target")
def test_a_killed_build_leaves_no_process_and_the_next_goes_on_from_what_was_done(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNRULY_PLACE", str(tmp_path))
    monkeypatch.setenv("UNRULY_WAYS", "slow")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    project.set("rounds = 6", "rounds = 1")
    project.write("fleet.toml", unruly.FLEET)
    asked = [
        guarded.EDGEWISE,
        "build",
        project.config,
        "-o",
        tmp_path / "out",
        "--cache",
        tmp_path / "cache",
        "--workers",
        "1",
    ]
    build = subprocess.Popen([*map(str, asked)], stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "first").exists() and (tmp_path / "first").read_text() != "")
    slow = int((tmp_path / "first").read_text())
    family = [one.pid for one in psutil.Process(build.pid).children(recursive=True)]
    done = {path.name for path in (tmp_path / "cache" / "builds").iterdir() if not path.name.startswith(".")}
    build.kill()
    build.wait()
    assert slow in family
    assert done
    assert all(ends(pid) for pid in family)
    assert (staged := list((tmp_path / "cache" / "builds").glob(".new-*")))
    until(lambda: list((tmp_path / "tmp").iterdir()) == [])
    (tmp_path / "second").touch()
    again = subprocess.run([*map(str, asked)], capture_output=True, text=True, check=False)
    assert again.returncode in (0, 1), again.stderr
    rows = report.read(tmp_path / "out" / "report.json").candidates
    assert sum(row.cached for row in rows) == len(done)
    assert next(row for row in rows if row.id == "unruly/fails-slow").status == "ok"
    assert not any(path.exists() for path in staged)


def until(true: Callable[[], bool], within: float = 120) -> None:
    """Wait for something to become true."""
    limit = time.monotonic() + within
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def test_what_a_killed_process_left_half_made_is_removed_and_a_living_ones_stays(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    cache = Cache(tmp_path)
    dead = staging_prefix().replace(f"-{os.getpid()}-", f"-{process.pid}-")
    for kind in ("builds", "judged", "ranges/0123/equalised", "toolchains/litert"):
        for name in (f"{dead}x", f"{staging_prefix()}x", ".new-otherhost-1-x", "finished"):
            (tmp_path / kind / name).mkdir(parents=True)
    cache.sweep()
    left = sorted(path.name for path in (tmp_path / "builds").iterdir())
    assert left == sorted([".new-otherhost-1-x", f"{staging_prefix()}x", "finished"])
    assert list(tmp_path.rglob(f"{dead}*")) == []


def test_what_nobody_touched_for_days_is_removed_whoever_made_it(tmp_path: Path) -> None:
    old = tmp_path / "builds" / ".new-otherhost-1-x"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    Cache(tmp_path).sweep()
    assert not old.exists()
