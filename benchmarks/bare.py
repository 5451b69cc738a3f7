"""A process that times one artifact in its bare runtime: nothing of edgewise loads it, runs it or keeps time.

It warms up with one pass over the very samples that it then times, so every shape has been seen once.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, Any]

_STAT = Path("/proc/stat")


def measure(file: str, target: str, threads: int, samples: str) -> dict[str, float]:
    """Return the median ms over the samples, and the share of the machine that others took meanwhile."""
    importlib.import_module(f"edgewise.targets.{target}")  # only to silence the runtime's telemetry
    run = LOADERS[target](file, threads)
    feeds = read(samples)
    for one in feeds[::2]:
        run(one)
    times = []
    before = _others()
    for one in feeds[1::2]:
        start = time.perf_counter_ns()
        run(one)
        times.append(time.perf_counter_ns() - start)
    return {"p50": statistics.median(times) / 1e6, "others": _share(before, _others())}


def _others() -> tuple[float, float]:
    """Return the CPU seconds that other processes took so far, and those that there were."""
    if not _STAT.exists():
        return 0.0, 0.0  # not known: only Linux tells
    ticks = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    seconds = [tick / os.sysconf("SC_CLK_TCK") for tick in ticks]
    idle = seconds[3] + seconds[4]  # proc(5): user nice system idle iowait irq softirq steal
    return sum(seconds) - idle - time.process_time(), sum(seconds)


def _share(before: tuple[float, float], after: tuple[float, float]) -> float:
    passed = after[1] - before[1]
    return max(0.0, after[0] - before[0]) / passed if passed else 0.0


def read(path: str) -> list[Feeds]:
    """Read arrays named `<number>/<input>`."""
    feeds: dict[int, Feeds] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            number, _, name = key.partition("/")
            feeds.setdefault(int(number), {})[name] = file[key]
    return [feeds[number] for number in sorted(feeds)]


def _onnxruntime(file: str, threads: int) -> Callable[[Feeds], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None)


def _openvino(file: str, threads: int) -> Callable[[Feeds], Any]:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # what was verified, also where the CPU has bfloat16
    }
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    return partial(compiled.create_infer_request().infer, share_inputs=True)


def _litert(file: str, threads: int) -> Callable[[Feeds], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=file, num_threads=threads)
    runner = interpreter.get_signature_runner()
    wanted = runner.get_input_details()  # an input that became a constant is not among them

    def fed(array: Any, details: Any) -> Any:
        array = array.astype(details["dtype"], copy=False)
        return (
            array if array.ndim else array.reshape(details["shape"])
        )  # a single number may be a vector of one

    def run(feeds: Feeds) -> Any:
        return runner(**{name: fed(feeds[name], details) for name, details in wanted.items()})

    return run


LOADERS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "litert": _litert}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
