"""One byte string per document: JSON by RFC 8785, and SHA-256 over it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import rfc8785

from edgewise.errors import InputError

__all__ = ["canonical_json", "digest_bytes", "digest_document", "digest_file"]


def canonical_json(document: Any) -> bytes:
    """Return `document` (structs, dicts, lists, scalars) as canonical JSON (RFC 8785, UTF-8).

    Raises InputError on NaN or infinity and on integers beyond 2**53, which JSON readers round.
    """
    try:
        return rfc8785.dumps(msgspec.to_builtins(document))
    except (ValueError, TypeError, RecursionError) as error:  # CanonicalizationError is a ValueError
        raise InputError(f"cannot be written as canonical JSON: {error}") from error


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def digest_document(document: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `document`."""
    return digest_bytes(canonical_json(document))


def digest_file(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
