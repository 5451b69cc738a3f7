"""A Ray cluster builds and judges; nodes share no disk with this machine, nor with each other.

    each file's content ── once ──→ Ray's object store ──→ node: a fresh process, in bounds ──→ files, as bytes

What comes back lands where a local job would have written it. A node has the versions of this machine, or the build
stops: another edgewise or another quantizer makes other files. Judgements go to nodes with this machine's processor,
as int8 arithmetic differs between them, and are made here where there is none. A lost node's work is done once more
on another. Ray: https://docs.ray.io/en/latest/ray-core/scheduling/index.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

import msgspec

from edgewise.bundle.canonical import digest_file
from edgewise.errors import InputError, ToolchainError, missing_extra
from edgewise.lab import jobs, machine
from edgewise.lab.bounded import Bounds, JobError
from edgewise.lab.engine import Engine, Work, node, reach
from edgewise.lab.engine.parcel import Answer, Parcel, land, pack
from edgewise.machine import processor

__all__ = ["Cluster", "connected"]

R = TypeVar("R")
PROBE_S = 60.0


class _LostError(Exception):
    """A node, or the task on it, is gone."""


@dataclass(slots=True)
class _Node:
    id: str
    name: str
    slots: int
    about: dict[str, str]
    running: int = 0
    lost: bool = False


@contextmanager
def connected(address: str, local: Engine, workers: int = 0) -> Iterator[Engine]:
    """Yield the cluster at an address, with its nodes looked at. Raises InputError and ToolchainError."""
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    reach.check(address)
    try:
        reach.connect(address)
    except Exception as error:
        raise ToolchainError(f"the Ray cluster at {address} refuses: {error}") from error
    try:
        yield Cluster(_nodes(address), local, workers)
    finally:
        ray.shutdown()


class Cluster:
    """The nodes of a cluster, each given as much at once as it has cores."""

    def __init__(self, nodes: list[_Node], local: Engine, workers: int = 0) -> None:
        import ray

        self._nodes = nodes
        self._local = local
        self._workers = workers
        self._lock = Lock()
        self._digests: dict[tuple[str, int, int], str] = {}
        self._contents: dict[str, Any] = {}
        self._perform = ray.remote(num_cpus=1, max_retries=0)(node.perform)

    def slots(self, model: int) -> int:
        """Return the number asked for, or the cores of all nodes."""
        return self._workers or sum(one.slots for one in self._nodes)

    def run(self, work: Work, result: type[R], bounds: Bounds, scratch: Path, stop: Event) -> R:
        """Do the work on a node, and on another should that be lost. Raises what `jobs.run` raises."""
        able = [one for one in self._nodes if not work.tied or _alike(one)]
        if not able:
            return self._local.run(work, result, bounds, scratch, stop)
        parcel = pack(work, bounds, self._digest)
        answer = self._tried_twice(parcel, self._references(work, parcel), able, stop)
        if answer.input_error is not None:
            raise InputError(answer.input_error)
        if answer.reason is not None:
            raise JobError(answer.reason)
        found = jobs.converted(answer.result, result)
        land(parcel, answer)
        return found

    def close(self) -> None:
        """Nothing: `connected` disconnects."""

    def _tried_twice(
        self, parcel: Parcel, references: dict[str, Any], able: list[_Node], stop: Event
    ) -> Answer:
        reasons = []
        for _ in range(2):
            chosen = self._chosen(able)
            if chosen is None:
                break
            try:
                return _checked(chosen, parcel, self._asked(chosen, parcel, references, stop))
            except _LostError as error:
                reasons.append(f"{chosen.name}: {error}")
                chosen.lost = True
            finally:
                with self._lock:
                    chosen.running -= 1
        raise JobError("; ".join(reasons) or "no node of the Ray cluster is left")

    def _chosen(self, able: list[_Node]) -> _Node | None:
        """Take a place on the node with the most room; None where all are lost."""
        with self._lock:
            alive = [one for one in able if not one.lost]
            if not alive:
                return None
            chosen = min(alive, key=lambda one: (one.running / one.slots, one.id))
            chosen.running += 1
            return chosen

    def _asked(self, chosen: _Node, parcel: Parcel, references: dict[str, Any], stop: Event) -> Answer:
        import ray
        from ray.exceptions import RayError, RayTaskError

        digests = tuple(references)
        asked = self._perform.options(scheduling_strategy=_on(chosen.id)).remote(
            msgspec.msgpack.encode(parcel), digests, *references.values()
        )
        try:
            while not ray.wait([asked], timeout=0.5)[0]:
                if stop.is_set():
                    with suppress(Exception):
                        ray.cancel(asked)
                    raise JobError("stopped, as another failed or the build was interrupted")
            return msgspec.msgpack.decode(ray.get(asked), type=Answer)
        except RayTaskError as error:
            raise JobError(f"{chosen.name}: {_first_line(error.cause)}") from error
        except RayError as error:
            raise _LostError(_first_line(error)) from error

    def _digest(self, path: Path) -> str:
        """Return a file's digest, read once."""
        about = path.stat()
        key = str(path), about.st_size, about.st_mtime_ns
        if key not in self._digests:
            self._digests[key] = digest_file(path)
        return self._digests[key]

    def _references(self, work: Work, parcel: Parcel) -> dict[str, Any]:
        """Return where in Ray's store each content lies; one that is new is put there."""
        import ray

        members = (sorted(read.members().items()) for read in work.reads)
        paths = [path for several in members for _, path in several]
        with self._lock:
            for sent, path in zip(parcel.files, paths, strict=True):
                if sent.digest not in self._contents:
                    self._contents[sent.digest] = ray.put(path.read_bytes())
            return {sent.digest: self._contents[sent.digest] for sent in parcel.files}


