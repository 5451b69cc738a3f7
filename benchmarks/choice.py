"""Is any single candidate that meets the goals faster than the choice?

All of them are timed again: own clock, bare runtimes, fresh processes, interleaved rounds, search samples. One is
faster when the whole interval of its ratio to the choice, round by round, lies below one. That none is faster is
shown only where the intervals are narrow enough to have told.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.artifacts import Artifacts, distinct
from benchmarks.contest import Contender, Contest, Times, count_for, hold
from benchmarks.demos import DEMOS, Demo, Finished, find
from benchmarks.method import Options
from benchmarks.table import Detail, Reached, Result, Row, at_most, missing
from edgewise.bundle.evidence import Figure
from edgewise.errors import EdgewiseError
from edgewise.lab.choose.choice import figures_for
from edgewise.lab.result import CandidateRow
from edgewise.report import format as words

__all__ = ["run"]

ROUNDS = 12
TOLD = 0.90  # an interval that reaches below this could hide a candidate that is faster
AIM = "none < 1 beyond its interval"
COLUMNS = ("candidate", "rounds", "p50", "over the choice", "so it is", "no rival: misses")


def run(options: Options) -> Result:
    """Time the candidates of every demo; one that is not there is a row that says so."""
    result = Result(())
    for demo in DEMOS:
        try:
            result += _one(demo, options)
        except EdgewiseError as error:
            result += Result((missing(_title(demo), str(error)),))
    return result


def _one(demo: Demo, options: Options) -> Result:
    found = find(demo, options)
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as scratch:
        contest, failed, twins = _enter(found, Path(scratch))
        times = hold(contest, options.rounds or ROUNDS)
    times.failed.update(failed)
    figures = {name: times.over(name, contest.chosen) for name in times.ms}
    return Result(
        rows=(_summary(demo, times, figures), _gain(demo, times)),
        details=(_detail(demo, times, figures, twins),),
        readings={f"{demo.name} {name} ms": values for name, values in times.ms.items()},
    )


def _enter(found: Finished, scratch: Path) -> tuple[Contest, dict[str, str], dict[str, str]]:
    """Return the contest; whose file could not be had, and why; and who shares a file with whom."""
    result, chosen = found.result, found.chosen
    artifacts = Artifacts.of(found, scratch)
    rows, twins = distinct(_able(found), chosen)
    misses = _misses(artifacts, rows, chosen)
    contenders: dict[str, Contender] = {}
    failed: dict[str, str] = {}
    for row in rows:
        try:
            contenders[row.id] = Contender(artifacts.file(row), row.target, misses.get(row.id, ""))
        except EdgewiseError as error:
            if row.id in (chosen, result.original):
                raise
            failed[row.id] = str(error)
    count = count_for(result.row(result.original).figures["p50"].value)
    contest = Contest(
        name=f"choice {found.demo.name}",
        contenders=contenders,
        chosen=chosen,
        original=result.original,
        samples=artifacts.samples(count, scratch / "timed.npz"),
        count=count,
        threads=result.threads,
    )
    return contest, failed, twins


def _able(found: Finished) -> list[CandidateRow]:
    """Return the rows that hold the floor on search and run here; the choice and the original in any case."""
    return [
        row
        for row in found.result.candidates
        if row.id in (found.chosen, found.result.original)
        or (row.status == "ok" and row.holds_floor and row.target in found.here.runtimes)
    ]


def _misses(artifacts: Artifacts, rows: Sequence[CandidateRow], chosen: str) -> dict[str, str]:
    """Name the goals that a row misses or does not show, for the rows that are further from them than the choice."""
    config, here = artifacts.plan.config, artifacts.found.here.name
    tier = next(tier for tier in config.tiers if tier.name == here)
    missed: dict[str, list[str]] = {}
    unshown: dict[str, list[str]] = {}
    for row in rows:
        figures = figures_for(row, tier)
        verdicts = {kind: limit.judge(figures) for kind, limit in config.goals[here].limits.items()}
        missed[row.id] = [kind for kind, verdict in verdicts.items() if verdict == "missed"]
        unshown[row.id] = [kind for kind, verdict in verdicts.items() if verdict == "not shown"]
    distance = {row.id: (len(missed[row.id]), len(unshown[row.id])) for row in rows}
    return {
        name: ", ".join((*missed[name], *(f"{kind} (not shown)" for kind in unshown[name])))
        for name in distance
        if distance[name] > distance[chosen]
    }


def _title(demo: Demo) -> str:
    return f"{demo.model}: fastest other candidate, over the choice"


def _summary(demo: Demo, times: Times, figures: Mapping[str, Figure]) -> Row:
    contest = times.contest
    rivals = {
        name: figure
        for name, figure in figures.items()
        if name != contest.chosen and not contest.contenders[name].misses
    }
    if not rivals:
        reached, why = _judged(rivals, times)
        return Row(
            _title(demo),
            f"no other candidate meets the goals{why}",
            AIM,
            Figure.none("ratio"),
            "none",
            reached,
        )
    best = min(rivals, key=lambda name: rivals[name].value or 0.0)
    reached, why = _judged(rivals, times)
    how = (
        f"{best}; {len(rivals)} others meet the goals; p50 of {contest.count} search samples, bare runtimes, "
        f"{len(times.ms[contest.chosen])} rounds, {times.disturbed} readings disturbed by others{why}"
    )
    return Row(_title(demo), how, AIM, rivals[best], words.figure(rivals[best]), reached)


def _judged(rivals: Mapping[str, Figure], times: Times) -> tuple[Reached, str]:
    faster = [name for name, figure in rivals.items() if _word(figure) == "faster"]
    if faster:
        return "no", f"; faster: {', '.join(faster)}"
    if times.failed:
        return "not measured", f"; could not be timed: {', '.join(times.failed)}"
    if any((figure.low or 0.0) < TOLD for figure in rivals.values()):
        return "not shown", "; they vary too much to tell: try more --rounds or a quieter machine"
    return "yes", ""


def _gain(demo: Demo, times: Times) -> Row:
    contest = times.contest
    how = f"{contest.chosen} over the original in default ONNX Runtime, in the same rounds"
    figure = times.over(contest.chosen, contest.original)
    return at_most(f"{demo.model}: p50 of the choice, timed again", how, figure, demo.ratios["p50"])


def _detail(demo: Demo, times: Times, figures: Mapping[str, Figure], twins: Mapping[str, str]) -> Detail:
    contest = times.contest
    lines = [
        (
            name,
            str(len(times.ms[name])),
            words.figure(times.p50(name)),
            words.figure(figure),
            "the choice" if name == contest.chosen else _word(figure),
            contest.contenders[name].misses,
        )
        for name, figure in sorted(figures.items(), key=lambda pair: pair[1].value or 0.0)
    ]
    lines += [(name, "", "", "", f"same file as {twin}", "") for name, twin in twins.items()]
    lines += [(name, "", "", "", f"not timed: {why}", "") for name, why in times.failed.items()]
    return Detail(f"{demo.model}: candidates that hold the floor on search", COLUMNS, tuple(lines))


def _word(figure: Figure) -> str:
    assert figure.low is not None
    assert figure.high is not None
    if figure.high < 1:
        return "faster"
    return "slower" if figure.low > 1 else "equal within the interval"
