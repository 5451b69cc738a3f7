"""`edgewise build`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path), default="edgewise.toml")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Output folder [edgewise-out beside the config]."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for finished candidates.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="recipe.json of an earlier build: build exactly that, without a search.",
)
@click.option("--workers", type=int, help="Candidates to build or judge at once [as this machine takes].")
@click.option("--ray", metavar="ADDRESS", help="Build and judge on the Ray cluster at this address.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    config: Path,
    out: Path | None,
    cache: Path | None,
    recipe: Path | None,
    workers: int | None,
    ray: str | None,
    *,
    as_json: bool,
) -> None:
    """Build measured, verified, chosen variants: a bundle, a report and the recipe that rebuilds them."""
    from edgewise.cache import default_folder
    from edgewise.cli.progress import watching
    from edgewise.cli.tables import as_document, outcome
    from edgewise.facade import build

    with watching(quiet=as_json, cache=cache or default_folder()) as watcher:
        built = build(config, out, cache=cache, watcher=watcher, recipe=recipe, workers=workers, ray=ray)
    if as_json:
        click.echo(as_document(built))
    else:
        outcome(built)
    sys.exit(built.result.exit_code)
