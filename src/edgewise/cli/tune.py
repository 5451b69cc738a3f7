"""`edgewise tune`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgewise.device.tune import tune
from edgewise.device.tuned import Tried, Tuned


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--tier", help="Start from this tier's variant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: Path, *, tier: str | None, as_json: bool) -> None:
    """Find the fastest variant, threads and settings on this machine, and remember them."""
    tuned = tune(bundle, tier=tier, hear=_ignore if as_json else _tell)
    click.echo(msgspec.json.encode(tuned) if as_json else as_text(tuned))


def _tell(tried: Tried) -> None:
    against = f"{tried.ratio:.2f} × the best so far, {tried.rounds} round{'s' * (tried.rounds > 1)}"
    click.echo(f"  {tried.setup}: {tried.outcome} ({against})")


def _ignore(tried: Tried) -> None:
    """Say nothing."""


def as_text(tuned: Tuned) -> str:
    """Return the result in words."""
    if tuned.ratio is None:
        return f"Nothing was shown to be faster than the default, which stays: {tuned.default}"
    ratio = f"{tuned.ratio.value:.2f} × ({tuned.ratio.low:.2f}–{tuned.ratio.high:.2f})"
    return (
        f"Fastest: {tuned.setup}\n"
        f"  p50 {tuned.p50.value:.3g} ms, {ratio} of the default ({tuned.default}), measured in new rounds\n"
        "  edgewise.open uses it from now on; name a tier or threads to have it otherwise"
    )
