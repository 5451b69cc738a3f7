"""What the verbs of the lab print: tables on a terminal, the same tables without a frame elsewhere."""

from __future__ import annotations

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from edgewise.bundle.evidence import Figure
from edgewise.facade import Build
from edgewise.lab.profile import Profile
from edgewise.lab.result import CandidateRow
from edgewise.report.words import opening

__all__ = ["inspection", "outcome"]


def outcome(built: Build) -> None:
    """Print candidates, the choice per tier, and where the report is."""
    result = built.result
    table = _table("candidate", "size", "p50", "quality", "int8 ops", "floor")
    for row in sorted(result.candidates, key=_by_latency):
        table.add_row(*_cells(row))
    _print(table)
    tiers = _table("tier", "share", "gets", "goals")
    for tier in result.tiers:
        goals = ", ".join(f"{goal.asked}: {goal.verdict}" for goal in tier.goals)
        tiers.add_row(tier.name, f"{100 * tier.share:.0f} %", tier.chosen or "nothing", goals)
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
        f"activations {_mb(found.activation_bytes)}, at most {_mb(found.peak_activation_bytes)} alive at once"
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


def _cells(row: CandidateRow) -> tuple[str, ...]:
    if row.status == "failed":
        return row.id, "", "", "", "", f"failed: {row.reason}"
    figures = row.figures
    operators = f"{row.operators.quantized} of {row.operators.total}" if row.operators else ""
    floor = "holds" if row.holds_floor else "does not hold"
    return (
        row.id,
        _mb(figures["size"].value or 0),
        _ms(figures["p50"]),
        _quality(figures["quality"]),
        operators,
        floor,
    )


def _by_latency(row: CandidateRow) -> float:
    return row.figures["p50"].value or float("inf")


def _ms(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f} ms"
    return f"{figure.value:.2f} ms ({figure.low:.2f} to {figure.high:.2f})"


def _quality(figure: Figure) -> str:
    return f"{100 * (figure.value or 0):.2f} %" if figure.unit == "share" else f"{figure.value:.4g}"


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f} MB"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)
