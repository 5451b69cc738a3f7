"""Samples, labels, metrics, splits and intervals: what quality means, and when it may be claimed."""
