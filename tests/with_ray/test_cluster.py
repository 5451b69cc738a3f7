"""A Ray cluster of two real nodes builds and judges what this machine would, and a lost node costs time alone."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import unruly
from conftest import Command
from edgewise import report, targets
from edgewise.cache import Cache
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import attempt, config, machine, plan
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.engine import cluster, reach
from edgewise.lab.engine.cluster import Cluster
from edgewise.lab.engine.local import Local
from edgewise.lab.jobs import JobError
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import Original
from edgewise.targets.onnxruntime.build import StaticInt8
from edgewise.targets.openvino.build import OpenVinoPtq
from projects import Project

pytest.importorskip("ray", reason="Ray is not installed: make test-ray installs it")

STORE = 100_000_000
TRIED = (
    Candidate(StaticInt8(calibration="percentile"), "onnxruntime"),
    Candidate(OpenVinoPtq(), "openvino"),
)
METRIC = """\
def score(outputs, label):
    return float(outputs["probabilities"].argmax() == label)
"""


@dataclass
class Lab:
    """A cluster, and the folder by which the slow builds of its nodes are known."""

    nodes: Any
    place: Path
    added: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.nodes.address)

    def add(self) -> None:
        """Add a node with one processor."""
        self.added.append(self.nodes.add_node(num_cpus=1, object_store_memory=STORE))

    def lose(self, node_id: str) -> None:
        """Kill a node, without a warning."""
        node = next(one for one in self.added if one.node_id == node_id)
        self.added.remove(node)
        self.nodes.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes beside a head that takes no work; they find the unruly target, and work in a folder of their own."""
    from ray.cluster_utils import Cluster as Nodes

    folder = tmp_path_factory.mktemp("ray")
    site = unruly.install(folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in reach.QUIET.items():
            patch.setenv(name, value)
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        patch.setenv("UNRULY_PLACE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        targets.names.cache_clear()
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        nodes = Nodes(initialize_head=True, head_node_args=head)
        found = Lab(nodes, folder)
        found.add()
        found.add()
        yield found
        nodes.shutdown()
    targets.names.cache_clear()


class Nobody(Local):
    """Runs nothing here."""

    def run(self, *_: Any, **__: Any) -> Any:
        pytest.fail("it was done on this machine")


@pytest.fixture
def engine(lab: Lab) -> Iterator[Cluster]:
    """The cluster, this process being connected to it."""
    for name in ("first", "second"):
        (lab.place / name).unlink(missing_ok=True)
    while len(lab.added) < 2:
        lab.add()
    with cluster.connected(lab.address, Nobody()) as found:
        assert isinstance(found, Cluster)
        yield found


def workshop(project: Project, folder: Path, engine: Any = None) -> Workshop:
    (folder / "scratch").mkdir(parents=True)
    prepared = plan.prepare(config.load(project.config))
    return Workshop(prepared, Cache(folder / "cache"), folder / "scratch", engine)


def made(shop: Workshop) -> list[tuple[str, bytes]]:
    source, _ = attempt.source_of(shop.plan, shop)
    baseline = attempt.baseline_of(shop.plan, shop)
    reference = shop.judge(baseline.artifact, "onnxruntime", "search", reference=None)
    found = [("original", reference.rows.tobytes())]
    for candidate in TRIED:
        built = shop.build(candidate, source)
        judged = shop.judge(built, candidate.target, "search", reference=reference)
        found.append((built.artifact.digest, judged.rows.tobytes()))
    return found


def entries(folder: Path) -> list[str]:
    """Everything in a cache but what says how long it took."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_cluster_writes_the_same_files_and_judges_alike_with_the_users_own_metric(
    engine: Cluster, project: Project, tmp_path: Path
) -> None:
    project.set('metric = "accuracy"', 'metric = "own.py:score"')
    project.write("own.py", METRIC)
    assert made(workshop(project, tmp_path / "there", engine)) == made(workshop(project, tmp_path / "here"))
    assert entries(tmp_path / "there" / "cache") == entries(tmp_path / "here" / "cache")


def test_a_cluster_takes_as_much_at_once_as_its_nodes_have_processors(engine: Cluster) -> None:
    assert engine.slots(10**6) == 2


@pytest.mark.usefixtures("few")
def test_a_build_on_a_cluster_is_one_option_more(
    lab: Lab, project: Project, tmp_path: Path, command: Command
) -> None:
    project.set("rounds = 6", "rounds = 1")
    said = command(
        "build",
        project.config,
        "-o",
        tmp_path / "out",
        "--cache",
        tmp_path / "c",
        "--ray",
        lab.address,
        "--json",
    )
    assert said.code in (0, 1), said.err
    assert json.loads(said.out)
    rows = report.read(tmp_path / "out" / "report.json").candidates
    assert [row.status for row in rows] == ["ok"] * 3


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("hang", "took longer than 15 s and was stopped"),
        ("hog", "took more than 700 MB of memory and was stopped"),
        ("crash", "crashed with SIGSEGV"),
    ],
)
def test_a_node_holds_a_candidate_to_its_bounds(
    way: str, reason: str, engine: Cluster, project: Project, tmp_path: Path
) -> None:
    project.set("rounds = 6", 'timeout_s = 15.0\nmemory_limit = "700 MB"')
    shop = workshop(project, tmp_path, engine)
    with pytest.raises(JobError) as error:
        shop.build(failing(way), project.model)
    assert str(error.value).startswith(reason)


def failing(way: str) -> Candidate:
    return Candidate.of("unruly", {"method": "fails", "version": 1, "way": way})


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 90
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


@dataclass
class Slow:
    """A build that has begun on a node and waits there."""

    shop: Workshop
    thread: Thread
    outcome: list[Any]


@pytest.fixture
def slow(engine: Cluster, lab: Lab, project: Project, tmp_path: Path) -> Slow:
    shop = workshop(project, tmp_path, engine)
    outcome: list[Any] = []

    def build() -> None:
        try:
            outcome.append(shop.build(failing("slow"), project.model))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome.append(error)

    thread = Thread(target=build)
    thread.start()
    until(lambda: (lab.place / "first").exists() and (lab.place / "first").read_text() != "")
    return Slow(shop, thread, outcome)


def busy(engine: Cluster) -> str:
    return next(one.id for one in engine._nodes if one.running)


def gone(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_build_whose_node_is_lost_is_done_on_the_other(engine: Cluster, slow: Slow, lab: Lab) -> None:
    pid = int((lab.place / "first").read_text())
    (lab.place / "second").touch()
    lab.lose(busy(engine))
    slow.thread.join(90)
    assert slow.outcome[0].main.stat().st_size > 0
    until(lambda: gone(pid))


def test_a_build_that_loses_two_nodes_is_a_row_that_says_so(engine: Cluster, slow: Slow, lab: Lab) -> None:
    for _ in range(2):
        until(lambda: (lab.place / "first").exists() and (lab.place / "first").read_text() != "")
        (lab.place / "first").unlink()
        lab.lose(busy(engine))
    slow.thread.join(90)
    assert isinstance(slow.outcome[0], JobError)
    assert str(slow.outcome[0]).count("NodeDiedError") == 2


def test_a_build_that_is_stopped_here_ends_on_its_node(slow: Slow, lab: Lab) -> None:
    pid = int((lab.place / "first").read_text())
    slow.shop.stop.set()
    slow.thread.join(30)
    assert "stopped, as another failed" in str(slow.outcome[0])
    until(lambda: gone(pid))


def test_a_node_with_another_version_is_refused_and_both_are_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine.versions()
    monkeypatch.setattr(machine, "versions", lambda: here | {"nncf": "3.3.9"})
    message = rf"node .* has nncf {here['nncf']}, and this machine has 3\.3\.9: install the same on both"
    with pytest.raises(ToolchainError, match=message), cluster.connected(lab.address, Nobody()):
        pass


def test_a_node_whose_target_has_another_toolchain_is_refused_and_both_are_named(
    engine: Cluster, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNRULY_TOOLCHAIN", "unruly 2.0")
    shop = workshop(project, tmp_path, engine)
    with pytest.raises(
        ToolchainError, match=r"makes unruly files with unruly 1\.0, and this machine with unruly 2\.0"
    ):
        shop.build(Candidate(Original(), "unruly"), project.model)


def test_judgements_stay_here_where_no_node_has_this_processor(
    engine: Cluster, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "processor", lambda: "another")
    engine._local = Local(forked=False)
    shop = workshop(project, tmp_path, engine)
    baseline = attempt.baseline_of(shop.plan, shop)
    assert len(shop.judge(baseline.artifact, "onnxruntime", "search", reference=None).rows)
    assert engine._contents == {}


# Addresses


def test_an_address_where_nobody_listens_is_said_at_once(project: Project, command: Command) -> None:
    began = time.monotonic()
    said = command("build", project.config, "--ray", f"127.0.0.1:{free_port()}")
    assert (said.code, time.monotonic() - began < 5) == (3, True)
    assert "Connection refused. Start one (ray start --head), or give the address that it prints" in said.err


def test_an_address_where_another_program_listens_is_said_within_15_seconds(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(ToolchainError, match="it did not answer within 12 s"):
            reach.check(f"127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "address", ["here", "10.0.0.1", "host:none", ":6379", "host:70000", "ray://host:10001"]
)
def test_what_is_no_address_is_said_to_be_none(address: str) -> None:
    with pytest.raises(InputError, match="is no address of a Ray cluster: give HOST:PORT"):
        reach.check(address)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
