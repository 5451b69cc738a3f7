"""`edgewise export`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import msgspec

from edgewise.errors import GoalError
from edgewise.handover import Exported, export
from edgewise.handover.snippets import LANGUAGES, Language


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--tier", required=True, help="Hand over what this tier gets.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Output folder [handover-TIER].")
@click.option("--language", type=click.Choice(LANGUAGES), help="Of the app [by the tier's platform].")
@click.option(
    "--as", "form", type=click.Choice(["modelpackage"]), help="Write an ONNX Runtime model package instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    bundle: Path, tier: str, out: Path | None, language: Language | None, form: str | None, *, as_json: bool
) -> None:
    """Hand a tier's model over to an app: its files, a README and a snippet of code."""
    done = export(
        bundle, tier, out or Path(f"handover-{_plain(tier)}"), language=language, package=form is not None
    )
    if as_json:
        click.echo(msgspec.json.encode(done))
    else:
        _print(done)
    if not all(rule.kept for rule in done.lints):
        sys.exit(GoalError.exit_code)


def _print(done: Exported) -> None:
    click.echo(f"{done.path}: {done.variant}, as tier {done.tier!r} gets it")
    for name, what in done.files.items():
        click.echo(f"  {name}: {what}")
    for rule in done.lints:
        if not rule.kept:
            click.echo(f"  Google Play would refuse it: {rule.rule}; found {rule.found}")
    for note in done.notes:
        click.echo(f"  {note}")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "tier"
