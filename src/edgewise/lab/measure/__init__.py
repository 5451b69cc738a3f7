"""Latency, memory, quality and difference, each in a fresh process, with intervals."""
