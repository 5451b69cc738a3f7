"""Write beside, move into place: an output path holds a complete result or what was there before."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgewise.errors import InputError

__all__ = ["DISK_FULL", "check_replaceable", "replace_directory", "translated", "write_file"]

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path` atomically and durably: as the umask allows, or for its owner alone if `private`."""
    mode = 0o600 if private else 0o666
    with translated(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def replace_directory(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield an empty directory beside `path`; move it to `path` when the block ends well.

    An existing `path` is replaced only if it is empty or contains `marker` (a file this program wrote),
    so a wrong `--out` cannot erase someone's folder. Raises InputError when it cannot be written.
    """
    check_replaceable(path, marker=marker)
    path = path.resolve() if path.is_symlink() else path  # the result lands where the link points
    made = [folder for folder in path.parents if not folder.exists()]
    staging = None
    try:
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
            staging.chmod(0o755)
            yield staging
            _swap(staging, path)
    finally:
        if staging:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # stays where it holds the result
                folder.rmdir()


def check_replaceable(path: Path, *, marker: str) -> None:
    """Raise InputError unless `path` is free, empty, or an earlier output; call it before long work."""
    with translated(path):
        whole = path.resolve()
        if Path.cwd().is_relative_to(whole) or os.path.ismount(whole):
            raise InputError(f"{path} cannot be replaced as a whole: choose a new folder inside it")
        if path.is_dir():
            if any(path.iterdir()) and not (path / marker).exists():
                raise InputError(f"{path} is not empty and not an edgewise output: choose another path")
        elif path.exists():
            raise InputError(f"{path} is a file: choose a directory for the output")
        parent = next(folder for folder in whole.parents if folder.exists())
        if not _takes_files(parent):
            raise InputError(f"{parent} is not writable: choose another output path")


def _swap(staging: Path, path: Path) -> None:
    if not path.exists():
        staging.rename(path)
        return
    previous = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    try:
        path.replace(previous / "was")
        staging.rename(path)
    except BaseException:  # Ctrl-C too: what was there comes back
        if not path.exists():
            (previous / "was").replace(path)
        raise
    finally:
        shutil.rmtree(previous, ignore_errors=True)


def _takes_files(folder: Path) -> bool:
    """Try it: permission bits say nothing to root, and nothing of /proc or a read-only file system."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".edgewise-"):
            return True
    except OSError:
        return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one sentence that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename and str(error.filename) != str(path):
            reason += f" ({error.filename})"
        message = f"cannot write {path}: {reason}; nothing was left behind. Free space or choose another path"
        raise InputError(message) from error


def remove_quietly(path: Path) -> None:
    """Remove a file or directory if it is there."""
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
