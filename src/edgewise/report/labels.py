"""Where labels go in the chart: beside their point, off the other points and labels as far as that goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "Label", "place"]


@dataclass(frozen=True)
class Box:
    """A rectangle in points, from its lower left corner."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Return the common area."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, wide) * max(0.0, high)


@dataclass(frozen=True)
class Label:
    """A text of this width and height that belongs to a round mark at (x, y)."""

    x: float
    y: float
    radius: float
    width: float
    height: float

    @property
    def mark(self) -> Box:
        """The square around the mark."""
        return Box(self.x - self.radius, self.y - self.radius, 2 * self.radius, 2 * self.radius)


def place(labels: Sequence[Label], inside: Box, avoid: Sequence[Box] = ()) -> list[Box]:
    """Give each label the first of its positions that covers least; earlier labels go first."""
    marks, placed = [label.mark for label in labels], list[Box]()
    for label in labels:
        others = [*(mark for mark in marks if mark != label.mark), *placed, *avoid]
        placed.append(min(_positions(label), key=lambda box: _cost(box, others, inside)))
    return placed


def _positions(label: Label) -> Iterator[Box]:
    """Right, left, above, below, then the corners; each a little further out the second time."""
    for gap in (2.0, 9.0):
        reach = label.radius + gap
        right, left, middle = label.x + reach, label.x - reach - label.width, label.x - label.width / 2
        above, below, level = label.y + reach, label.y - reach - label.height, label.y - label.height / 2
        for x, y in ((right, level), (left, level), (middle, above), (middle, below)):
            yield Box(x, y, label.width, label.height)
        for x, y in ((right, above), (right, below), (left, above), (left, below)):
            yield Box(x + (label.radius if x == left else -label.radius) * 0.4, y, label.width, label.height)


def _cost(box: Box, others: Sequence[Box], inside: Box) -> float:
    outside = box.width * box.height - box.overlap(inside)
    return 8 * outside + sum(box.overlap(other) for other in others)
