"""What the verbs of the lab print: tables on a terminal, the same tables without a frame elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from edgewise.bundle.evidence import Evidence
from edgewise.lab.profile import Profile
from edgewise.lab.result import BuildResult, CandidateRow, Support
from edgewise.report import format as fmt
from edgewise.report.view import floor_word
from edgewise.report.words import opening
from edgewise.targets.placement import CPU

if TYPE_CHECKING:
    from edgewise.facade import Build

__all__ = ["as_document", "cells", "inspection", "outcome", "placed"]


def as_document(built: Build) -> bytes:
    """Return the result as JSON, as in report.json."""
    return msgspec.json.encode(built.result)


def outcome(built: Build) -> None:
    """Print candidates, the choice per tier, and where the report is."""
    result = built.result
    table = _table("candidate", "size", "p50", "quality", "int8 ops", "floor")
    for row in sorted(result.candidates, key=_by_latency):
        table.add_row(*cells(row, result.metric))
    _print(table)
    click.echo(_evidence(result) + "\n")
    tiers = _table("tier", "share", "gets", "goals")
    for tier in result.tiers:
        goals = ", ".join(f"{fmt.floor(goal.asked, result.metric)}: {goal.verdict}" for goal in tier.goals)
        tiers.add_row(tier.name, fmt.share(tier.share), tier.chosen or "nothing", goals)
    _print(tiers)
    for tier in result.tiers:
        if tier.reachable:
            click.echo(f"{tier.name}: {tier.reachable}")
    click.echo(" ".join(opening(result)))
    click.echo(f"\nBundle: {built.path}\nReport: {built.report}")


def inspection(found: Profile) -> None:
    """Print a profile."""
    click.echo(f"MACs {found.macs:,}   parameters {found.parameters:,}")
    click.echo(
        f"activations {fmt.size(found.activation_bytes)}, "
        f"at most {fmt.size(found.peak_activation_bytes)} alive at once"
    )
    for title, counts in (
        ("MACs by kind", found.macs_by_kind),
        ("weight bytes by type", found.weight_bytes),
        ("operators", found.operators),
        ("opsets", found.opsets),
    ):
        table = _table(title, "")
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            table.add_row(str(name), f"{count:,}")
        _print(table)
    for title, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            click.echo(f"{title} {spec.name}: {spec.dtype} {msgspec.to_builtins(spec.shape)}")
    for assumption in found.assumptions:
        click.echo(f"assumed: {assumption}")


def placed(found: Sequence[Support]) -> None:
    """Print what each accelerator takes, then what it does not take and why."""
    if not found:
        return
    table = _table(
        "target", "accelerator", "operators on it", "MACs on it", "partitions", "on the CPU", "unsupported"
    )
    for answer in found:
        table.add_row(*_taken(answer))
    _print(table)
    for answer in found:
        for line in _reasons(answer):
            click.echo(line)


def _taken(answer: Support) -> tuple[str, ...]:
    if answer.evidence is Evidence.NONE:
        return answer.target, *answer.notes
    name = ", ".join([answer.accelerator, *(f"{dim} = {size}" for dim, size in answer.sizes.items())])
    on = ("–", "–", "–")
    if answer.accelerator != CPU:
        share = f"{answer.on} of {answer.operators} ({fmt.percent(answer.on / max(answer.operators, 1))})"
        on = (share, fmt.percent(answer.macs_on / max(answer.macs, 1)), str(answer.partitions))
    return answer.target, name, *on, str(answer.cpu), str(answer.unsupported)


def _reasons(answer: Support) -> Iterator[str]:
    """Yield the heading, what is not on the accelerator by reason, the notes and the source."""
    if answer.evidence is Evidence.NONE:
        return
    name = ", ".join([answer.accelerator, *(f"{dim} = {size}" for dim, size in answer.sizes.items())])
    yield f"{answer.target}, {name} ({answer.evidence}: {answer.source})"
    for gap in answer.gaps:
        where = "on the CPU" if gap.where == "cpu" else gap.where
        ops = ", ".join(f"{count} {op}" for op, count in gap.ops.items())
        yield f"  {where}, {gap.why}: {ops}"
    for note in answer.notes:
        yield f"  note: {note}"


def _evidence(result: BuildResult) -> str:
    """Say which word the figures of the table have, and where they come from."""
    rows = [row for row in result.candidates if row.status == "ok"]
    words = sorted({str(figure.evidence) for row in rows for figure in row.figures.values()})
    on = next((row.figures["p50"].on for row in rows if row.figures["p50"].on), "this machine")
    return f"Figures: {' or '.join(words)}, on {on}; quality is that of the search split."


def cells(row: CandidateRow, metric: str) -> tuple[str, ...]:
    """Return what the table says of one candidate."""
    figures = row.figures
    if row.status == "failed":
        return row.id, "", "", "", "", f"failed: {fmt.cause(row.reason, row.id)}"
    if row.status == "passed over":
        speed = fmt.figure(figures["p50"]) if figures["p50"].value is not None else ""
        return row.id, fmt.number_of(figures["size"]), speed, "", "", f"passed over: {row.reason}"
    operators = f"{row.operators.quantized} of {row.operators.total}" if row.operators else ""
    return (
        row.id,
        fmt.number_of(figures["size"]),
        fmt.figure(figures["p50"]),
        fmt.number_of(figures["quality"], metric),
        operators,
        floor_word(row),
    )


def _by_latency(row: CandidateRow) -> tuple[bool, float]:
    return row.status != "ok", row.figures["p50"].value or float("inf")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)