def _nodes(address: str) -> list[_Node]:
    """Return the nodes that have cores. Raises ToolchainError naming one that differs from this machine."""
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError

    listed = [one for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU", 0) >= 1]
    describe = ray.remote(num_cpus=0, max_retries=0)(node.describe)
    asked = [describe.options(scheduling_strategy=_on(one["NodeID"])).remote() for one in listed]
    found = []
    for one, reference in zip(listed, asked, strict=True):
        name = f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
        try:
            about = ray.get(reference, timeout=PROBE_S)
        except (NodeDiedError, TaskUnschedulableError):  # it has just gone: Ray notices it late
            continue
        except Exception as error:
            reason = _first_line(getattr(error, "cause", None) or error)
            raise ToolchainError(f"node {name} of the Ray cluster cannot be used: {reason}") from error
        _check(name, about)
        found.append(_Node(one["NodeID"], name, int(one["Resources"]["CPU"]), about))
    if not found:
        raise ToolchainError(f"the Ray cluster at {address} has no node with a processor to give: add one")
    return found


def _check(name: str, about: dict[str, str]) -> None:
    """Refuse a node on which the same recipe would become another file."""
    here = machine.describe()
    for key in ("platform", "python", *sorted({*here, *about} - {"platform", "python", *_OWN})):
        if (mine := here.get(key, "none")) != (other := about.get(key, "none")):
            raise ToolchainError(
                f"node {name} of the Ray cluster has {key} {other}, and this machine has {mine}: "
                "install the same on both"
            )


def _checked(chosen: _Node, parcel: Parcel, answer: Answer) -> Answer:
    """Return the answer of a node with this machine's toolchain. Raises ToolchainError for another."""
    if answer.differs is not None:
        target, mine = parcel.maker or ("", "")
        raise ToolchainError(
            f"node {chosen.name} of the Ray cluster makes {target} files with {answer.differs}, "
            f"and this machine with {mine}: install the same on both"
        )
    return answer


_OWN = ("processor", "cores")


def _alike(one: _Node) -> bool:
    return one.about["processor"] == processor()


def _on(node_id: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:200]
