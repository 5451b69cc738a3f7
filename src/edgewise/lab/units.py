"""Quantities as people write them: "30 ms", "25 MB", "99% of original"."""

from __future__ import annotations

import math
import re

from edgewise.errors import InputError

__all__ = ["parse_milliseconds", "parse_quality", "parse_size"]

_NUMBER = re.compile(r"^\s*(?P<number>[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*(?P<unit>[^\d].*)?$")
_TIME = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_SIZE = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_milliseconds(text: str) -> float:
    """Return milliseconds. Units: us, ms, s."""
    return _parse(text, _TIME, "a time such as '30 ms'")


def parse_size(text: str) -> float:
    """Return bytes. Units: B, kB, MB, GB (powers of ten), KiB, MiB, GiB (powers of two)."""
    return _parse(text, _SIZE, "a size such as '25 MB'")


def parse_quality(text: str) -> tuple[float | None, float | None]:
    """Return (share of the original, None) for "99% of original", or (None, absolute) for "0.8" or "80%"."""
    if match := re.fullmatch(r"\s*([-+]?[\d.]+)\s*%\s*of\s+(?:the\s+)?original\s*", text):
        share = _positive(match[1], text) / 100
        if share > 1:
            raise InputError(
                f"impossible goal {text!r}: compression cannot be held above 100% of the original"
            )
        return share, None
    if match := re.fullmatch(r"\s*([-+]?[\d.]+)\s*(%?)\s*", text):
        return None, _positive(match[1], text) / (100 if match[2] else 1)
    raise InputError(f"bad quality {text!r}: write '99% of original' or a value of the metric such as '0.80'")


def _parse(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _NUMBER.match(text)
    unit = (match["unit"] or "").strip().lower() if match else ""
    if not match or unit not in units:
        raise InputError(f"bad unit in {text!r}: write {example} (units: {', '.join(units)})")
    return _positive(match["number"], text) * units[unit]


def _positive(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError as error:
        raise InputError(f"{text!r} is not a number") from error
    if not 0 < value < math.inf:
        raise InputError(f"impossible goal {text!r}: it must be above zero, and finite")
    return value
