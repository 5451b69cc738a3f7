"""`edgewise demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

SENTENCE = "battery life is great"


@click.command()
@click.argument("name", type=click.Choice(["sentiment", "ocr"]), default="sentiment")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True)
def command(name: str, out: Path) -> None:
    """Do the main job on a real model and real data."""
    from edgewise.cli.progress import watching
    from edgewise.cli.tables import outcome
    from edgewise.demo import ocr, sentiment
    from edgewise.facade import build
    from edgewise.lab.cache import default_folder

    folder = out / name
    click.echo(f"Fetching the {name} model and data, and preparing {folder}", err=True)
    make = {"sentiment": sentiment.make_project, "ocr": ocr.make_project}[name]
    config = make(folder / "project", default_folder() / "demo")
    with watching(quiet=False) as watcher:
        built = build(config, folder / "out", watcher=watcher)
    outcome(built)
    if name == "sentiment":
        from edgewise.device.runner import open_bundle

        with open_bundle(built.path) as model:
            answer = model(SENTENCE)
        click.echo(f'\nedgewise run {built.path} -i "{SENTENCE}"')
        click.echo(f"{answer.value} {answer.confidence:.2f}  (from {answer.route}: {answer.variant})")
    sys.exit(built.result.exit_code)
