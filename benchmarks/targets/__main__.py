"""`python -m benchmarks.targets [--only TARGET …] [--model NAME …] [--out FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.method import say
from benchmarks.table import Result, show
from benchmarks.targets.cells import read
from benchmarks.targets.document import line, write
from benchmarks.targets.figures import figures
from benchmarks.targets.matrix import Row, run
from edgewise.machine import cores


@click.command()
@click.option("--only", "targets", multiple=True, help="A target: its cells only.")
@click.option("--model", "models", multiple=True, help="A model: its cells only.")
@click.option("--place", "places", multiple=True, help="A place: its cells only.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("bench-out/targets"),
    show_default=True,
    help="Where the results go, as JSON and Markdown.",
)
@click.option(
    "--zoo",
    type=click.Path(path_type=Path),
    default=Path("bench-out/zoo"),
    show_default=True,
    help="Where the models are, or are made.",
)
@click.option("--at-once", type=click.IntRange(min=1), help="Processes side by side [one for each core].")
def main(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    places: tuple[str, ...],
    out: Path,
    zoo: Path,
    at_once: int | None,
) -> None:
    """Build, execute and compare the cells; exit with 1 when an aim is missed."""
    cells = [
        cell
        for cell in read()
        if (not targets or cell.target in targets)
        and (not models or cell.model in models)
        and (not places or cell.place in places)
    ]
    if not cells:
        raise click.UsageError("no such cells in benchmarks/targets.toml")
    say(f"{len(cells)} cells")
    ended: list[Row] = []

    def done(row: Row) -> None:
        ended.append(row)
        say(line(row))
        write(out, ended, ())  # what is there when somebody interrupts

    rows = run(cells, zoo, at_once=at_once or cores(), done=done)
    shown = tuple(figures(rows))
    write(out, rows, shown)
    show("targets", Result(shown))
    click.echo(f"Every cell: {out / 'targets.md'}")
    sys.exit(0 if all(one.reached == "yes" for one in shown) else 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.targets")
