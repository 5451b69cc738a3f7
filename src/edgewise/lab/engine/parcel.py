"""A job on its way to a machine with another disk: its files by content, and its paths changed to where they lie there.

Work ─ pack → Parcel + contents by digest ─ unpack → files and a job there ─ run → Answer ─ land → files here
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgewise.cache import STAGING, staging_prefix
from edgewise.lab.bounded import Bounds
from edgewise.lab.engine import Work

__all__ = ["Answer", "Parcel", "Sent", "files_of", "land", "pack", "relocated", "unpack"]

DEEP = "a/b/c/d"  # a file beside its folder ("../labels.json") still lies within the job's


class Sent(msgspec.Struct, frozen=True):
    """A file: which root it belongs to, its name below that (none: it is the root), and its content's digest."""

    root: int
    name: str
    digest: str


class Parcel(msgspec.Struct, frozen=True):
    """A job as it travels. `roots` are the paths that it names here; those numbered in `writes` come back."""

    module: str
    job: Any
    roots: tuple[str, ...]
    files: tuple[Sent, ...]
    writes: tuple[int, ...]
    bounds: Bounds
    threads: dict[str, str]
    maker: tuple[str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What became of a parcel: a result and the files of each root written, or why there is none, in whose words.

    `differs`: the node's toolchain, where it is not the one asked for.
    """

    result: Any = None
    files: tuple[tuple[int, str, bytes], ...] = ()
    reason: str | None = None
    input_error: str | None = None
    differs: str | None = None


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pack(work: Work, bounds: Bounds, digest: Callable[[Path], str]) -> Parcel:
    """Describe a job; the contents of its files go separately, once each."""
    roots = [str(read.path) for read in work.reads]
    files = tuple(
        Sent(index, name, digest(path))
        for index, read in enumerate(work.reads)
        for name, path in sorted(read.members().items())
    )
    for folder in work.writes:
        if str(folder) not in roots:
            roots.append(str(folder))
    return Parcel(
        module=work.module,
        job=msgspec.to_builtins(work.job),
        roots=tuple(roots),
        files=files,
        writes=tuple(roots.index(str(folder)) for folder in work.writes),
        bounds=bounds,
        threads={name: os.environ[name] for name in THREADS if name in os.environ},
        maker=work.maker,
    )


def unpack(parcel: Parcel, contents: Mapping[str, bytes], folder: Path) -> tuple[Any, list[Path]]:
    """Lay the files out below `folder`; return the job with its paths changed, and where each root is."""
    places = []
    single = {sent.root for sent in parcel.files if not sent.name}
    for index, root in enumerate(parcel.roots):
        place = folder / str(index) / DEEP / Path(root).name
        (place.parent if index in single else place).mkdir(parents=True)
        places.append(place)
    for sent in parcel.files:
        path = places[sent.root] / sent.name if sent.name else places[sent.root]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[sent.digest])
    moved = dict(zip(parcel.roots, map(str, places), strict=True))
    return relocated(parcel.job, moved), places


def relocated(document: Any, moved: Mapping[str, str]) -> Any:
    """Return the document with every text that is one of the paths, or one below it, changed to where that is."""
    if isinstance(document, dict):
        return {key: relocated(value, moved) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [relocated(value, moved) for value in document]
    if isinstance(document, str):
        for root in sorted(moved, key=len, reverse=True):
            if document == root or document.startswith(root.rstrip("/") + "/"):
                return moved[root] + document[len(root) :]
    return document


def files_of(parcel: Parcel, places: list[Path]) -> Iterator[tuple[int, str, bytes]]:
    """Yield what the job wrote: files of the folders it writes into that were not sent there."""
    sent = {(one.root, one.name) for one in parcel.files}
    for index in parcel.writes:
        for path in sorted(places[index].rglob("*")):
            name = path.relative_to(places[index]).as_posix()
            unfinished = any(part.startswith(STAGING) for part in path.relative_to(places[index]).parts)
            if path.is_file() and not unfinished and (index, name) not in sent:
                yield index, name, path.read_bytes()


def land(parcel: Parcel, answer: Answer) -> None:
    """Write the files that came back to where the job was to write them, each whole."""
    for index, name, data in answer.files:
        path = Path(parcel.roots[index]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=staging_prefix()) as work:
            (Path(work) / path.name).write_bytes(data)
            (Path(work) / path.name).replace(path)
