"""Licences: recorded always; unknown or non-commercial warns at build and stops publish unless overridden."""

from __future__ import annotations

import re

from edgewise.bundle.manifest import Licence

__all__ = ["warnings_for"]

_NON_COMMERCIAL = re.compile(r"(^|[-_ ])NC([-_ ]|$)|non[- ]?commercial", re.IGNORECASE)


def warnings_for(licence: Licence) -> tuple[str, ...]:
    """Return one sentence per licence that is unknown or forbids commercial use."""
    return tuple(
        sentence
        for what, value in (("model", licence.model), ("data", licence.data))
        if (sentence := _warning(what, value))
    )


def _warning(what: str, value: str | None) -> str | None:
    if not value or value.strip().upper() in {"", "UNKNOWN", "NOASSERTION", "NONE"}:
        return f"the {what}'s licence is unknown: publish refuses it until stated or overridden"
    if _NON_COMMERCIAL.search(value):
        return f"the {what}'s licence ({value}) forbids commercial use: publish refuses it until overridden"
    return None
