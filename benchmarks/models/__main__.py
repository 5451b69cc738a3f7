"""`python -m benchmarks.models NAME FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.models.registry import MODELS, make
from edgewise.errors import EdgewiseError

ABOUT = "\n".join(["\b", *(f"{name:<20} {model.about}" for name, model in MODELS.items())])


@click.command(help=f"Write the project of a model into FOLDER.\n\n{ABOUT}")
@click.argument("name", type=click.Choice(list(MODELS)))
@click.argument("folder", type=click.Path(path_type=Path))
def main(name: str, folder: Path) -> None:
    """Make one project; exit as edgewise does where that fails."""
    try:
        click.echo(make(name, folder))
    except EdgewiseError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.models")
