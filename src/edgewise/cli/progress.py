"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgewise.errors import INTERRUPTED
from edgewise.lab.watcher import Silent, Watcher

__all__ = ["watching"]


class Lines:
    """Plain lines on stderr, one per step."""

    def __init__(self) -> None:
        self._done = self._steps = 0

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage."""
        self._done, self._steps = 0, steps
        click.echo(f"{title} ({steps})", err=True)

    def step(self, what: str) -> None:
        """Finish a step."""
        self._done += 1
        click.echo(f"  {self._done}/{self._steps} {what}", err=True)


class Bar:
    """A bar on the terminal, with the time that is left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}", markup=False),
        )
        self.progress = Progress(*columns, console=Console(stderr=True))
        self._task = self.progress.add_task("", what="", total=None, visible=False)

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage."""
        self._task = self.progress.add_task(title, total=steps, what="")

    def step(self, what: str) -> None:
        """Finish a step."""
        self.progress.update(self._task, advance=1, what=what[:60])


@contextmanager
def watching(*, quiet: bool, cache: Path) -> Iterator[Watcher]:
    """Yield the watcher that suits where the output goes; on Ctrl-C say where finished work is kept."""
    try:
        with _watcher(quiet=quiet) as watcher:
            yield watcher
    except KeyboardInterrupt:
        kept = f"finished candidates stay in {cache} and are used on the next run"
        click.echo(f"edgewise: interrupted; {kept}", err=True)
        sys.exit(INTERRUPTED)


@contextmanager
def _watcher(*, quiet: bool) -> Iterator[Watcher]:
    if quiet or not sys.stderr.isatty():
        yield Silent() if quiet else Lines()
        return
    bar = Bar()
    with bar.progress:
        yield bar
