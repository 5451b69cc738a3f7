"""What `edgewise tune` found for a bundle on this machine, remembered for the next `edgewise.open`.

It is kept in the cache, never in the bundle: it holds for this processor and these runtimes alone.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgewise import targets
from edgewise.bundle.atomic import write_file
from edgewise.bundle.canonical import digest_file
from edgewise.bundle.evidence import Figure
from edgewise.bundle.store import MANIFEST, Bundle
from edgewise.cache import default_folder
from edgewise.errors import EdgewiseError
from edgewise.machine import cores, platform_name, processor

__all__ = ["Setup", "Tried", "Tuned", "recall", "remember", "whereabouts"]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a bundle: a variant by its id, threads (0: the runtime's own number), and the target's settings."""

    variant: str
    threads: int = 0
    settings: dict[str, str] = {}

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}" if self.threads else "default threads"
        return ", ".join(
            [self.variant, threads, *(f"{name} {value}" for name, value in self.settings.items())]
        )


class Tried(msgspec.Struct, frozen=True):
    """One setup against the best before it: the median of their ratios, over how many rounds, and the end of it."""

    setup: Setup
    ratio: float
    rounds: int
    outcome: str


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """The setup to use. `ratio` is its p50 over the default's, in rounds that played no part in finding it.

    It is None where the default stays.
    """

    setup: Setup
    default: Setup
    p50: Figure
    ratio: Figure | None
    where: dict[str, str]
    tried: tuple[Tried, ...]


def whereabouts(runtimes: tuple[str, ...]) -> dict[str, str]:
    """Return what a setup holds for: this machine, and the versions of the runtimes that took part."""
    versions = {name: targets.session(name).version() for name in runtimes}
    return {"platform": platform_name(), "processor": processor(), "cores": str(cores())} | versions


def remember(bundle: Bundle, tuned: Tuned) -> Path:
    """Keep it for the next `open` of the same bundle; return the file."""
    path = _file(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.encode(tuned))
    return path


def recall(bundle: Bundle) -> Tuned | None:
    """Return what was found for this bundle on this machine as it is now; None when there is nothing that holds."""
    try:
        tuned = msgspec.json.decode(_file(bundle).read_bytes(), type=Tuned)
        runtimes = tuple(tuned.where.keys() - {"platform", "processor", "cores"})
        return tuned if whereabouts(runtimes) == tuned.where else None
    except (OSError, msgspec.MsgspecError, EdgewiseError):
        return None


def _file(bundle: Bundle) -> Path:
    return default_folder() / "tuned" / f"{digest_file(bundle.path / MANIFEST)}.json"
