"""Time contenders against the choice: rounds in random order, a fresh process per reading, bare runtimes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.method import NotMeasuredError, fresh, median, orders, place, ratios, say
from edgewise.bundle.evidence import Figure

__all__ = ["Contender", "Contest", "Times", "count_for", "hold"]

TIMED_MS, FEWEST, MOST = 1000.0, 30, 150
SCREENED = 3  # rounds after which a candidate that was SLOWER in each of them is not timed again
SLOWER = 1.5
DISTURBED = (
    0.10  # of the machine taken by others during a reading: it is made again, the less disturbed one counts
)
REPEATS = 2  # per contender, in the whole contest: a machine that is never quiet is measured as it is


@dataclass(frozen=True, slots=True)
class Contender:
    """One artifact. `misses` names goals that it is further from than the choice: it is timed, but is no rival."""

    file: Path
    target: str
    misses: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """Who is timed, by id, and on what; `chosen` and `original` are among them and run in every round."""

    name: str
    contenders: dict[str, Contender]
    chosen: str
    original: str
    samples: Path
    count: int
    threads: int

    @property
    def always(self) -> set[str]:
        """Those that everything is compared with."""
        return {self.chosen, self.original}


@dataclass(slots=True)
class Times:
    """ms of each contender, round by round; why one could not be timed; how many readings others disturbed."""

    contest: Contest
    ms: dict[str, list[float]]
    repeats: int
    disturbed: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def over(self, name: str, peer: str) -> Figure:
        """Return the median ratio of one to another over the rounds that both ran."""
        return median(ratios(self.ms[name], self.ms[peer]), "ratio", place(self.contest.threads))

    def p50(self, name: str) -> Figure:
        """Return the median of one's readings."""
        return median(self.ms[name], "ms", place(self.contest.threads))

    def is_slow(self, name: str) -> bool:
        """Tell whether it was far behind the choice in every round so far."""
        return min(ratios(self.ms[name], self.ms[self.contest.chosen])) > SLOWER


def count_for(p50: float | None) -> int:
    """Return how many samples to time, so that a round of the original, of `p50` ms a sample, takes about TIMED_MS."""
    return int(min(MOST, max(FEWEST, TIMED_MS / (p50 or TIMED_MS))))


def hold(contest: Contest, rounds: int) -> Times:
    """Time everyone. Raises NotMeasuredError when the choice or the original cannot be timed."""
    names = contest.contenders
    times = Times(contest, {name: [] for name in names}, repeats=REPEATS * len(names))
    active = set(names)
    for number, order in enumerate(orders(list(names), rounds), 1):
        active -= {name for name in order if name in active and not _read(times, name)}
        if number == SCREENED:
            active -= {name for name in active - contest.always if times.is_slow(name)}
        say(f"{contest.name}: round {number} of {rounds}, {len(active)} go on")
    return times


def _read(times: Times, name: str) -> bool:
    """Time one contender once; one that fails drops out with its reason."""
    contest = times.contest
    contender = contest.contenders[name]
    job = {
        "file": str(contender.file),
        "target": contender.target,
        "threads": contest.threads,
        "samples": str(contest.samples),
    }
    try:
        times.ms[name].append(_less_disturbed(times, job))
    except NotMeasuredError as error:
        if name in contest.always:
            raise NotMeasuredError(f"{name} cannot be timed: {error}") from error
        times.failed[name] = str(error)
        times.ms.pop(name)
        return False
    return True


def _less_disturbed(times: Times, job: dict[str, Any]) -> float:
    """Return a p50 in ms. What decides between two readings is how busy others were, never the p50."""
    reading = _once(job)
    if reading.others > DISTURBED and times.repeats > 0:
        times.repeats -= 1
        reading = min(reading, _once(job), key=lambda one: one.others)
    times.disturbed += reading.others > DISTURBED
    return reading.p50


@dataclass(frozen=True, slots=True)
class Reading:
    """The p50 in ms, and the share of the machine that others took meanwhile."""

    p50: float
    others: float


def _once(job: dict[str, Any]) -> Reading:
    return Reading(**fresh("-m", "benchmarks.bare", job=job))
