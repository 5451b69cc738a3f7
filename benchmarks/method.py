"""How everything here is measured.

A reading comes from a fresh process. In every round each contestant is read once, in a random order, so that
whatever else the machine does hits all alike. What is compared is compared within a round; what is shown is the
median over rounds with its 95 % interval.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.rounds import order_interval
from edgewise.errors import EdgewiseError
from edgewise.lab import machine

__all__ = ["NotMeasuredError", "Options", "fresh", "median", "orders", "place", "ratios", "say"]

ROOT = Path(__file__).parent.parent
PATIENCE_S = 600


class NotMeasuredError(EdgewiseError):
    """A figure could not be had; the message is the reason that its row shows."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; `rounds` None leaves the number to each benchmark."""

    demo_out: Path
    rounds: int | None = None
    build: bool = False


def fresh(*arguments: str, job: Any = None) -> Any:
    """Run Python with `arguments` (and `job` as JSON) and return the JSON on the last line that it prints."""
    command = [sys.executable, *arguments, *([] if job is None else [json.dumps(job)])]
    quiet = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env=os.environ | quiet,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"took longer than {PATIENCE_S} s") from error
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotMeasuredError(f"its process ended with {done.returncode}: {lines[-1][:200]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def orders(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Yield one random order of the contestants per round, the same ones every time."""
    dice = random.Random(0)
    for _ in range(rounds):
        yield dice.sample(names, len(names))


def ratios(mine: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Return how a contestant stands to its peer, round by round, over the rounds that both ran."""
    return [a / b for a, b in zip(mine, peer, strict=False)]


def median(values: Sequence[float], unit: str, on: str) -> Figure:
    """Return the median over rounds with its distribution-free 95 % interval."""
    low, high = order_interval(values)
    value = float(np.median(values))
    return Figure(evidence=Evidence.MEASURED, unit=unit, value=value, low=low, high=high, on=on)


def place(threads: int) -> str:
    """Say where a figure was measured."""
    return f"{machine.describe()['platform']}, {threads} thread{'s' * (threads > 1)}"


def say(line: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"  {line}", file=sys.stderr, flush=True)
