"""What `edgewise.open(bundle)(x)` costs above a bare `InferenceSession.run` of the same file."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import small
from benchmarks.method import Options, fresh, median, orders, place, ratios, say
from benchmarks.table import Result, at_most

__all__ = ["run"]

ROUNDS = 15
THREADS = 1  # with more, the idle pool of one session would spin while the other one is timed
CALLS = {"trivial": 3000, "real": 150}
TRIAL_LAYERS = 8
AIMED_US = 2000.0
MOST_ADDED_US = 30.0
MOST_RATIO = 1.05


@dataclass(frozen=True, slots=True)
class Pair:
    """Median µs of a call in one process."""

    ours: float
    bare: float


def run(options: Options) -> Result:
    """Read both models in interleaved rounds of fresh processes."""
    rounds = options.rounds or ROUNDS
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as scratch:
        bundles = _bundles(Path(scratch))
        pairs: dict[str, list[Pair]] = {name: [] for name in bundles}
        for number, order in enumerate(orders(list(bundles), rounds), 1):
            for name in order:
                pairs[name].append(_read(bundles[name], CALLS[name]))
            say(f"overhead: round {number} of {rounds}")
    return _result(pairs, rounds)


def _bundles(folder: Path) -> dict[str, Path]:
    """Write the trivial model, and one of about 2 ms on this machine."""
    trial = small.write(small.chain(TRIAL_LAYERS), folder / "trial")
    layers = max(1, round(TRIAL_LAYERS * AIMED_US / _read(trial, CALLS["real"]).bare))
    return {
        "trivial": small.write(small.trivial(), folder / "trivial"),
        "real": small.write(small.chain(layers), folder / "real"),
    }


def _read(bundle: Path, calls: int) -> Pair:
    job = {"bundle": str(bundle), "calls": calls, "threads": THREADS}
    return Pair(**fresh("-m", "benchmarks.paired", job=job))


def _result(pairs: dict[str, list[Pair]], rounds: int) -> Result:
    on = place(THREADS)
    ours = {name: [pair.ours for pair in found] for name, found in pairs.items()}
    bare = {name: [pair.bare for pair in found] for name, found in pairs.items()}
    added = [a - b for a, b in zip(ours["trivial"], bare["trivial"], strict=True)]
    base = {name: statistics.median(values) for name, values in bare.items()}
    how = "same file, inputs and thread; {} rounds × {:,} calls in turns; bare: {}"
    return Result(
        rows=(
            at_most(
                "open(bundle)(x) minus bare ONNX Runtime, trivial model",
                how.format(rounds, CALLS["trivial"], f"{base['trivial']:.1f} µs"),
                median(added, "µs", on),
                MOST_ADDED_US,
            ),
            at_most(
                "open(bundle)(x) over bare ONNX Runtime, model of about 2 ms",
                how.format(rounds, CALLS["real"], f"{base['real'] / 1e3:.2f} ms"),
                median(ratios(ours["real"], bare["real"]), "ratio", on),
                MOST_RATIO,
            ),
        ),
        readings={f"{name} ours µs": values for name, values in ours.items()}
        | {f"{name} bare µs": values for name, values in bare.items()},
    )
