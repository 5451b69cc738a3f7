"""Is any single candidate that meets the goal faster than the choice?

All of them are timed again: own clock, bare runtimes, fresh processes, interleaved rounds, search samples. One is
faster when the whole interval of its ratio to the choice, round by round, lies below one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.artifacts import Artifacts, distinct
from benchmarks.demos import DEMOS, Demo, Finished, find
from benchmarks.method import NotMeasuredError, Options, fresh, median, orders, place, ratios, say
from benchmarks.table import Detail, Reached, Result, Row, at_most, missing
from edgewise.bundle.evidence import Figure
from edgewise.lab.choose.choice import figures_for
from edgewise.lab.result import CandidateRow
from edgewise.report import format as words

__all__ = ["run"]

ROUNDS = 9
SCREENED = 3  # rounds after which a candidate that was SLOWER in each of them is not timed again
SLOWER = 1.5
TIMED_MS, FEWEST, MOST = 1500.0, 30, 200


@dataclass(frozen=True, slots=True)
class Field:
    """Who is timed: the choice, the original and every candidate that holds the floor on search.

    `misses` names the other goals that a candidate is further from than the choice: it is timed, but is no rival.
    """

    found: Finished
    chosen: str
    files: dict[str, Path]
    targets: dict[str, str]
    misses: dict[str, str]
    samples: Path
    count: int

    @property
    def original(self) -> str:
        """The user's own file, in ONNX Runtime."""
        return self.found.result.original


@dataclass(slots=True)
class Times:
    """ms per round of each; why one could not be timed."""

    ms: dict[str, list[float]]
    failed: dict[str, str] = field(default_factory=dict)


def run(options: Options) -> Result:
    """Time the field of every demo; one that is not there is a row that says so."""
    result = Result(())
    for demo in DEMOS:
        try:
            result += _one(demo, options)
        except NotMeasuredError as error:
            result += Result((missing(f"{demo.model}: other candidates over the choice", str(error)),))
    return result


def _one(demo: Demo, options: Options) -> Result:
    found = find(demo, options)
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as scratch:
        entered, twins, failed = _enter(found, Path(scratch))
        times = _time(entered, options.rounds or ROUNDS)
    times.failed.update(failed)
    figures = {name: _over_choice(entered, times, name) for name in times.ms}
    rows = (_summary(entered, times, figures), _gain(entered, times))
    readings = {f"{demo.name} {name} ms": values for name, values in times.ms.items()}
    return Result(rows, (_detail(entered, times, figures, twins),), readings)


def _enter(found: Finished, scratch: Path) -> tuple[Field, dict[str, str], dict[str, str]]:
    """Return the field, the twins that share a file with another, and those whose file could not be had."""
    tier, result = found.here, found.result
    assert tier.chosen is not None
    artifacts = Artifacts.of(found, scratch)
    able = [
        row
        for row in result.candidates
        if row.id in (tier.chosen, result.original)
        or (row.status == "ok" and row.holds_floor and row.target in tier.runtimes)
    ]
    rows, twins = distinct(able, tier.chosen)
    files, failed = {}, {}
    for row in rows:
        try:
            files[row.id] = artifacts.file(row)
        except NotMeasuredError as error:
            failed[row.id] = str(error)
    for needed in (tier.chosen, result.original):
        if needed in failed:
            raise NotMeasuredError(failed[needed])
    count = _count(result.row(result.original))
    entered = Field(
        found=found,
        chosen=tier.chosen,
        files=files,
        targets={row.id: row.target for row in rows},
        misses=_misses(artifacts, rows, tier.chosen),
        samples=artifacts.samples(count, scratch / "timed.npz"),
        count=count,
    )
    return entered, twins, failed


def _count(original: CandidateRow) -> int:
    """Return how many samples to time, so that a round of the original takes about TIMED_MS."""
    p50 = original.figures["p50"].value or TIMED_MS
    return int(min(MOST, max(FEWEST, TIMED_MS / p50)))


def _misses(artifacts: Artifacts, rows: Sequence[CandidateRow], chosen: str) -> dict[str, str]:
    """Name the goals each candidate misses or does not show, where they are more than the choice's."""
    name = artifacts.found.here.name
    tier = next(tier for tier in artifacts.config.tiers if tier.name == name)
    limits = artifacts.config.goals[name].limits
    short = {
        row.id: [k for k, limit in limits.items() if limit.judge(figures_for(row, tier)) != "met"]
        for row in rows
    }
    return {row: ", ".join(kinds) for row, kinds in short.items() if len(kinds) > len(short[chosen])}


