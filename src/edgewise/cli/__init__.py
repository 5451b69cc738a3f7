"""The command line: one thin file per verb. Parse, call one function, print."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from edgewise.errors import INTERRUPTED, EdgewiseError, InputError, missing_extra

__all__ = ["cli", "main"]

VERBS = ("init", "inspect", "build", "run", "verify", "demo")


class Verbs(click.Group):
    """Loads a verb's file only when it is called, so that `edgewise run` never imports the lab."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        import importlib

        module: Any = importlib.import_module(f"edgewise.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgewise")
def cli() -> None:
    """Run AI models on people's own devices: compress, verify, measure, choose, bundle."""


def main() -> None:
    """Run the command line; every failure is one message on stderr and the exit code it deserves."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who is stopped clears up as after Ctrl-C
    sys.exit(_run())


def _run() -> int:
    try:
        code = cli.main(standalone_mode=False)
    except EdgewiseError as error:
        click.echo(f"edgewise: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return InputError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("edgewise: interrupted", err=True)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        click.echo(f"edgewise: {missing_extra(error.name or 'a library', 'lab')}", err=True)
        return 3
    return code if isinstance(code, int) else 0
