"""Figures in words a reader trusts: units, sensible digits, intervals, and always the evidence word.

Written once, for the page, the Markdown and the command line. Needs nothing but the standard library.
"""

from __future__ import annotations

import math
import re

from edgewise.bundle.evidence import Evidence, Figure

__all__ = [
    "NOT_ASSESSED",
    "amount",
    "cause",
    "cited",
    "count",
    "duration",
    "elapsed",
    "evidence",
    "figure",
    "floor",
    "in_base_unit",
    "is_percent",
    "margin",
    "metric_name",
    "number",
    "number_of",
    "percent",
    "points",
    "quality",
    "ratio",
    "share",
    "size",
    "times",
]

NOT_ASSESSED = "not assessed"

_BYTES = {"B": 1.0, "bytes": 1.0, "byte": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_RATIOS = {"ratio", "×", "x"}
_PERCENT = re.compile(r"^(share|accuracy|f1|agreement|cer|wer|top-(\d+|k))$")
_CLASS = re.compile(r"^[A-Za-z_]\w*Error: ")
_WITHIN = re.compile(r"\(or within ([\d.]+(?:e-?\d+)?)\)")
_INITIALS = {"cer", "wer", "mae", "rmse", "mse", "f1"}


def size(value: float) -> str:
    """Bytes as people say them: `22.1 MB` (decimal, as goals and app stores count)."""
    return _written(value, *_byte_scale(value))


def duration(value: float) -> str:
    """Milliseconds with sensible digits: `3.1 ms`, `42 µs`, `12.4 s`."""
    return _written(value, *_time_scale(value))


def elapsed(seconds: float) -> str:
    """How long a run took: `48 s`, `21 min 24 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ratio(value: float) -> str:
    """A ratio to the original: `0.56×`."""
    return f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def times(value: float, better: str, worse: str, same: str) -> str:
    """A ratio to the original as words: 0.56 is `1.8× faster`; within 3 % it is `same`."""
    if abs(value - 1) <= 0.03 or value <= 0:
        return same
    factor = 1 / value if value < 1 else value
    return f"{factor:.{2 if factor < 1.1 else 1}f}× {better if value < 1 else worse}"


def percent(value: float) -> str:
    """A fraction as percent: `79.9 %`; never rounded up to 100 or down to 0."""
    return f"{_minus(f'{100 * value:.{_percent_digits(value)}f}')} %"


def points(value: float) -> str:
    """A difference of fractions in percentage points, signed: `−0.9 points`."""
    return f"{_minus(f'{100 * value:+.{_percent_digits(value)}f}')} points"


def share(value: float) -> str:
    """A share of users: `55 %`, `12.5 %`."""
    whole = abs(100 * value - round(100 * value)) < 0.05
    return f"{100 * value:.{0 if whole else 1}f} %"


def number(value: float) -> str:
    """A plain number with at most four digits: `0.0312`, `14.72`, `1,204`."""
    if value == 0 or not math.isfinite(value):
        return str(value) if value else "0"
    if abs(value) < 1e-4:
        return _minus(f"{value:.1e}")
    text = f"{value:,.{_plain_digits(value)}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text else text)


def count(value: float) -> str:
    """A count in full: `3,000`."""
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """A large count in short: `22.6 million`."""
    for factor, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= factor:
            return f"{value / factor:.1f} {word}"
    return count(value)


def is_percent(metric: str) -> bool:
    """Whether a metric is a fraction shown as percent; every other metric is a plain number."""
    return bool(_PERCENT.match(metric.lower()))


def metric_name(metric: str) -> str:
    """The metric as written in a sentence: `accuracy`, `CER`; of `my_eval.py:score`, `score`."""
    name = metric.rpartition(":")[2] if ".py:" in metric else metric
    return name.upper() if name.lower() in _INITIALS else name


def quality(value: float, metric: str) -> str:
    """A value of the metric: `79.9 %` or `14.72`."""
    return percent(value) if is_percent(metric) else number(value)


def floor(text: str, metric: str = "") -> str:
    """A quality floor as it is said: `99% of original` is `99 % of the original`.

    Of a metric that is shown as percent, the margin is in points: `(or within 0.2 points)`.
    """
    said = re.sub(r"\s*% of original\b", " % of the original", text)
    return (
        _WITHIN.sub(lambda match: f"(or within {_points_of(match[1])})", said) if is_percent(metric) else said
    )


def cause(reason: str | None, candidate: str) -> str:
    """Why a candidate failed, without what its row says already: the class of our error, and its own name."""
    if not reason:
        return "no reason was recorded"
    return _CLASS.sub("", reason).removeprefix(f"{candidate} failed: ").strip() or reason


def in_base_unit(value: float, unit: str) -> float | None:
    """Bytes, or milliseconds; null for a unit that is neither."""
    factor = (_BYTES | _MILLISECONDS).get(unit)
    return None if factor is None else value * factor


def figure(value: Figure, metric: str = "") -> str:
    """The number with its interval: `79.9 % (78.4–81.3)`; `not assessed` when the evidence is none.

    Its evidence word is not included: show `evidence(value)` beside it, or use `cited`.
    """
    if value.value is None:
        return NOT_ASSESSED
    if value.low is None or value.high is None:
        return number_of(value, metric)
    factor, suffix, digits = _scale(value, metric)
    digits = _interval_digits(digits, abs(value.high - value.low) * factor)
    low, high = (_minus(f"{edge * factor:,.{digits}f}") for edge in (value.low, value.high))
    dash = " to " if "−" in low + high else "–"
    return f"{_written(value.value, factor, suffix, digits)} ({low}{dash}{high})"


def number_of(value: Figure, metric: str = "") -> str:
    """The number alone, where a sentence or a neighbouring cell carries the rest."""
    return NOT_ASSESSED if value.value is None else _written(value.value, *_scale(value, metric))


def margin(value: Figure, metric: str) -> str:
    """Variant − floor, signed, with its interval: `−0.9 points (−2.1 to +0.4)`."""
    if value.value is None:
        return NOT_ASSESSED
    factor, unit, digits = (
        (100.0, " points", 1) if is_percent(metric) else (1.0, "", _plain_digits(value.value))
    )
    if value.unit == "%":
        factor = 1.0
    if value.low is None or value.high is None:
        return _minus(f"{value.value * factor:+,.{digits}f}{unit}")
    digits = _interval_digits(digits, abs(value.high - value.low) * factor)
    middle, low, high = (f"{edge * factor:+,.{digits}f}" for edge in (value.value, value.low, value.high))
    return _minus(f"{middle}{unit} ({low} to {high})")


def evidence(value: Figure) -> str:
    """How the figure is known: `measured · test`; a published one names its source."""
    return " · ".join(part for part in (str(value.evidence), value.split, _source(value)) if part)


def cited(value: Figure, metric: str = "") -> str:
    """The figure and its evidence on one line: `3.1 ms (3.0–3.3), measured`."""
    return f"{figure(value, metric)}, {evidence(value)}"


def _points_of(text: str) -> str:
    value = f"{100 * float(text):.4g}"
    return f"{value} point{'' if value == '1' else 's'}"


def _source(value: Figure) -> str | None:
    return value.source if value.evidence is Evidence.PUBLISHED else None


def _scale(value: Figure, metric: str) -> tuple[float, str, int]:
    """Factor, suffix and decimals for a figure; the interval uses those of the value."""
    number_ = value.value or 0.0
    if value.unit in _BYTES:
        factor, suffix, digits = _byte_scale(number_ * _BYTES[value.unit])
        return factor * _BYTES[value.unit], suffix, digits
    if value.unit in _MILLISECONDS:
        factor, suffix, digits = _time_scale(number_ * _MILLISECONDS[value.unit])
        return factor * _MILLISECONDS[value.unit], suffix, digits
    if value.unit in _RATIOS:
        return 1.0, "×", 2 if number_ < 10 else 1
    if value.unit == "%":
        return 1.0, " %", _percent_digits(number_ / 100)
    if is_percent(metric or value.unit):
        return 100.0, " %", _percent_digits(number_)
    return 1.0, "", _plain_digits(number_)


def _byte_scale(value: float) -> tuple[float, str, int]:
    for unit, suffix in ((1e9, " GB"), (1e6, " MB"), (1e3, " kB")):
        if abs(value) >= 0.9995 * unit:
            return 1 / unit, suffix, _digits(value / unit)
    return 1.0, " B", 0


def _time_scale(value: float) -> tuple[float, str, int]:
    if abs(value) >= 10_000:
        return 1e-3, " s", _digits(value / 1e3)
    if 0 < abs(value) < 0.1:
        return 1e3, " µs", _digits(value * 1e3)
    return 1.0, " ms", _digits(value)


def _written(value: float, factor: float, suffix: str, digits: int) -> str:
    return _minus(f"{value * factor:,.{digits}f}{suffix}")


def _digits(value: float) -> int:
    return 0 if abs(value) >= 99.95 else 1 if abs(value) >= 0.995 or value == 0 else 2


def _plain_digits(value: float) -> int:
    if value == 0 or not math.isfinite(value):
        return 1
    return min(6, max(0, 3 - math.floor(math.log10(abs(value)))))


def _percent_digits(value: float) -> int:
    """One decimal, more where one would round 99.97 % to 100 or 0.03 % to 0."""
    for digits in (1, 2):
        text = f"{abs(100 * value):.{digits}f}"
        if (float(text) != 100 or abs(value) >= 1) and (float(text) != 0 or value == 0):
            return digits
    return 3


def _interval_digits(digits: int, width: float) -> int:
    """At most two more decimals where the interval would vanish in rounding; fewer where it is wide."""
    if digits > 2 and width > 0:
        return max(2, min(digits, 1 - math.floor(math.log10(width))))
    while width > 0 and digits < 2 and width < 3 * 10**-digits:
        digits += 1
    return digits


def _minus(text: str) -> str:
    return text.replace("-", "−")
