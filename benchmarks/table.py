"""What the benchmarks say: one row per figure, its aim and whether it was reached; on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from edgewise.bundle.atomic import write_file
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.manifest import Verdict
from edgewise.lab import machine
from edgewise.lab.choose.goals import AtMost
from edgewise.report import format as words

__all__ = ["WORDS", "Detail", "Reached", "Result", "Row", "at_least", "at_most", "keep", "missing", "show"]

Reached = Literal["yes", "no", "not shown", "not measured"]
WORDS: dict[Verdict, Reached] = {
    "met": "yes",
    "missed": "no",
    "not shown": "not shown",
    "not assessed": "not measured",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `reached` is yes or no only where the whole interval says so; between them it is not shown."""

    figure: str
    how: str
    aim: str
    measured: Figure
    shown: str
    reached: Reached


@dataclass(frozen=True, slots=True)
class Detail:
    """A table beneath the figures: every contestant, also those that lost."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a benchmark found; `readings` holds what each round gave, so that anyone can work it out again."""

    rows: tuple[Row, ...]
    details: tuple[Detail, ...] = ()
    readings: dict[str, list[float]] = field(default_factory=dict)

    def __add__(self, other: Result) -> Result:
        return Result(self.rows + other.rows, self.details + other.details, self.readings | other.readings)


def at_most(figure: str, how: str, measured: Figure, limit: float) -> Row:
    """Return the row of a figure that should not exceed `limit`, its whole interval included."""
    aim = words.number_of(Figure(evidence=Evidence.MEASURED, unit=measured.unit, value=limit))
    exact = measured.split is None  # bytes have no interval, and need none
    verdict = AtMost("it", limit, exact=exact).judge({"it": measured})
    return Row(figure, how, f"≤ {aim}", measured, words.figure(measured), WORDS[verdict])


def at_least(figure: str, how: str, measured: Figure, limit: float) -> Row:
    """Return the row of a figure that should reach `limit`, its whole interval included."""
    value = measured.value or 0.0
    low = value if measured.low is None else measured.low
    high = value if measured.high is None else measured.high
    reached: Reached = "yes" if low >= limit else "no" if high < limit else "not shown"
    return Row(figure, how, f"≥ {limit:g}", measured, words.figure(measured), reached)


def missing(figure: str, reason: str) -> Row:
    """Return the row of a figure that could not be measured, with the reason."""
    return Row(figure, reason, "", Figure.none("ratio"), "none", "not measured")


def show(name: str, result: Result) -> None:
    """Print the details, then the figures."""
    for detail in result.details:
        _print(detail.title, detail.columns, detail.lines)
    lines = [(row.figure, row.how, row.aim, row.shown, row.reached) for row in result.rows]
    _print(name, ("figure", "how", "aim", "measured (95 % interval)", "reached"), lines)


def keep(name: str, result: Result, folder: Path) -> None:
    """Write the result and each round's readings to `folder/<name>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"benchmark": name, "machine": machine.describe(), "result": result}
    write_file(folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _print(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    console = Console()
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    Console(width=None if console.is_terminal else 160, markup=False).print(table)
