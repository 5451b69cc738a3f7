"""Toolchains that pip cannot put beside the others: converters with pins of their own, browser engines, emulators.

Each is one folder of the cache, named by its pins, so that another version is another folder. It is made only
when somebody asks for it by name (`edgewise targets --install litert`): a build downloads nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgewise.cache import Cache, default_folder
from edgewise.errors import ToolchainError

__all__ = ["Toolchain"]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What it is called, all that decides its content, and how it is made into an empty folder.

    `make` raises ToolchainError when it cannot; nothing half-made stays.
    """

    name: str
    pins: tuple[str, ...]
    make: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return Cache(default_folder()).entry(f"toolchains/{self.name}", self.pins)

    def path(self) -> Path:
        """Return its folder. Raises ToolchainError, with the command that makes it, when it is not there."""
        if not self.folder.is_dir():
            raise ToolchainError(
                f"{' '.join(self.pins)} is not installed. Run: edgewise targets --install {self.name}"
            )
        return self.folder

    def install(self) -> Path:
        """Make it where it is not there yet, and return its folder."""
        cache = Cache(default_folder())
        if not self.folder.is_dir():
            with cache.fill(self.folder) as folder:
                self.make(folder)
        return self.folder
