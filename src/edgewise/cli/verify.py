"""`edgewise verify`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgewise.bundle.signing import SigningState
from edgewise.device.verify import Checked, verify
from edgewise.errors import DeviceError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--require",
    type=click.Choice(["development", "release"]),
    help="Refuse a bundle that is signed less than this.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: Path, *, require: SigningState | None, as_json: bool) -> None:
    """Check digests, signatures and golden answers on this machine."""
    checked = verify(bundle, require=require or "unsigned")
    if as_json:
        click.echo(msgspec.json.encode(checked))
    else:
        _print(bundle, checked)
    if not any(check.ran for check in checked.variants):
        raise DeviceError(f"{bundle}: no variant could be run on this machine, so no answer was verified")


def _print(bundle: Path, checked: Checked) -> None:
    click.echo(f"{bundle}: {checked.artifacts} artifacts as written, signing: {checked.signing}")
    click.echo(f"  pre-processing: {checked.preprocessing}")
    for check in checked.variants:
        if check.difference is None:
            click.echo(f"  {check.variant}: not run ({check.note})")
        else:
            told = f"golden answers differ from the original's by {check.difference.rms:.2g} of their size"
            click.echo(f"  {check.variant}: {told} (tolerance {check.tolerance:.2g})")
