"""`edgewise targets`."""

from __future__ import annotations

import click
import msgspec

from edgewise import targets
from edgewise.errors import EdgewiseError
from edgewise.targets.status import Status, install, status

ARM64 = "arm64"  # not a target but a place, where several targets' artifacts are executed


@click.command()
@click.option(
    "--install",
    "wanted",
    metavar="NAME",
    help="Make the toolchain of a target that pip cannot install, or arm64: the emulation of ARM processors.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(wanted: str | None, *, as_json: bool) -> None:
    """List the targets: installed or missing, precisions, and the evidence each can give here."""
    if wanted:
        click.echo(f"{wanted}: {_install(wanted)}")
        return
    found = [status(name) for name in targets.names()]
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for one in found:
        _print(one)
    _print_arm64()


def _install(name: str) -> str:
    """Make what a target needs, or the emulation in which targets are run: it belongs to none of them."""
    if name == ARM64:
        from edgewise.lab.places import arm64

        return str(arm64.toolchain().install())
    return install(name)


def _print_arm64() -> None:
    from edgewise.lab.places import arm64

    click.echo(f"{ARM64}\n  executes {' and '.join(arm64.TARGETS)} on {' and '.join(arm64.CPUS)}, emulated")
    try:
        arm64.toolchain().path()
    except EdgewiseError as error:
        click.echo(f"  missing: {error}")


def _print(one: Status) -> None:
    builds = f"builds {one.format} with {one.toolchain}" if one.toolchain else "cannot build here"
    runs = f"runs on {one.provider} ({one.runtime})" if one.runtime else "cannot run here"
    click.echo(f"{one.name}: {', '.join(one.precisions)}")
    click.echo(f"  {builds}")
    click.echo(f"  {runs}; figures from here are: {one.evidence}")
    for command_ in one.missing:
        click.echo(f"  missing: {command_}")
