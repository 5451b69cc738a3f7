"""`edgewise init`."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.errors import InputError


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def command(folder: Path) -> None:
    """Write an edgewise.toml to start from."""
    from edgewise.bundle.atomic import write_file
    from edgewise.lab.config import TEMPLATE

    path = folder / "edgewise.toml"
    if path.exists():
        raise InputError(f"{path} exists already: edit it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_file(path, TEMPLATE.encode())
    click.echo(f"Wrote {path}. Next: set the model, data and goals in it, then run edgewise build {path}")
