"""Google Play's limits for models that the store delivers: "Play for On-device AI", a beta.

An AI pack is a part of an app bundle that holds a model and no code. Play counts the compressed download.
Source: https://developer.android.com/google/play/on-device-ai, "Considerations", read in November 2026
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

__all__ = ["APP_LIMIT", "PACK_LIMIT", "Lint", "lint"]

PACK_LIMIT = 1_500_000_000
"""Bytes of one AI pack ("1.5GB"), compressed."""

APP_LIMIT = 4_000_000_000
"""Bytes of any one version of the app that is generated from its app bundle ("4GB")."""

LARGE = 1_000_000_000
"""Bytes above which an app has to ask for SDK level 21."""

_CODE = frozenset({".so", ".jar", ".dex", ".java", ".kt", ".aar", ".apk"})
_CHUNK = 1 << 20


class Lint(msgspec.Struct, frozen=True):
    """One rule of Play's: whether the files keep it, and what was found."""

    rule: str
    kept: bool
    found: str


def lint(files: Iterable[Path], *, pack_limit: int = PACK_LIMIT) -> tuple[Lint, ...]:
    """Check files that would be one AI pack. They are compressed only if they are large as they are."""
    return tuple(_rules(tuple(files), pack_limit))


def _rules(files: tuple[Path, ...], pack_limit: int) -> Iterator[Lint]:
    size = sum(file.stat().st_size for file in files)
    packed = size if size <= pack_limit else sum(map(_compressed, files))
    how = "bytes" if packed == size else f"bytes compressed, of {size:,}"
    yield Lint(
        f"an AI pack has at most {pack_limit:,} bytes, compressed", packed <= pack_limit, f"{packed:,} {how}"
    )
    yield Lint(
        f"a version of the app has at most {APP_LIMIT:,} bytes with all its packs",
        packed <= APP_LIMIT,
        f"{packed:,} of them are this pack",
    )
    code = sorted(file.name for file in files if file.suffix in _CODE)
    yield Lint("an AI pack holds models only, no code", not code, ", ".join(code) or "no code")
    if packed > LARGE:
        yield Lint(
            "an app of more than 1 GB asks for SDK level 21 or higher", True, "set minSdk to 21 or higher"
        )


def _compressed(path: Path) -> int:
    deflate, size = zlib.compressobj(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size += len(deflate.compress(chunk))
    return size + len(deflate.flush())
