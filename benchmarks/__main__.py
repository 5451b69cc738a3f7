"""`python -m benchmarks [overhead|import|choice|tune|demo …]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks import choice, demos, imports, overhead, tune
from benchmarks.method import Options
from benchmarks.table import Result, keep, missing, show
from edgewise.errors import EdgewiseError

BENCHMARKS: dict[str, Callable[[Options], Result]] = {
    "overhead": overhead.run,
    "import": imports.run,
    "choice": choice.run,
    "tune": tune.run,
    "demo": demos.run,
}


@click.command()
@click.argument("names", type=click.Choice(list(BENCHMARKS)), nargs=-1)
@click.option(
    "--demo-out",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Where `edgewise demo` put its folders.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("bench-out"),
    show_default=True,
    help="Where the results go, as JSON.",
)
@click.option("--rounds", type=click.IntRange(min=6), help="Rounds of each benchmark [its own number].")
@click.option("--build", is_flag=True, help="Build a demo that is not there; it takes minutes.")
def main(names: tuple[str, ...], demo_out: Path, out: Path, rounds: int | None, *, build: bool) -> None:
    """Measure on this machine; exit with 1 when a figure could not be measured."""
    options = Options(demo_out.absolute(), rounds, build)
    measured = [_run(name, options, out) for name in dict.fromkeys(names or BENCHMARKS)]
    click.echo(f"Results and the readings of every round: {out}")
    sys.exit(0 if all(row.reached != "not measured" for result in measured for row in result.rows) else 1)


def _run(name: str, options: Options, out: Path) -> Result:
    try:
        result = BENCHMARKS[name](options)
    except EdgewiseError as error:
        result = Result((missing(name, str(error)),))
    show(name, result)
    keep(name, result, out)
    return result


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
