"""Is a tuned bundle ever slower than an untuned one, and what does tuning gain?

`edgewise tune` finds its setup on the golden inputs; here both are timed anew as an app opens them, in fresh processes,
interleaved, on search samples that it never saw.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.artifacts import Artifacts
from benchmarks.demos import DEMOS, Demo, find
from benchmarks.method import Options, fresh, median, orders, place, ratios, say
from benchmarks.table import Detail, Result, Row, missing
from edgewise.bundle.evidence import Figure
from edgewise.errors import EdgewiseError
from edgewise.report import format as words

__all__ = ["run"]

ROUNDS = 12
SAMPLES = 60
COLUMNS = ("opened", "as", "p50")


def run(options: Options) -> Result:
    """Tune the bundle of every demo; one that is not there is a row that says so."""
    result = Result(())
    for demo in DEMOS:
        try:
            result += _one(demo, options)
        except EdgewiseError as error:
            result += Result((missing(_title(demo), str(error)),))
    return result


def _one(demo: Demo, options: Options) -> Result:
    found = find(demo, options)
    bundle = options.demo_out / demo.name / "out" / "bundle"
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as scratch:
        folder = Path(scratch)
        samples = Artifacts.of(found, folder).samples(SAMPLES, folder / "timed.npz")
        caches = {"default": folder / "untouched", "tuned": folder / "tuned"}
        say(f"tuning {demo.name}")
        fresh("-m", "benchmarks.tuner", job={"bundle": str(bundle), "cache": str(caches["tuned"])})
        times: dict[str, list[float]] = {name: [] for name in caches}
        reasons: dict[str, str] = {}
        for number, order in enumerate(orders(list(caches), options.rounds or ROUNDS), 1):
            for name in order:
                job = {"bundle": str(bundle), "cache": str(caches[name]), "samples": str(samples)}
                reading = fresh("-m", "benchmarks.opened", job=job)
                times[name].append(reading["p50"])
                reasons[name] = reading["reason"]
            say(f"tune {demo.name}: round {number}")
    ratio = median(ratios(times["tuned"], times["default"]), "ratio", place(0))
    lines = tuple(
        (name, reasons[name], words.figure(median(values, "ms", place(0)))) for name, values in times.items()
    )
    return Result(
        (_row(demo, ratio),),
        (Detail(f"{demo.model}: as an app opens it", COLUMNS, lines),),
        {f"{demo.name} {name} ms": values for name, values in times.items()},
    )


def _title(demo: Demo) -> str:
    return f"{demo.model}: p50 tuned over default"


def _row(demo: Demo, ratio: Figure) -> Row:
    """A tuned bundle is slower only where the whole interval says so."""
    slower = ratio.low is not None and ratio.low > 1
    how = "`edgewise.open` after `edgewise tune` and without it, unseen samples, fresh processes"
    aim = "never > 1 beyond its interval"
    return Row(_title(demo), how, aim, ratio, words.figure(ratio), "no" if slower else "yes")
