"""The Pareto front: candidates that no other beats on quality, latency and size at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["front"]


def front(points: Sequence[ArrayLike]) -> list[bool]:
    """Tell for each point (all coordinates: smaller is better) whether no other dominates it."""
    if not points:
        return []
    array = np.asarray(points, np.float64)
    no_worse = (array[:, np.newaxis, :] <= array[np.newaxis, :, :]).all(axis=-1)
    better = (array[:, np.newaxis, :] < array[np.newaxis, :, :]).any(axis=-1)
    dominated = np.atleast_1d((no_worse & better).any(axis=0))
    return [not value for value in dominated.tolist()]
