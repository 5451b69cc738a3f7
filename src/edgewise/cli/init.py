"""`edgewise init`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgewise.errors import InputError


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--json", "as_json", is_flag=True, help="Print where it lies as JSON.")
def command(folder: Path, *, as_json: bool) -> None:
    """Write an edgewise.toml to start from."""
    from edgewise.bundle.atomic import translated, write_file
    from edgewise.lab.config import TEMPLATE

    path = folder / "edgewise.toml"
    if path.exists():
        raise InputError(f"{path} exists already: edit it, or choose another folder")
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(path, TEMPLATE.encode())
    if as_json:
        click.echo(json.dumps({"config": str(path)}))
        return
    click.echo(f"Wrote {path}. Next: set the model, data and goals in it, then run edgewise build {path}")
