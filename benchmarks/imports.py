"""How long `import edgewise` takes, and all that `edgewise.open` needs, against `import onnxruntime` alone."""

from __future__ import annotations

import statistics

from benchmarks.method import Options, fresh, median, orders, place, ratios, say
from benchmarks.table import Result, at_most

__all__ = ["run"]

ROUNDS = 21
MOST_RATIO = 1.3
PEER = "onnxruntime"
STATEMENTS = {
    PEER: "import onnxruntime",
    "edgewise": "import edgewise",
    # `version` imports ONNX Runtime: what opening a bundle does before it reads it.
    "open": "import edgewise; edgewise.open; from edgewise import targets; targets.session('onnxruntime').version()",
}
TITLES = {
    "edgewise": "import edgewise, over import onnxruntime",
    "open": "import edgewise and what edgewise.open loads, over import onnxruntime",
}
CLOCK = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def run(options: Options) -> Result:
    """Time each statement in a fresh process per round; the interpreter's own start is not counted."""
    rounds = options.rounds or ROUNDS
    for name in STATEMENTS:  # not counted: compiles modules and fills the disk cache
        _read(name)
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for number, order in enumerate(orders(list(STATEMENTS), rounds), 1):
        for name in order:
            seconds[name].append(_read(name))
        say(f"import: round {number} of {rounds}")
    peer = statistics.median(seconds[PEER])
    how = f"{rounds} rounds of fresh processes, without the interpreter's start; {PEER}: {peer:.3f} s"
    return Result(
        rows=tuple(
            at_most(title, how, median(ratios(seconds[name], seconds[PEER]), "ratio", place(1)), MOST_RATIO)
            for name, title in TITLES.items()
        ),
        readings={f"{name} s": values for name, values in seconds.items()},
    )


def _read(name: str) -> float:
    return float(fresh("-P", "-c", CLOCK.format(STATEMENTS[name])))
