"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgewise.errors import INTERRUPTED
from edgewise.lab.watcher import Silent, Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["watching"]


WORTH_SAYING_S = 10.0  # what is left of a stage, below which nobody waits
EVERY_S = 30.0


class Lines:
    """Plain lines on stderr, one per step; now and then how long the stage will still take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = self._steps = 0
        self._began = self._said = clock()
        self._best = ""

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage."""
        self._done, self._steps = 0, steps
        self._began = self._said = self._clock()
        click.echo(f"{title} ({steps})", err=True)

    def step(self, what: str) -> None:
        """Finish a step."""
        self._done += 1
        click.echo(f"  {self._done}/{self._steps} {what}{self._left()}", err=True)

    def best(self, what: str) -> None:
        """Say it where it is news."""
        if what != self._best:
            self._best = what
            click.echo(f"  best so far: {what}", err=True)

    def _left(self) -> str:
        """Say what is left by the mean of the steps so far, at most twice a minute."""
        now = self._clock()
        left = (now - self._began) / self._done * (self._steps - self._done)
        if left < WORTH_SAYING_S or now - self._said < EVERY_S:
            return ""
        self._said = now
        return f"  ({_duration(left)} left)"


class Bar:
    """A bar on the terminal, with the time that is left and the best so far below it."""

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
        best = TextColumn("best so far: {task.description}", markup=False)
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console)
        self._crown = Progress(best, console=console)
        self._task = self.progress.add_task("", what="", total=None, visible=False)
        self._first = self._crown.add_task("", total=None, visible=False)

    def __rich__(self) -> RenderableType:
        """Draw the stages, and the best below them."""
        from rich.console import Group

        return Group(self.progress, self._crown)

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage."""
        self._task = self.progress.add_task(title, total=steps, what="")

    def step(self, what: str) -> None:
        """Finish a step."""
        self.progress.update(self._task, advance=1, what=what[:60])

    def best(self, what: str) -> None:
        """Show it until there is a better one."""
        self._crown.update(self._first, description=what, visible=True)


def _duration(seconds: float) -> str:
    """Return "about 40 s", "about 2 min", "about 1.5 h"."""
    if seconds < 60:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


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
    from rich.live import Live

    bar = Bar()
    with Live(bar, console=bar.progress.console):
        yield bar