def _time(entered: Field, rounds: int) -> Times:
    times = Times({name: [] for name in entered.files})
    always = {entered.chosen, entered.original}
    active = set(entered.files)
    for number, order in enumerate(orders(list(entered.files), rounds), 1):
        for name in order:
            if name in active and not _read(entered, name, times):
                if name in always:
                    raise NotMeasuredError(f"{name} cannot be timed: {times.failed[name]}")
                active.remove(name)
        if number == SCREENED:
            active = {name for name in active if name in always or not _is_slow(entered, times, name)}
        say(f"choice {entered.found.demo.name}: round {number} of {rounds}, {len(active)} candidates")
    return times


def _read(entered: Field, name: str, times: Times) -> bool:
    """Time one candidate once; one that fails drops out with its reason."""
    job = {
        "file": str(entered.files[name]),
        "target": entered.targets[name],
        "threads": entered.found.result.threads,
        "samples": str(entered.samples),
    }
    try:
        times.ms[name].append(float(fresh("-m", "benchmarks.bare", job=job)))
    except NotMeasuredError as error:
        times.failed[name] = str(error)
        times.ms.pop(name)
        return False
    return True


def _is_slow(entered: Field, times: Times, name: str) -> bool:
    return min(ratios(times.ms[name], times.ms[entered.chosen])) > SLOWER


def _over_choice(entered: Field, times: Times, name: str) -> Figure:
    on = place(entered.found.result.threads)
    return median(ratios(times.ms[name], times.ms[entered.chosen]), "ratio", on)


def _summary(entered: Field, times: Times, figures: Mapping[str, Figure]) -> Row:
    title = f"{entered.found.demo.model}: fastest other candidate that meets the goal, over the choice"
    rivals = {n: f for n, f in figures.items() if n != entered.chosen and n not in entered.misses}
    lost = [name for name in times.failed if name not in entered.misses]
    if not rivals:
        return missing(title, "no other candidate that meets the goal could be timed")
    best = min(rivals, key=lambda name: rivals[name].value or 0.0)
    faster = [name for name, figure in rivals.items() if _word(figure) == "faster"]
    how = (
        f"{best} over {entered.chosen}; p50 of {entered.count} search samples, bare runtimes, "
        f"{len(times.ms[entered.chosen])} rounds, {len(rivals)} candidates"
    )
    if faster:
        how += f"; faster: {', '.join(faster)}"
    elif lost:
        how += f"; could not be timed: {', '.join(lost)}"
    reached: Reached = "no" if faster else "not measured" if lost else "yes"
    return Row(
        title, how, "none below 1 beyond its interval", rivals[best], words.figure(rivals[best]), reached
    )


def _gain(entered: Field, times: Times) -> Row:
    demo = entered.found.demo
    on = place(entered.found.result.threads)
    figure = median(ratios(times.ms[entered.chosen], times.ms[entered.original]), "ratio", on)
    how = f"{entered.chosen} over the original in default ONNX Runtime, in the same rounds"
    return at_most(f"{demo.model}: p50 of the choice, timed again", how, figure, demo.ratios["p50"])


def _detail(entered: Field, times: Times, figures: Mapping[str, Figure], twins: Mapping[str, str]) -> Detail:
    on = place(entered.found.result.threads)
    lines = [
        (
            name,
            str(len(times.ms[name])),
            words.figure(median(times.ms[name], "ms", on)),
            words.figure(figure),
            "the choice" if name == entered.chosen else _word(figure),
            entered.misses.get(name, ""),
        )
        for name, figure in sorted(figures.items(), key=lambda pair: pair[1].value or 0.0)
    ]
    lines += [(name, "", "", "", f"same file as {twin}", "") for name, twin in twins.items()]
    lines += [(name, "", "", "", f"not timed: {why}", "") for name, why in times.failed.items()]
    columns = ("candidate", "rounds", "p50", "over the choice", "", "further from its goals")
    return Detail(f"{entered.found.demo.model}: candidates that hold the floor", columns, tuple(lines))


def _word(figure: Figure) -> str:
    assert figure.low is not None
    assert figure.high is not None
    if figure.high < 1:
        return "faster"
    return "slower" if figure.low > 1 else "equal within the interval"
