"""`edgewise demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

SENTENCE = "battery life is great"


@click.command()
@click.argument("name", type=click.Choice(["sentiment", "ocr"]), default="sentiment")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result of the build as JSON.")
def command(name: str, out: Path, *, as_json: bool) -> None:
    """Do the main job on a real model and real data."""
    from edgewise.cache import default_folder
    from edgewise.cli.progress import watching
    from edgewise.cli.tables import as_document, outcome
    from edgewise.demo import ocr, sentiment
    from edgewise.facade import build

    folder = out / name
    with watching(quiet=as_json, cache=default_folder()) as watcher:
        if not as_json:
            click.echo(f"Fetching the {name} model and data, and preparing {folder}", err=True)
        make = {"sentiment": sentiment.make_project, "ocr": ocr.make_project}[name]
        config = make(folder / "project", default_folder() / "demo")
        built = build(config, folder / "out", watcher=watcher)
    if as_json:
        click.echo(as_document(built))
    else:
        outcome(built)
        if name == "sentiment":
            _answer(built.path)
    sys.exit(built.result.exit_code)


def _answer(bundle: Path) -> None:
    from edgewise.cli.run import as_text
    from edgewise.device.runner import open_bundle

    click.echo(f'\nedgewise run {bundle} -i "{SENTENCE}"')
    with open_bundle(bundle) as model:
        click.echo(as_text(model(SENTENCE)))
