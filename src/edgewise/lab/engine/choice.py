"""Which engine a build uses, and that it ends with the build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgewise.lab.config import MeasureSection
from edgewise.lab.engine import Engine
from edgewise.lab.engine.local import Local

__all__ = ["engine"]


@contextmanager
def engine(measure: MeasureSection, ray: str | None = None) -> Iterator[Engine]:
    """Yield the engine: a Ray cluster where its address is given, else this machine. Raises ToolchainError."""
    local = Local(measure.workers)
    try:
        if ray is None:
            yield local
        else:
            from edgewise.lab.engine.cluster import connected

            with connected(ray, local, measure.workers) as cluster:
                yield cluster
    finally:
        local.close()
