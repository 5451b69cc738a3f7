"""Finished work, kept by content: an interrupted or repeated build starts from what is done.

An entry is a folder named by the digest of everything that decides its content; it is written aside and moved
into place, so an entry that exists is whole.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgewise.bundle.canonical import digest_document
from edgewise.errors import InputError

__all__ = ["STAGING", "Cache", "default_folder", "staging_prefix"]

STAGING = ".new-"
PATIENCE_S = 2 * 24 * 3600  # no entry is longer in the making


def default_folder() -> Path:
    """Return `$EDGEWISE_CACHE`, else `$XDG_CACHE_HOME/edgewise`, else `~/.cache/edgewise`."""
    if named := os.environ.get("EDGEWISE_CACHE"):
        return Path(named)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "edgewise"
    try:
        return Path.home() / ".cache" / "edgewise"
    except RuntimeError as error:  # a user without a home, as in some containers
        raise InputError("no home folder for the cache: set EDGEWISE_CACHE to a folder") from error


def staging_prefix() -> str:
    """Return how the folders are called in which this process makes what is not finished: `.new-HOST-PID-`."""
    return f"{STAGING}{_host()}-{os.getpid()}-"


class Cache:
    """Entries under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()  # tools work in other folders

    def entry(self, kind: str, key: Any) -> Path:
        """Return the folder of the entry for `key` (it may not exist yet)."""
        return self.folder / kind / digest_document(key)

    def shared(self, kind: str, key: Any) -> Path:
        """Return the folder for `key`, made if need be; its files are written whole by those who use it."""
        with self._writable():
            folder = self.entry(kind, key)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def fill(self, entry: Path) -> Iterator[Path]:
        """Yield an empty folder beside `entry`, moved into place when the block ends well."""
        staging = None
        try:
            with self._writable():
                entry.parent.mkdir(parents=True, exist_ok=True)
                staging = Path(tempfile.mkdtemp(dir=entry.parent, prefix=staging_prefix()))
                yield staging
                _place(staging, entry)
        finally:
            if staging:
                shutil.rmtree(staging, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes left half made; what others are at work on stays."""
        for pattern in (
            f"*/{STAGING}*",
            f"ranges/*/{STAGING}*",
            f"ranges/*/*/{STAGING}*",
            f"toolchains/*/{STAGING}*",
        ):
            for folder in self.folder.glob(pattern):
                if _abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"the cache {self.folder} is not writable ({error.strerror or error}): free space, or set EDGEWISE_CACHE to another folder"
            raise InputError(message) from error


def _place(staging: Path, entry: Path) -> None:
    try:
        staging.rename(entry)
    except OSError:
        if not entry.is_dir():  # else another build was first, with the same content
            raise


def _host() -> str:
    return re.sub(r"\W", "_", platform.node())


def _abandoned(folder: Path) -> bool:
    """Tell whether the process that makes it is gone; of another machine's process its age must tell."""
    try:
        old = time.time() - folder.stat().st_mtime > PATIENCE_S
    except OSError:  # moved into place just now
        return False
    host, _, pid = folder.name.removeprefix(STAGING).rpartition("-")[0].rpartition("-")
    return old or (host == _host() and pid.isdecimal() and not _runs(int(pid)))


def _runs(pid: int) -> bool:
    if os.name == "nt":  # there, os.kill ends what it should only ask for
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
