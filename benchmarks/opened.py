"""A process that times one bundle as `edgewise.open` opens it, with what `edgewise tune` left in a cache."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

from benchmarks.bare import read


def measure(bundle: str, cache: str, samples: str) -> dict[str, float | str]:
    """Return the median ms over every other sample, after a pass over the rest, and why it was opened as it was."""
    os.environ["EDGEWISE_CACHE"] = cache
    import edgewise

    feeds = read(samples)
    with edgewise.open(bundle) as model:
        for one in feeds[::2]:
            model(one)
        times = []
        for one in feeds[1::2]:
            start = time.perf_counter_ns()
            model(one)
            times.append(time.perf_counter_ns() - start)
        return {"p50": statistics.median(times) / 1e6, "reason": model.reason}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
