"""Strict TOML: every message names the file, the key and its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgewise.errors import InputError

__all__ = ["read", "where"]

T = TypeVar("T")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_FIELD = re.compile(r"Object (?:contains (?P<unknown>unknown)|missing required) field `(?P<key>[^`]+)`")


def read(path: Path, kind: type[T]) -> T:
    """Read `path` as TOML of type `kind`. Raises InputError naming key and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: `edgewise init` writes one to start from") from error
    except (OSError, ValueError) as error:  # not UTF-8; a NUL in the name
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number too long, brackets nested too deep
        raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        return msgspec.convert(document, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(_explain(path, text, str(error))) from error


def where(path: Path, key: str) -> str:
    """Return "file, line N, key" for a dotted key that was read from `path` before."""
    line = _line_of(path.read_text(encoding="utf-8-sig"), key)
    return f"{path}, line {line}, {key}" if line else f"{path}, {key}"


def _explain(path: Path, text: str, message: str) -> str:
    place = _PATH.search(message)
    key = place["path"] if place else ""
    reason = _PATH.sub("", message)
    if field := _FIELD.search(reason):
        key = f"{key}.{field['key']}" if key else field["key"]
        reason = f"{'unknown' if field['unknown'] else 'missing'} key {field['key']!r}"
    line = _line_of(text, key)
    return f"{path}{f', line {line}' if line else ''}: {key}: {reason}"


def _line_of(text: str, key: str) -> int | None:
    """Find the line of a dotted key such as `goal.size` or `tier[1].share`; else that of its table."""
    table, counts, best = "", dict[str, int](), None
    parent = key.rpartition(".")[0]
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"\[\[\s*([\w.-]+)\s*\]\]", stripped):
            counts[header[1]] = counts.get(header[1], -1) + 1
            table = f"{header[1]}[{counts[header[1]]}]"
            best = number if key == header[1] else best
        elif header := re.match(r"\[\s*([\w.-]+)\s*\]", stripped):
            first, _, rest = header[1].partition(".")
            table = f"{first}[{counts[first]}].{rest}" if first in counts and rest else header[1]
        elif assigned := re.match(r"([\w.-]+|\"[^\"]+\")\s*=", stripped):
            full = f"{table}.{assigned[1].strip(chr(34))}" if table else assigned[1]
            if full == key or key.startswith((f"{full}[", f"{full}.")):
                return number
        if table and table in (key, parent):
            best = best or number
    return best


def as_builtins(value: Any) -> Any:
    """Return plain dicts and lists, for JSON."""
    return msgspec.to_builtins(value)
