"""The command line: one thin file per verb. Parse, call one function, print."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Any

import click

from edgewise.errors import INTERRUPTED, EdgewiseError, InputError, ToolchainError, missing_extra

__all__ = ["cli", "main"]

VERBS = ("init", "inspect", "targets", "build", "run", "verify", "tune", "export", "demo")


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
    except click.ClickException as error:
        error.show()
        return InputError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("edgewise: interrupted", err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: Python's own exit code would say "goal missed"
        said = _explained(error)
        if os.environ.get("EDGEWISE_DEBUG"):
            traceback.print_exception(error)
        click.echo(f"edgewise: {said}", err=True)
        return said.exit_code
    return code if isinstance(code, int) else 0


def _explained(error: Exception) -> EdgewiseError:
    """Return the error in edgewise's terms: what to say, and the exit code."""
    if isinstance(error, EdgewiseError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error.name or "a library", "lab")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return InputError(f"{where}{error.strerror or error}: give another path, or change what is there")
    words = " ".join(str(error).split())[:200]
    return ToolchainError(
        f"unforeseen {type(error).__name__}: {words}. This is a fault of edgewise: "
        "report it with what EDGEWISE_DEBUG=1 prints"
    )
