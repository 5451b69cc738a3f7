"""Non-maximum suppression: of boxes that overlap, the one with the best score stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.registry import operator

__all__: list[str] = []

Array = NDArray[Any]


@operator("non_maximum_suppression", moves=True)
def _suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Any,
    max_boxes: Any,
    score_threshold: Any = None,
    per_class_suppression: Any = False,
) -> Any:
    """Up to iOS 16 there is a score threshold, boxes are (n, B, 4), and the fourth result counts the survivors.

    Since iOS 17 there is neither, and boxes are (n, 4, B). Unused places hold zeros, their index is −1.
    """
    modern = score_threshold is None
    if modern:
        boxes, scores = boxes.swapaxes(1, 2), scores.swapaxes(1, 2)
    floor = -np.inf if modern else score_threshold
    kept = [
        _kept(*each, iou_threshold, floor, int(max_boxes), by_class=bool(per_class_suppression))
        for each in zip(boxes, scores, strict=True)
    ]
    chosen = np.stack([_filled(box, keep, int(max_boxes)) for box, keep in zip(boxes, kept, strict=True)])
    graded = np.stack(
        [_filled(score, keep, int(max_boxes)) for score, keep in zip(scores, kept, strict=True)]
    )
    indices = np.stack([np.pad(keep, (0, int(max_boxes) - len(keep)), constant_values=-1) for keep in kept])
    if modern:
        return chosen.swapaxes(1, 2), graded.swapaxes(1, 2), indices
    return chosen, graded, indices, np.array([len(keep) for keep in kept])


def _filled(rows: Array, kept: Array, count: int) -> Array:
    return np.pad(rows[kept], [(0, count - len(kept)), (0, 0)])


def _kept(
    boxes: Array, scores: Array, iou_threshold: Any, floor: Any, count: int, *, by_class: bool
) -> Array:
    """Return the surviving boxes' indices, best first; where the threshold leaves none, the best of all."""
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    overlaps = _overlaps(boxes) > iou_threshold
    if by_class:
        overlaps &= classes[:, np.newaxis] == classes
    kept: list[int] = []
    for candidate in np.argsort(-best, kind="stable"):
        if len(kept) < count and best[candidate] >= floor and not overlaps[candidate, kept].any():
            kept.append(int(candidate))
    return np.array(kept or [int(best.argmax())], np.int64)


def _overlaps(boxes: Array) -> Array:
    """Return the intersection over union of each two boxes (centre x, centre y, width, height)."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    low, high = centre - size / 2, centre + size / 2
    sides = np.minimum(high[:, np.newaxis], high) - np.maximum(low[:, np.newaxis], low)
    common = np.maximum(sides, 0).prod(axis=-1)
    area = size.prod(axis=-1)
    return np.asarray(common / (area[:, np.newaxis] + area - common))
