"""Leaves these tests out where Ray is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["test_cluster.py"]
