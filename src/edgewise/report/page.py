"""Fill the two templates. Everything user-made that reaches the page is escaped: reasons can hold markup."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from edgewise.bundle.evidence import Evidence
from edgewise.lab.result import BuildResult
from edgewise.report import format as fmt
from edgewise.report import plot, scope, view, words

__all__ = ["html", "markdown"]

_UNITS = re.compile(r"(?<=\d) (?=(?:%|µs|ms|s|B|kB|MB|GB|points)\b|%)|(?<=[≤≥]) ")
_MARKUP = re.compile(r"([\\`*_\[\]<>|#])")


def html(result: BuildResult) -> str:
    """Return the whole page: style, drawings and text in one file that loads nothing."""
    charts = (
        plot.chart(result, "wide", width=10.4, height=4.9),
        plot.chart(result, "narrow", width=4.9, height=5.2),
    )
    style = files("edgewise.report").joinpath("report.css").read_text(encoding="utf-8")
    template = _environment().get_template("report.html.j2")
    return template.render(r=result, charts=[chart for chart in charts if chart], style=style)


def markdown(result: BuildResult) -> str:
    """Return the same facts as Markdown, without the picture."""
    return _environment().get_template("report.md.j2").render(r=result)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgewise.report", ""),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(fmt=fmt, scope=scope, view=view, words=words, evidence_words=tuple(Evidence))
    environment.filters.update(tight=tight, md=md, pretty=pretty, fact=fact)
    return environment


def tight(text: str) -> str:
    """Keep a number and its unit on one line."""
    return _UNITS.sub("\N{NO-BREAK SPACE}", text)


def md(text: object) -> str:
    """Make text safe inside a Markdown table: no markup of its own, one line."""
    return " ".join(_MARKUP.sub(r"\\\1", str(text)).replace("\\<", "&lt;").split())


def pretty(document: Any) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def fact(value: Any, name: str = "") -> str:
    """A value of the model's profile in words, whatever it is; long lists as their length."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {fact(item, name)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        plain = all(isinstance(item, str | int | float) for item in value)
        return "; ".join(map(str, value)) or "none" if plain else f"{len(value)} (listed in report.json)"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (
        fmt.size(value)
        if "bytes" in name
        else fmt.amount(value)
        if isinstance(value, int)
        else fmt.number(value)
    )
