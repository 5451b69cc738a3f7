"""F1 of the boxes on a page: what differentiable binarisation makes of the detector's map, against where print is.

Source of the way from map to boxes: Liao et al., "Real-time Scene Text Detection with Differentiable Binarization",
AAAI 2020, section 3.6; boxes stay upright, as the lines of these pages are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

INK, CERTAIN, WIDEN, OVERLAP = 0.3, 0.5, 1.6, 0.5
SMALLEST = 3

Box = tuple[float, float, float, float]


def box_f1(outputs: dict[str, NDArray[Any]], label: NDArray[Any]) -> float:
    """Return the F1 of one page. A found box is right when it overlaps a line's by half (intersection over union).

    `outputs` holds the map [1, 1, height, width] of probabilities, `label` the boxes [most, 4] as left, top, right,
    bottom, the rows after the last of them negative.
    """
    found = boxes(next(iter(outputs.values()))[0, 0])
    wanted = [(row[0], row[1], row[2], row[3]) for row in label.tolist() if row[0] >= 0]
    right = _matched(found, wanted)
    return 2 * right / (len(found) + len(wanted))


def boxes(scores: NDArray[Any]) -> list[Box]:
    """Return the boxes around what is probably ink, widened to what the shrunken map stands for."""
    from scipy import ndimage

    regions, _ = ndimage.label(scores > INK, np.ones((3, 3)))
    found = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        certain = scores[rows, columns][regions[rows, columns] == index].mean()
        if min(height, width) >= SMALLEST and certain >= CERTAIN:
            more = height * width * WIDEN / (2 * (height + width))
            found.append((columns.start - more, rows.start - more, columns.stop + more, rows.stop + more))
    return found


def _matched(found: Sequence[Box], wanted: Sequence[Box]) -> int:
    """Count the wanted boxes that are found, each by one box of its own, the closest pairs first."""
    pairs = [(_overlap(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(wanted)]
    used: set[tuple[str, int]] = set()
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= OVERLAP and not used & {("found", i), ("wanted", j)}:
            used |= {("found", i), ("wanted", j)}
    return len(used) // 2


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
