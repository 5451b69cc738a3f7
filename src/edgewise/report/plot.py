"""The picture of the search: quality × latency × size of every candidate, as SVG that belongs to the page.

Colours are written as CSS variables and type as text, so the page's own light, dark and print styles hold.
The same result gives the same bytes: no dates, salted ids.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from edgewise.lab.result import BuildResult
from edgewise.report import format as fmt
from edgewise.report import view
from edgewise.report.labels import Box, Label, place
from edgewise.report.scene import Point, Scene, scene, ticks
from edgewise.report.svg import inline

__all__ = ["Chart", "chart"]

# Stand-ins that Matplotlib can draw with; each becomes a variable of the page's style sheet.
_INK, _MUTED, _LINE, _ACCENT, _PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _LINE: "--line", _ACCENT: "--accent", _PAPER: "--paper"}
_STYLE = {"svg.fonttype": "none", "text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 9.0}
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.68, 0.1, 0.62, 0.42  # margins in inches


@dataclass(frozen=True)
class Chart:
    """An inline SVG, the candidates drawn, and those whose quality lies beyond its lower edge."""

    svg: str
    drawn: tuple[str, ...]
    beyond: tuple[str, ...]


def chart(result: BuildResult, name: str, *, width: float, height: float) -> Chart | None:
    """Draw every candidate that has a latency and a quality, `width` × `height` inches; null if none has.

    `name` tells this picture's ids from another's on the same page.
    """
    shown = scene(result)
    if shown is None:
        return None
    with mpl.rc_context({**_STYLE, "svg.hashsalt": f"edgewise-{name}"}):
        canvas = Canvas(figsize=(width, height))
        FigureCanvasSVG(canvas)
        inner = (1 - (_LEFT + _RIGHT) / width, 1 - (_BOTTOM + _TOP) / height)
        axes = canvas.add_axes((_LEFT / width, _BOTTOM / height, *inner))
        _draw(axes, result, shown, roomy=width > 6)
        drawing = io.StringIO()
        canvas.savefig(drawing, format="svg", transparent=True, metadata={"Date": None})
    metric, points = fmt.metric_name(result.metric), shown.points
    about = f"{metric} against latency of {len(points)} candidates; the table below has the data"
    titles = {f"point-{point.rank}": _title(result, point) for point in points}
    svg = inline(drawing.getvalue(), name, about, _VARIABLES, titles)
    return Chart(svg, tuple(p.row.id for p in points), tuple(p.row.id for p in points if p.beyond))


def _draw(axes: Axes, result: BuildResult, shown: Scene, *, roomy: bool) -> None:
    _frame(axes, shown)
    _scales(axes, result)
    if shown.floor is not None:
        axes.axhline(shown.floor, color=_INK, linewidth=0.9, dashes=(4, 3))
        _say(
            axes, "quality floor", (1, shown.floor), ("axes fraction", "data"), (0, 4), ha="right", fontsize=8
        )
    steps = [point.x for point in shown.front], [point.y for point in shown.front]
    axes.step(*steps, where="post", color=_ACCENT, linewidth=1.2, alpha=0.6)
    for point in shown.points:
        _bars(axes, point)
        _mark(axes, point)
    _names(axes, result, shown, roomy=roomy)


def _frame(axes: Axes, shown: Scene) -> None:
    """Ranges and lines; where lower is better, the axis is turned, so that up is always better."""
    room = 0.06 * (shown.best - shown.worst)
    places = [point.x for point in shown.points]
    axes.set_xscale("log")
    axes.set_xlim(min(places) / 1.18, max(places) * 1.22)
    axes.set_ylim(shown.worst - room, shown.best + room)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_MUTED, length=0, pad=6)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def _scales(axes: Axes, result: BuildResult) -> None:
    """Ticks in the report's own words, and the two axis titles with the better direction."""
    axes.xaxis.set_major_locator(FixedLocator(ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fmt.quality(value, result.metric)))
    lower = "" if result.higher_is_better else " (lower is better, so up)"
    _say(axes, f"↑ {fmt.metric_name(result.metric)}, search split{lower}", (0, 1), "axes fraction", (-42, 16))
    _say(axes, "← p50 latency, log scale", (0, 0), "axes fraction", (0, -36))


