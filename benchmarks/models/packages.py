"""Pinned packages of npm and Debian, kept in the cache as those of PyPI are; nothing of them is installed or run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle.canonical import digest_file
from edgewise.errors import TrustError
from edgewise.lab.places import debian
from edgewise.targets.browser import npm

__all__ = ["Deb", "Npm", "fetch"]


@dataclass(frozen=True, slots=True)
class Npm:
    """One version of an npm package, and npm's own digest of it ("sha512-…")."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """How npm names its archive."""
        return f"{self.name}-{self.version}.tgz"

    def download(self, folder: Path) -> Path:
        """Fetch it into an empty folder, checked."""
        return npm.pack(f"{self.name}@{self.version}", self.integrity, folder)


@dataclass(frozen=True, slots=True)
class Deb:
    """One version of a Debian package for all architectures, and its SHA-256 in hex."""

    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """How Debian names its archive."""
        return f"{self.name}_{self.version}_all.deb"

    def download(self, folder: Path) -> Path:
        """Fetch it into an empty folder, checked."""
        archive = debian.download(f"{self.name}={self.version}", folder)
        if digest_file(archive) != self.sha256:
            raise TrustError(f"apt gave another {self.file} than the one that was pinned: do not use it")
        return archive


def fetch(package: Npm | Deb, cache: Path) -> Path:
    """Return the path of the package's archive in `cache`, downloaded and checked on the first call only.

    Raises ToolchainError when it cannot be had, TrustError or ToolchainError when it is not the one that was pinned.
    """
    path = cache / package.file
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch.") as aside:
            package.download(Path(aside)).replace(path)
    return path
