"""The figures of the matrix, from its rows: what all cells together have to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.table import Row as Shown
from benchmarks.targets.matrix import Row
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.golden import Difference

__all__ = ["figures"]

EXECUTED = 0.9
COREML = {"fp16": 6, "int8": 5}
BROWSER = 5
BROWSER_TARGETS = ("onnxruntime-web", "litert-web")
DYNAMIC = ("transformer", "minilm")
DYNAMIC_PLACES = ("x86-64", "cortex-a53", "cortex-a76")
PRECISIONS = {
    "fp32": ("fp32",),
    "fp16": ("fp16",),
    "int8": ("int8", "int8 weights", "int16"),
    "4 bits": ("int4 weights", "4-bit palette"),
}


def figures(rows: Sequence[Row]) -> Iterator[Shown]:
    """Yield the figures for which there are cells among `rows`."""
    yield _executed(rows)
    for name, precisions in PRECISIONS.items():
        of_precision = [row for row in rows if row.executed and row.cell.precision in precisions]
        if of_precision:
            yield _worst(name, of_precision)
    for column, least in COREML.items():
        if cells := [row for row in rows if row.cell.target == "coreml" and row.cell.column == column]:
            yield _models(f"Core ML from ONNX, {column}", _met(cells), least)
    yield from _dynamic(rows)
    yield from _browser(rows)


def _executed(rows: Sequence[Row]) -> Shown:
    count = sum(row.executed for row in rows)
    unnamed = sum(not row.executed and not row.cell.missing for row in rows)
    how = f"{count} of {len(rows)}; {unnamed} others without a named upstream reason"
    share = count / len(rows) if rows else 0.0
    return _shown(
        "cells built and executed",
        how,
        "≥ 90 %",
        share,
        f"{share:.1%}",
        share >= EXECUTED and not unnamed,
        rows,
    )


def _worst(name: str, rows: Sequence[Row]) -> Shown:
    """Show the cell that is furthest from the original, of those with a figure at all."""
    aim = rows[0].cell.aim
    value: Callable[[Difference], float]
    if aim.agreement is None:
        title, least, sign, value = f"{name} relative difference", f"≤ {aim.rms:g}", -1, _rms
    else:
        title, least, sign, value = f"{name} agreement", f"≥ {aim.agreement:.0%}", 1, _agreement
    found = [(value(row.difference), row) for row in rows if row.difference]
    met = sum(row.verdict == "met" for row in rows)
    furthest, row = min(found, key=lambda pair: sign * pair[0], default=(float("nan"), rows[0]))
    named = sum(row.verdict == "missed" and row.cell.short is not None for row in rows)
    others = f", {named} of the others with a measured reason" if met < len(rows) else ""
    how = f"{met} of {len(rows)} executed cells within{others}; furthest {row.cell.id}"
    text = f"{furthest:.1e}" if sign < 0 else f"{furthest:.1%}"
    return _shown(title, how, least, furthest, text, met == len(rows), rows)


def _rms(difference: Difference) -> float:
    return difference.rms


def _agreement(difference: Difference) -> float:
    return difference.agreement


def _dynamic(rows: Sequence[Row]) -> Iterator[Shown]:
    cells = [
        row
        for row in rows
        if row.cell.target == "litert" and row.cell.column == "fp32" and row.cell.model in DYNAMIC
    ]
    if cells:
        by_model = {model: {row.cell.place for row in cells if row.cell.model == model} for model in DYNAMIC}
        met = {(row.cell.model, row.cell.place) for row in cells if row.verdict == "met"}
        whole = [model for model in by_model if all((model, place) in met for place in DYNAMIC_PLACES)]
        yield _models("LiteRT from ONNX with dynamic length, x86 and ARM64", whole, len(DYNAMIC))


def _browser(rows: Sequence[Row]) -> Iterator[Shown]:
    cells = [row for row in rows if row.cell.target in BROWSER_TARGETS and row.cell.place == "chromium"]
    if cells:
        yield _models("browser, float and int8, both engines", _met(cells), BROWSER)


def _met(rows: Iterable[Row]) -> list[str]:
    """Return the models of which every cell among `rows` is met."""
    of_model: dict[str, list[bool]] = {}
    for row in rows:
        of_model.setdefault(row.cell.model, []).append(row.verdict == "met")
    return [model for model, met in of_model.items() if all(met)]


def _models(title: str, models: Sequence[str], least: int) -> Shown:
    figure = Figure(evidence=Evidence.EMULATED, unit="models", value=len(models))
    how = ", ".join(models) or "none"
    return Shown(title, how, f"≥ {least}", figure, str(len(models)), "yes" if len(models) >= least else "no")


def _shown(
    title: str, how: str, aim: str, value: float, text: str, reached: bool, rows: Sequence[Row]
) -> Shown:
    emulated = any(row.evidence is Evidence.EMULATED for row in rows)
    word = Evidence.EMULATED if emulated else Evidence.MEASURED
    figure = Figure(evidence=word, unit="ratio", value=value)
    return Shown(title, how, aim, figure, text, "yes" if reached else "no")
