"""A process that times an open bundle and a bare session of the same file, call by call in turns."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import edgewise
from benchmarks import small

WARMUP_SECONDS = 0.3


def measure(bundle: str, calls: int, threads: int) -> dict[str, float]:
    """Return the median µs of a call on either side."""
    with edgewise.open(bundle, threads=threads) as model:
        variant = model.variant
        session = _bare(model.bundle.main_file(variant.artifact), threads)
        names = [output.name for output in session.get_outputs()]
        bare = partial(session.run, names)  # naming the outputs is quicker than asking for all
        feeds = small.inputs(session.get_inputs()[0].shape)
        np.testing.assert_array_equal(model(feeds).outputs[names[0]], bare(feeds)[0])
        until = time.perf_counter() + WARMUP_SECONDS
        while time.perf_counter() < until:
            model(feeds)
            bare(feeds)
        ours, theirs = _in_turns(model, bare, feeds, calls)
    return {"ours": statistics.median(ours) / 1e3, "bare": statistics.median(theirs) / 1e3}


def _bare(file: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _in_turns(
    ours: Callable[[Any], Any], theirs: Callable[[Any], Any], feeds: Any, calls: int
) -> tuple[list[int], list[int]]:
    """Time `calls` calls on either side; who goes first changes with every pair."""
    found: tuple[list[int], list[int]] = ([], [])
    pair = ((ours, found[0]), (theirs, found[1]))
    clock = time.perf_counter_ns
    for number in range(calls):
        for call, times in pair if number % 2 else pair[::-1]:
            start = clock()
            call(feeds)
            times.append(clock() - start)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
