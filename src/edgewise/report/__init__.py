"""The report of a build: one HTML page a product manager reads, with Markdown and JSON beside it.

`report.json` is the whole result and the only truth; the page and the Markdown are drawn from it, and say
nothing that is not in it. Importing this package or `report.format` loads neither Jinja nor Matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgewise.bundle.atomic import write_file
from edgewise.errors import InputError, missing_extra
from edgewise.lab.result import BuildResult

__all__ = ["read", "write"]


def write(result: BuildResult, folder: Path) -> Path:
    """Write `report.html`, `report.md` and `report.json` into `folder`; return the path of the page.

    The same result gives the same bytes. Raises ToolchainError when the lab extra is missing, InputError
    when the folder cannot be written.
    """
    try:
        from edgewise.report.page import html, markdown  # heavy, and only the lab has it
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "jinja2", "lab") from error
    files = {
        "report.json": msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n",
        "report.md": markdown(result).encode(),
        "report.html": html(result).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write the report to {folder}: {error.strerror}; choose a directory"
        ) from error
    for name, data in files.items():
        write_file(folder / name, data)
    return folder / "report.html"


def read(path: Path) -> BuildResult:
    """Return the result a `report.json` holds. Raises InputError when it is not one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BuildResult)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give the report.json of a build") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{path} is not a report.json of this version: {error}") from error
