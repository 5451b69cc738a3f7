"""A process that tunes one bundle into a cache of its own."""

from __future__ import annotations

import json
import os
import sys

import msgspec


def measure(bundle: str, cache: str) -> bytes:
    """Return what `edgewise tune` found, as JSON."""
    os.environ["EDGEWISE_CACHE"] = cache
    from edgewise.device.tune import tune

    return msgspec.json.encode(tune(bundle))


if __name__ == "__main__":
    print(measure(**json.loads(sys.argv[1])).decode())
