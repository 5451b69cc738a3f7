"""Workers forked from a server that has the libraries loaded: as isolated as others, and they write the same bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import evaluates
from edgewise.cache import Cache
from edgewise.lab import attempt, config, plan
from edgewise.lab.bounded import Bounds
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.engine import Work
from edgewise.lab.engine.forks import POSSIBLE
from edgewise.lab.engine.local import Local
from edgewise.lab.jobs import JobError
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import NncfPtq
from edgewise.targets.onnxruntime.build import DynamicInt8, StaticInt8
from edgewise.targets.openvino.build import OpenVinoPtq
from projects import digits

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="workers are forked on Linux only")

MB = 10**6


@pytest.fixture(scope="module", autouse=True)
def found() -> Iterator[None]:
    """Let workers find the module that they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def local(found: None) -> Iterator[Local]:
    """An engine with its server of forks."""
    engine = Local()
    yield engine
    engine.close()


def evaluate(engine: Local, scratch: Path, code: str, bounds: Bounds | None = None) -> Any:
    work = Work(evaluates.__name__, evaluates.Job(code), ())
    return engine.run(work, Any, bounds or Bounds(60), scratch, Event())


def test_a_forked_worker_is_a_process_of_its_own_each_time(local: Local, tmp_path: Path) -> None:
    first, second = (evaluate(local, tmp_path, "[os.getpid(), os.getsid(0)]") for _ in range(2))
    assert first != second
    assert all(len({*numbers, os.getpid()}) == 2 for numbers in (first, second))


def test_a_forked_worker_has_the_libraries_and_has_run_nothing(local: Local, tmp_path: Path) -> None:
    code = "['nncf' in sys.modules, 'edgewise.lab.compress.worker' in sys.modules]"
    assert evaluate(local, tmp_path, code) == [True, False]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.abort()", "crashed with SIGABRT"),
        ("os._exit(7)", "its process ended with exit code 7"),
        ("sys.exit('bye')", "its process ended with exit code 1: bye"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("time.sleep(60)", "took longer than 2 s and was stopped"),
        (
            "bytearray(b'x') * 2_000_000_000 and time.sleep(60)",
            "took more than 1.5 GB of memory and was stopped",
        ),
    ],
)
def test_a_forked_worker_that_fails_costs_itself_alone(
    code: str, reason: str, local: Local, tmp_path: Path
) -> None:
    assert evaluate(local, tmp_path, "1") == 1
    with pytest.raises(JobError) as error:
        evaluate(local, tmp_path, code, Bounds(2 if code == "time.sleep(60)" else 30, 1500 * MB))
    assert str(error.value) == reason
    assert evaluate(local, tmp_path, "2") == 2


def test_work_goes_on_afresh_when_the_server_is_lost(tmp_path: Path) -> None:
    local = Local()
    server = evaluate(local, tmp_path, "os.getppid()")
    os.kill(server, signal.SIGKILL)
    assert evaluate(local, tmp_path, "os.getppid()") == os.getpid()
    local.close()


@pytest.mark.slow
def test_forked_and_fresh_workers_write_the_same_bytes_and_judge_alike(local: Local, tmp_path: Path) -> None:
    settings = config.load(digits(tmp_path / "project"))
    found = []
    for name, engine in (("forked", local), ("fresh", None)):
        (tmp_path / name).mkdir()
        shop = Workshop(plan.prepare(settings), Cache(tmp_path / name / "cache"), tmp_path / name, engine)
        found.append(made(shop))
    assert found[0] == found[1]


def made(shop: Workshop) -> list[tuple[str, bytes]]:
    """Build and judge one candidate of each tool."""
    source, _ = attempt.source_of(shop.plan, shop)
    reference = attempt.judge_baseline(shop, attempt.baseline_of(shop.plan, shop))
    kinds = (
        Candidate(DynamicInt8(), "onnxruntime"),
        Candidate(StaticInt8(calibration="entropy"), "onnxruntime"),
        Candidate(NncfPtq(), "onnxruntime"),
        Candidate(OpenVinoPtq(), "openvino"),
    )
    found = []
    for candidate in kinds:
        built = shop.build(candidate, source)
        judged = shop.judge(built, candidate.target, "search", reference=reference)
        found.append((built.artifact.digest, judged.rows.tobytes()))
    return found
