"""`edgewise inspect`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dim", "dims", multiple=True, metavar="NAME=N", help="Value of a dynamic dimension.")
@click.option("--target", "names", multiple=True, metavar="NAME", help="Operators that this target takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: Path, dims: tuple[str, ...], names: tuple[str, ...], *, as_json: bool) -> None:
    """Show what a model costs: MACs by kind, parameters, memory, operators; and what a target takes of it."""
    from edgewise.cli.tables import inspection, placed
    from edgewise.lab.model.take import take_graph
    from edgewise.lab.profile import profile, support

    sizes = dict(_dim(text) for text in dims)
    loaded = take_graph(model)
    found = profile(loaded, dims=sizes)
    taken = support(loaded, names, sizes)
    if as_json:
        more = {"support": taken} if names else {}
        click.echo(msgspec.json.encode({**msgspec.to_builtins(found), **more}))
        return
    inspection(found)
    placed(taken)


def _dim(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{text!r}: write NAME=N with N of 1 or more", param_hint="--dim")
    return name, int(value)
