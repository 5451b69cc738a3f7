"""A worker that evaluates the code it is given: for tests of how workers are run."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import msgspec

from edgewise.lab import jobs

__all__ = ["Job"]


class Job(msgspec.Struct, frozen=True):
    """An expression over os, sys and time."""

    code: str


def work(job: Job) -> Any:
    """Evaluate it."""
    return eval(job.code, {"os": os, "sys": sys, "time": time})


if __name__ == "__main__":
    jobs.serve(Job, work)
