"""Who follows a build: the command line draws it, a test records it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Silent", "Watcher"]


class Watcher(Protocol):
    """Follows a build; the CLI draws it, a test records it."""

    def stage(self, title: str, steps: int) -> None:
        """Begin a stage of `steps` steps."""

    def step(self, what: str) -> None:
        """Finish one step."""

    def best(self, what: str) -> None:
        """Say which candidate is the best so far, with its figures; again when it changes."""


class Silent:
    """Watches nothing."""

    def stage(self, title: str, steps: int) -> None:
        """Ignore it."""

    def step(self, what: str) -> None:
        """Ignore it."""

    def best(self, what: str) -> None:
        """Ignore it."""