def _tick(milliseconds: float) -> str:
    return f"{1000 * milliseconds:g} µs" if milliseconds < 0.1 else f"{milliseconds:g} ms"


def _say(
    axes: Axes, text: str, at: tuple[float, float], within: Any, offset: tuple[int, int], **style: Any
) -> None:
    axes.annotate(text, at, xycoords=within, xytext=offset, textcoords="offset points", color=_INK, **style)


def _bars(axes: Axes, point: Point) -> None:
    """The intervals of latency and quality; a point beyond the edge has no place for them."""
    style: dict[str, Any] = {"color": _colour(point), "linewidth": 0.8, "alpha": 0.5}
    across, along = view.figure_of(point.row, "p50"), view.figure_of(point.row, "quality")
    if across.low is not None and across.high is not None and not point.beyond:
        axes.plot([across.low, across.high], [point.y, point.y], **style)
    if along.low is not None and along.high is not None and not point.beyond:
        axes.plot([point.x, point.x], [along.low, along.high], **style)


def _mark(axes: Axes, point: Point) -> None:
    """A disc, its area the file's size: hollow for the original, ringed when chosen; an arrow when beyond."""
    style: dict[str, Any] = {"linestyle": "none", "gid": f"point-{point.rank}", "zorder": 3}
    fill, edge, width = (_PAPER, _INK, 1.3) if point.original else (_colour(point), _PAPER, 0.8)
    style |= {"markerfacecolor": fill, "markeredgecolor": edge, "markeredgewidth": width}
    shape, diameter = ("v", 8.0) if point.beyond else ("o", point.diameter)
    axes.plot([point.x], [point.y], marker=shape, markersize=diameter, **style)
    if point.chosen:
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": _INK, "markeredgewidth": 1.4}
        axes.plot(
            [point.x], [point.y], marker="o", markersize=diameter + 7, linestyle="none", zorder=4, **ring
        )


def _colour(point: Point) -> str:
    return _ACCENT if point.row.pareto else _MUTED


def _names(axes: Axes, result: BuildResult, shown: Scene, *, roomy: bool) -> None:
    """Number every point as in the table; write out the chosen ones and the original where there is room."""
    points = sorted(shown.points, key=_is_plain)
    texts = [_text(result, point, roomy=roomy) for point in points]
    labels = [_measured(axes, point, text) for point, text in zip(points, texts, strict=True)]
    scale = 72 / axes.figure.dpi
    inside = Box(*(float(edge) * scale for edge in axes.bbox.bounds))
    for point, text, box in zip(points, texts, place(labels, inside), strict=True):
        plain = _is_plain(point)
        style: dict[str, Any] = {
            "color": _MUTED if plain else _INK,
            "fontweight": "normal" if plain else "bold",
        }
        axes.annotate(text, (box.x, box.y + 1), xycoords="figure points", fontsize=8.5, zorder=5, **style)


def _is_plain(point: Point) -> bool:
    return not (point.chosen or point.original)


def _measured(axes: Axes, point: Point, text: str) -> Label:
    """How much room the text takes, roughly: the page's own font decides in the end."""
    x, y = axes.transData.transform((point.x, point.y)) * 72 / axes.figure.dpi
    radius = point.diameter / 2 + (4 if point.chosen else 0)
    return Label(float(x), float(y), radius, (5.4 if _is_plain(point) else 5.8) * len(text), 9)


def _text(result: BuildResult, point: Point, *, roomy: bool) -> str:
    name = point.row.id.rsplit("/", 1)[-1][:32] if point.chosen and roomy else ""
    name = "original" if point.original else name
    edge = f": {fmt.number_of(view.figure_of(point.row, 'quality'), result.metric)}" if point.beyond else ""
    return f"{point.rank} {name}".strip() + edge


def _title(result: BuildResult, point: Point) -> str:
    """What a pointer shows over the point."""
    p50, quality, size = (view.figure_of(point.row, name) for name in ("p50", "quality", "size"))
    figures = (fmt.cited(p50), fmt.cited(quality, result.metric), fmt.cited(size))
    return "\n".join((f"{point.rank} {point.row.id}", *figures))
