import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from edgewise.cache import Cache, default_folder
from edgewise.errors import InputError
from edgewise.lab import bounded, jobs
from edgewise.lab.jobs import JobError

WORKER = """\
import os, signal, subprocess, sys, time
import msgspec
from edgewise.errors import InputError
from edgewise.lab import jobs
class Job(msgspec.Struct):
    number: int
def work(job):
    {body}
if __name__ == "__main__":
    jobs.serve(Job, work)
"""
CHILD = "child = subprocess.Popen(['sleep', '60']); open({path!r}, 'w').write(str(child.pid)); "


class Job(msgspec.Struct):
    number: int


class Done(msgspec.Struct):
    value: float


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a worker with this body in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def start(body: str, *, timeout: float = 30, stop: Event | None = None) -> Done:
        (tmp_path / "worker.py").write_text(WORKER.format(body=body))
        return jobs.run("worker", Job(21), Done, timeout=timeout, scratch=tmp_path, stop=stop)

    return start


def gone(path: Path) -> bool:
    """Tell whether the process whose number is in the file ends within two seconds."""
    process = Path("/proc") / path.read_text() / "stat"
    for _ in range(40):
        if not process.exists() or process.read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_worker_gets_its_job_and_gives_its_result(run: Run) -> None:
    assert run("return {'value': job.number * 2}") == Done(42)


def test_what_a_worker_prints_is_not_its_result(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run("print('loud'); print('louder', file=sys.stderr); return {'value': 1}")
    assert capfd.readouterr() == ("", "")


def test_a_worker_does_not_read_what_was_typed_for_another(run: Run) -> None:
    typed, typing = os.pipe()
    os.write(typing, b"y")
    os.close(typing)
    kept = os.dup(0)
    os.dup2(typed, 0)
    try:
        assert run("return {'value': len(sys.stdin.read())}") == Done(0)
    finally:
        os.dup2(kept, 0)
        os.close(typed)
        os.close(kept)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("raise ValueError('bad\\nworse')", "ValueError: bad", id="raises: the first line"),
        pytest.param("raise KeyError", "KeyError", id="raises without a word"),
        pytest.param("raise ValueError('x' * 900)", "ValueError: " + "x" * 288, id="says too much"),
        pytest.param("raise MemoryError('no room')", "MemoryError: no room", id="runs out of memory"),
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", id="crashes"),
        pytest.param("os.kill(os.getpid(), 40)", "crashed with signal 40", id="ends by a nameless signal"),
        pytest.param(
            "print('assert failed', file=sys.stderr, flush=True); os.abort()",
            "crashed with SIGABRT: assert failed",
            id="crashes with a last word",
        ),
        pytest.param("os._exit(7)", "its process ended with exit code 7", id="leaves"),
        pytest.param("sys.exit('bye')", "its process ended with exit code 1: bye", id="exits"),
        pytest.param(
            "open(sys.argv[1] + '/result.json', 'w').write('{\"res'); os._exit(9)",
            "its process ended with exit code 9",
            id="ends while it writes its result",
        ),
        pytest.param(
            "return {'value': float('inf')}",
            "its result cannot be used: Expected `float`, got `null` - at `$.value`",
            id="gives infinity",
        ),
    ],
)
def test_a_worker_that_fails_gives_one_line_of_reason(run: Run, body: str, reason: str) -> None:
    with pytest.raises(JobError) as error:
        run(body)
    assert str(error.value) == reason


def test_the_users_mistake_is_passed_through(run: Run) -> None:
    with pytest.raises(InputError, match=r"^label 7 is out of range$"):
        run("raise InputError('label 7 is out of range')")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_passed_through_from_behind_another_error(run: Run, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as error:
        run(
            f"try: raise OSError({number}, 'full')\n    except OSError as e: raise RuntimeError('tool') from e"
        )
    assert error.value.errno == number


def test_another_error_of_the_system_costs_only_the_worker(run: Run) -> None:
    with pytest.raises(JobError, match=r"FileNotFoundError: .*none"):
        run("open('/none')")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        pytest.param("time.sleep(60)", "took longer than 1.5 s and was stopped", id="the time is over"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "crashed with SIGKILL", id="it crashes"),
    ],
)
def test_a_workers_children_end_with_it(run: Run, tmp_path: Path, ending: str, reason: str) -> None:
    with pytest.raises(JobError, match=reason):
        run(CHILD.format(path=str(tmp_path / "pid")) + ending, timeout=1.5 if "sleep" in ending else 30)
    assert gone(tmp_path / "pid")


