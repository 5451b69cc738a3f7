"""Make Matplotlib's SVG a part of the page: no prolog, no foreign names, the page's colours and type."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

__all__ = ["inline"]

_DROPPED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL
)
_NAMESPACES = re.compile(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"')
_FONT = re.compile(r"font: ((?:bold |\d{3} )?)([\d.]+px)[^;\"]*")
_SIZE = re.compile(r'<svg width="[^"]*" height="[^"]*"|<svg height="[^"]*" width="[^"]*"')


def inline(
    svg: str, name: str, description: str, colours: Mapping[str, str], titles: Mapping[str, str]
) -> str:
    """Return the drawing for use inside HTML.

    `name` prefixes every id; `colours` maps the colours drawn with to CSS variables; `titles` maps ids of
    groups to the text a pointer shows over them.
    """
    svg = _NAMESPACES.sub("", _DROPPED.sub("", svg)).replace("xlink:href", "href")
    svg = re.sub(r'viewBox="([^"]*)"', r'viewBox="\1"', svg, count=1)
    svg = _SIZE.sub(
        f'<svg class="plot {name}" role="img" aria-label="{html.escape(description)}"', svg, count=1
    )
    svg = _FONT.sub(lambda match: f"font-size: {match[2]}{_weight(match[1])}", svg)
    for drawn, variable in colours.items():
        svg = svg.replace(drawn, f"var({variable})")
    for group, title in titles.items():
        svg = svg.replace(f'<g id="{group}">', f'<g id="{group}"><title>{html.escape(title)}</title>')
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    return re.sub(r"url\(#", f"url(#{name}-", svg).strip()


def _weight(drawn: str) -> str:
    return "; font-weight: 600" if drawn.strip() in {"bold", "600", "700"} else ""
