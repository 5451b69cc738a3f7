"""`python -m benchmarks.compress [MODEL …]`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.compress import aims, document, olive
from benchmarks.compress.compare import compare
from benchmarks.compress.results import read, write
from benchmarks.compress.verdicts import judge
from benchmarks.method import say
from benchmarks.models import MODELS, make
from benchmarks.table import Result, keep, missing, show
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
@click.option("--only-table", is_flag=True, help="Measure nothing: the table over all kept results.")
def main(
    names: tuple[str, ...], out: Path, models: Path, python: Path, rounds: int, *, only_table: bool
) -> None:
    """Compare edgewise's choice with every single tool's default; exit with 1 when an aim is missed."""
    failed: list[Result] = []
    for name in () if only_table else dict.fromkeys(names or MODELS):
        try:
            project = make(name, models / name).parent
            comparison = compare(name, project, rounds=rounds, olive=str(python.absolute()))
        except EdgewiseError as error:
            failed.append(Result((missing(name, str(error)),)))
            say(f"{name}: {error}")
            continue
        write(comparison, out / "models")
    judged = [judge(comparison) for comparison in read(out / "models")]
    if not judged and not failed:
        raise click.UsageError(f"{out / 'models'} holds no results yet: measure a model first")
    result = sum(failed, Result(tuple(aims.rows(judged)), tuple(map(document.detail, judged))))
    show("compress", result)
    keep("compress", result, out)
    click.echo(f"Results and the readings of every round: {out}")
    sys.exit(0 if all(row.reached == "yes" for row in result.rows) else 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.compress")
