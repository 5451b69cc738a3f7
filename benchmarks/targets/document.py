"""The rows and figures as files: `targets.json` for programs, `targets.md` to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.table import Row as Shown
from benchmarks.targets.matrix import Row
from edgewise.bundle.atomic import write_file
from edgewise.lab import machine
from edgewise.report import format as words

__all__ = ["line", "read", "write"]

HEAD = (
    *("model", "target", "column", "place", "built", "loaded", "ran", "size", "quantized"),
    *("difference", "largest difference", "agreement", "samples", "evidence", "aim reached", "reason"),
)


class _Document(msgspec.Struct, frozen=True):
    machine: dict[str, str]
    rows: tuple[Row, ...]
    figures: tuple[Shown, ...]


def write(folder: Path, rows: Sequence[Row], figures: Sequence[Shown]) -> None:
    """Write both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = _Document(machine.describe(), tuple(rows), tuple(figures))
    write_file(folder / "targets.json", msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    write_file(folder / "targets.md", "\n".join(_markdown(document)).encode() + b"\n")


def read(folder: Path) -> tuple[tuple[Row, ...], tuple[Shown, ...]]:
    """Return the rows and the figures of a finished run."""
    document = msgspec.json.decode((folder / "targets.json").read_bytes(), type=_Document)
    return document.rows, document.figures


def line(row: Row) -> str:
    """Say in one line what came of a cell."""
    if found := row.difference:
        return f"{row.cell.id}: {row.verdict}, difference {found.rms:.1e}, agreement {found.agreement:.1%}"
    return f"{row.cell.id}: {row.verdict}: {_reason(row)}"


def _markdown(document: _Document) -> Iterator[str]:
    yield "# The target matrix\n"
    yield ", ".join(f"{name} {value}" for name, value in document.machine.items()) + "\n"
    yield from _table(
        ("figure", "cells", "aim", "found", "reached"),
        ((one.figure, one.how, one.aim, one.shown, one.reached) for one in document.figures),
    )
    yield ""
    yield from _table(HEAD, map(_cells, document.rows))


def _table(head: Sequence[str], lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for cells in lines:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cells(row: Row) -> tuple[str, ...]:
    cell, found = row.cell, row.difference
    loaded = row.verified is not None and row.verified.loads
    return (
        *(cell.model, cell.target, cell.column, cell.place),
        *("yes" if one else "no" for one in (row.built, loaded, row.executed)),
        words.size(row.size) if row.size is not None else "",
        f"{row.operators.quantized} of {row.operators.total}" if row.operators else "",
        f"{found.rms:.1e}" if found else "",
        f"{found.max_rel:.1e}" if found else "",
        f"{found.agreement:.1%}" if found else "",
        str(found.cases) if found else "",
        str(row.evidence),
        {"met": "yes", "missed": "no"}.get(row.verdict, row.verdict),
        _reason(row),
    )


def _reason(row: Row) -> str:
    return " — ".join(
        one
        for one in (row.cell.missing, row.cell.short if row.verdict == "missed" else None, row.reason)
        if one
    )
