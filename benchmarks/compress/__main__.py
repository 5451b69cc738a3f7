"""`python -m benchmarks.compress [MODEL …]`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.compress import aims, document, lessons, olive, taught
from benchmarks.compress.compare import compare
from benchmarks.compress.results import read, write
from benchmarks.compress.taught import FLOORS
from benchmarks.compress.verdicts import judge
from benchmarks.method import say
from benchmarks.models import MODELS, make
from benchmarks.table import Result, Row, keep, missing, show
from edgewise.errors import EdgewiseError

ROUNDS = 9


@click.command()
@click.argument("names", metavar="[MODEL]...", type=click.Choice(list(MODELS)), nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("bench-out/compress"),
    show_default=True,
    help="Where the results go, as JSON.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    default=Path("bench-out/models"),
    show_default=True,
    help="Where the projects are, or are made.",
)
@click.option(
    "--olive",
    "python",
    type=click.Path(path_type=Path),
    default=olive.PYTHON,
    help="Python of an environment that has olive-ai [.venv/olive].",
)
@click.option("--rounds", type=click.IntRange(min=6), default=ROUNDS, show_default=True)
@click.option(
    "--training/--no-training",
    "training",
    default=True,
    show_default=True,
    help=f"Also with training, for {', '.join(FLOORS)}.",
)
@click.option(
    "--peers/--no-peers", "peers", default=True, show_default=True, help="Compare with single tools."
)
@click.option("--only-table", is_flag=True, help="Measure nothing: the table over all kept results.")
def main(
    names: tuple[str, ...],
    out: Path,
    models: Path,
    python: Path,
    rounds: int,
    *,
    training: bool,
    peers: bool,
    only_table: bool,
) -> None:
    """Compare edgewise's choice with every single tool's default; exit with 1 when an aim is missed."""
    failed: list[Row] = []
    for name in () if only_table else dict.fromkeys(names or MODELS):
        try:
            project = make(name, models / name).parent
            if peers:
                write(compare(name, project, rounds=rounds, olive=str(python.absolute())), out / "models")
            if training and name in FLOORS:
                taught.write(taught.teach(name, project, rounds=rounds), out / "trained")
        except EdgewiseError as error:
            failed.append(missing(name, str(error)))
            say(f"{name}: {error}")
    without = [judge(comparison) for comparison in read(out / "models")]
    trained = list(taught.read(out / "trained"))
    if not without and not trained and not failed:
        raise click.UsageError(f"{out} holds no results yet: measure a model first")
    tables = {
        "compress": Result((*aims.rows(without), *failed), tuple(map(document.detail, without))),
        "compress-with-training": Result(tuple(lessons.rows(trained)), tuple(map(lessons.detail, trained))),
    }
    for title, result in tables.items():
        if result.rows:
            show(title, result)
            keep(title, result, out)
    click.echo(f"Results and the readings of every round: {out}")
    reached = [row.reached == "yes" for result in tables.values() for row in result.rows]
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.compress")
