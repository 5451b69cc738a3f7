"""What the chart shows and where: points, ranges and ticks, settled before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.bundle.evidence import Figure
from edgewise.lab.result import BuildResult, CandidateRow
from edgewise.report import view

__all__ = ["Point", "Scene", "scene", "ticks"]

_LARGEST = 22.0  # diameter of the largest file's disc, in points
_SMALLEST = 5.0  # nothing is drawn smaller, or it could not be seen
_STEPS = (
    (1, 2, 5),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
)


@dataclass(frozen=True)
class Point:
    """A candidate as drawn; `y` is held at the edge where its quality lies `beyond` it."""

    row: CandidateRow
    rank: int
    x: float
    y: float
    diameter: float
    beyond: bool
    chosen: bool
    original: bool


@dataclass(frozen=True)
class Scene:
    """Everything the chart draws: `worst` and `best` quality shown, the floor if one is stated."""

    points: tuple[Point, ...]
    worst: float
    best: float
    floor: float | None
    front: tuple[Point, ...]


def scene(result: BuildResult) -> Scene | None:
    """Return the scene of every candidate with a latency and a quality; null if there is none."""
    rows = [row for row in view.ranked(result) if _drawable(row)]
    if not rows:
        return None
    worst, best = _range(result, rows)
    points = tuple(_points(result, rows, worst))
    return Scene(points, worst, best, view.search_floor(result), tuple(_front(result, points)))


def ticks(low: float, high: float) -> list[float]:
    """Return 1-2-5 steps for a log axis, finer ones where the range is short."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = list[float]()
    for steps in _STEPS:
        found = [
            step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high
        ]
        if len(found) >= 3:
            break
    return found


def _drawable(row: CandidateRow) -> bool:
    p50, quality = (view.figure_of(row, name).value for name in ("p50", "quality"))
    return row.status == "ok" and bool(p50) and quality is not None and math.isfinite(quality)


def _value(row: CandidateRow, name: str) -> float:
    return view.figure_of(row, name).value or 0.0


def _range(result: BuildResult, rows: Sequence[CandidateRow]) -> tuple[float, float]:
    """Worst and best quality shown. One collapsed candidate must not squash all the others."""
    sign = 1.0 if result.higher_is_better else -1.0
    original = view.figure_of(result.row(result.original), "quality").value
    anchor = max(sign * _value(row, "quality") for row in rows) if original is None else sign * original
    floor = view.search_floor(result)
    gap = max(abs(anchor - sign * floor) if floor is not None else 0.0, 0.004 * abs(anchor), 1e-9)
    shown = [row for row in rows if sign * _value(row, "quality") >= anchor - 6 * gap]
    edges = [sign * edge for row in shown for edge in _interval(view.figure_of(row, "quality"))]
    return sign * min(*edges, anchor - 1.6 * gap), sign * max(*edges, anchor + 0.6 * gap)


def _interval(figure: Figure) -> tuple[float, float]:
    value = figure.value or 0.0
    return value if figure.low is None else figure.low, value if figure.high is None else figure.high


def _points(result: BuildResult, rows: Sequence[CandidateRow], worst: float) -> list[Point]:
    ranks = {row.id: rank for rank, row in enumerate(view.ranked(result), 1)}
    largest = max(_value(row, "size") for row in rows) or 1.0
    chosen = view.chosen(result)
    found = []
    for row in rows:
        quality = _value(row, "quality")
        beyond = quality < worst if result.higher_is_better else quality > worst
        point = Point(
            row=row,
            rank=ranks[row.id],
            x=_value(row, "p50"),
            y=worst if beyond else quality,
            diameter=max(_SMALLEST, _LARGEST * math.sqrt(_value(row, "size") / largest)),
            beyond=beyond,
            chosen=row.id in chosen,
            original=row.id == result.original,
        )
        found.append(point)
    return found


def _front(result: BuildResult, points: Sequence[Point]) -> list[Point]:
    """Those on the Pareto front that also lead in quality × latency alone, the fastest first."""
    sign = 1 if result.higher_is_better else -1
    lead = list[Point]()
    for point in sorted(points, key=lambda point: (point.x, -sign * point.y)):
        better = not lead or sign * point.y > sign * lead[-1].y
        if point.row.pareto and not point.beyond and better:
            lead.append(point)
    return lead