def test_a_worker_is_stopped_when_it_is_told_to(run: Run) -> None:
    stop = Event()
    stop.set()
    began = time.monotonic()
    with pytest.raises(JobError, match="stopped, as another failed"):
        run("time.sleep(60)", stop=stop)
    assert time.monotonic() - began < 5


def test_an_interrupt_stops_the_worker(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(bounded, "attend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(CHILD.format(path=str(tmp_path / "pid")) + "time.sleep(60)")
    assert gone(tmp_path / "pid")


def test_a_scratch_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        jobs.run("worker", Job(1), Done, timeout=1, scratch=tmp_path / "none")


# Side by side


def test_every_item_is_done_and_reported_where_one_stands() -> None:
    done: list[int] = []
    jobs.side_by_side(lambda _: None, range(9), at_once=3, stop=Event(), done=done.append)
    assert sorted(done) == list(range(9))


def test_no_more_run_at_once_than_asked_for() -> None:
    running: set[int] = set()
    most: list[int] = []

    def work(item: int) -> None:
        running.add(item)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(item)

    jobs.side_by_side(work, range(8), at_once=2, stop=Event(), done=lambda _: None)
    assert max(most) == 2


def test_the_first_error_stops_the_rest_and_is_raised() -> None:
    stop = Event()
    started: list[int] = []

    def work(item: int) -> None:
        started.append(item)
        if item == 0:
            raise InputError("no")
        stop.wait(5)

    with pytest.raises(InputError, match="no"):
        jobs.side_by_side(work, range(50), at_once=2, stop=stop, done=lambda _: None)
    assert stop.is_set()
    assert len(started) < 5


# The cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fill_half(cache: Cache, error: BaseException) -> None:
    with cache.fill(cache.entry("builds", 1)) as folder:
        (folder / "half").touch()
        raise error


def test_an_entry_is_there_when_its_block_has_ended_and_not_before(cache: Cache) -> None:
    entry = cache.entry("builds", {"a": 1})
    with cache.fill(entry) as folder:
        (folder / "model.onnx").write_bytes(b"model")
        assert not entry.exists()
    assert (entry / "model.onnx").read_bytes() == b"model"


@pytest.mark.parametrize("error", [ValueError, JobError, KeyboardInterrupt])
def test_an_interrupted_fill_leaves_nothing(cache: Cache, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fill_half(cache, error())
    assert everything(cache.folder) == ["builds"]


def test_the_first_of_two_that_fill_one_entry_stays(cache: Cache) -> None:
    entry = cache.entry("builds", 1)
    with cache.fill(entry) as slow:
        (slow / "by").write_text("slow")
        with cache.fill(entry) as quick:
            (quick / "by").write_text("quick")
    assert (entry / "by").read_text() == "quick"
    assert everything(cache.folder) == ["builds", f"builds/{entry.name}", f"builds/{entry.name}/by"]


@pytest.mark.parametrize(("other", "same"), [({"b": [2], "a": 1}, True), ({"a": 1, "b": [3]}, False)])
def test_an_entry_is_named_by_all_that_decides_its_content(cache: Cache, other: Any, same: bool) -> None:
    assert (cache.entry("builds", {"a": 1, "b": [2]}) == cache.entry("builds", other)) is same


def test_kinds_do_not_mix(cache: Cache) -> None:
    assert cache.entry("builds", 1).name == cache.entry("judged", 1).name
    assert cache.entry("builds", 1) != cache.entry("judged", 1)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    with (
        pytest.raises(InputError, match=r"the cache .*/cache is not writable .*set EDGEWISE_CACHE") as error,
        cache.fill(cache.entry("builds", 1)),
    ):
        pass
    assert isinstance(error.value.__cause__, OSError)


def test_a_disk_that_fills_up_says_so_and_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(InputError, match=r"is not writable \(No space left on device\): free space"):
        fill_half(cache, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert everything(cache.folder) == ["builds"]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"EDGEWISE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/edgewise"),
        ({"EDGEWISE_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/edgewise"),
        ({}, "/home/me/.cache/edgewise"),
    ],
)
def test_the_cache_is_where_the_environment_says(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGEWISE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(folder)


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "EDGEWISE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # the system knows no home either
    with pytest.raises(InputError, match="no home folder for the cache: set EDGEWISE_CACHE"):
        default_folder()
