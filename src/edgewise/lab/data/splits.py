"""Disjoint splits: calibration, search, test. Stratified by label, whole groups, duplicates kept together.

Every candidate is judged on search; only the original and the chosen variants ever touch test, once, at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.errors import InputError
from edgewise.lab.data.samples import Dataset, Sample

__all__ = ["LEAST", "NAMES", "Splits", "split"]

NAMES = ("calibration", "search", "test")
DEFAULT_SHARES = (0.1, 0.3, 0.6)
MOST_CALIBRATION = 300
MOST_SEARCH = 1000
LEAST = {"calibration": 2, "search": 5, "test": 5}


@dataclass(frozen=True, slots=True)
class Splits:
    """The three splits, and notes on what making them found."""

    calibration: tuple[Sample, ...]
    search: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    def sizes(self) -> dict[str, int]:
        """Samples per split."""
        return {name: len(getattr(self, name)) for name in NAMES}


def split(dataset: Dataset, sizes: dict[str, int | None], seed: int = 0) -> Splits:
    """Split `dataset` into `sizes` (None: 10 % up to 300, 30 % up to 1,000, and the rest).

    Data with its own `split` column is taken at its word, and refused when splits share samples or groups.
    Raises InputError when there are too few samples for the sizes asked.
    """
    samples = dataset.samples
    keys, duplicates = _units(samples)
    notes: tuple[str, ...] = ()
    if duplicates:
        notes = (f"{duplicates} duplicate samples were kept together in one split",)
    if any(sample.split is not None for sample in samples):
        if any(sizes.values()):
            notes += (f"{dataset.origin} declares its own splits: the sizes in [data] were not used",)
        return _declared(samples, keys, dataset.origin, notes)
    wanted = _sizes(len(samples), sizes, dataset.origin)
    parts = _assign(samples, keys, wanted, np.random.default_rng(seed))
    _check_filled(parts, dataset.origin)
    if left := sum(wanted.values()) - sum(map(len, parts.values())):
        notes += (f"{left} samples are in no split: their groups are larger than the room that was left",)
    return _gather(samples, parts, notes)


def _units(samples: Sequence[Sample]) -> tuple[list[int], int]:
    """Return for each sample the unit that must stay whole: its group, merged over duplicates."""
    parent = list(range(len(samples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Any, int] = {}
    duplicates = 0
    for i, sample in enumerate(samples):
        digest = sample.digest()
        duplicates += digest in first
        for key in (digest, *([("group", sample.group)] if sample.group is not None else [])):
            parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(samples))], duplicates


def _sizes(count: int, asked: dict[str, int | None], origin: str) -> dict[str, int]:
    defaults = dict(zip(NAMES, (int(count * share) for share in DEFAULT_SHARES), strict=True))
    defaults["calibration"] = min(defaults["calibration"], MOST_CALIBRATION)
    defaults["search"] = min(defaults["search"], MOST_SEARCH)
    sizes = {name: asked.get(name) or max(defaults[name], LEAST[name]) for name in NAMES}
    if asked.get("test") is None:
        sizes["test"] = max(count - sizes["calibration"] - sizes["search"], LEAST["test"])
    total = sum(sizes.values())
    if total > count:
        parts = " + ".join(f"{sizes[name]} {name}" for name in NAMES)
        raise InputError(
            f"{origin} has {count} samples, but {parts} need {total}: ask for fewer or give more"
        )
    return sizes


def _assign(
    samples: Sequence[Sample], keys: Sequence[int], wanted: dict[str, int], random: np.random.Generator
) -> dict[str, list[int]]:
    """Deal units out label by label, each to the split that is furthest from its share of that label."""
    units: dict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        units[key].append(index)
    order = list(units)
    random.shuffle(order)
    strata = _strata(samples)
    total = sum(wanted.values())
    parts: dict[str, list[int]] = {name: [] for name in NAMES}
    per_stratum: dict[tuple[str, Any], int] = defaultdict(int)
    seen: dict[Any, int] = defaultdict(int)
    for key in order:
        members = units[key]
        stratum = strata[members[0]]
        room = [name for name in NAMES if len(parts[name]) + len(members) <= wanted[name]]
        if not room:
            continue
        seen[stratum] += len(members)
        due = {n: seen[stratum] * wanted[n] / total - per_stratum[n, stratum] for n in room}
        best = max(room, key=lambda n: (due[n], wanted[n] - len(parts[n])))
        parts[best].extend(members)
        per_stratum[best, stratum] += len(members)
    return parts


def _strata(samples: Sequence[Sample]) -> list[Any]:
    """Class labels stratify; numbers and texts with many values do not."""
    labels = [sample.label for sample in samples]
    hashable = all(isinstance(label, int | str | bool) for label in labels)
    few = hashable and len(set(labels)) <= max(2, len(labels) // 10)
    return labels if few else [None] * len(labels)


def _declared(samples: Sequence[Sample], keys: Sequence[int], origin: str, notes: tuple[str, ...]) -> Splits:
    home: dict[int, tuple[str | None, int]] = {}
    for index, (key, sample) in enumerate(zip(keys, samples, strict=True)):
        if sample.split not in (*NAMES, "fit"):
            raise InputError(
                f"{origin}: sample {index} has split {sample.split!r}: use {', '.join(NAMES)} or fit"
            )
        where, first = home.setdefault(key, (sample.split, index))
        if where != sample.split:
            message = (
                f"{origin}: leaking splits: samples {first} ({where}) and {index} ({sample.split}) are duplicates "
                "or share a group: put them into one split"
            )
            raise InputError(message)
    parts = {name: [i for i, sample in enumerate(samples) if sample.split == name] for name in NAMES}
    _check_filled(parts, origin)
    return _gather(samples, parts, notes)


def _gather(samples: Sequence[Sample], parts: dict[str, list[int]], notes: tuple[str, ...]) -> Splits:
    calibration, search, test = (tuple(samples[i] for i in sorted(parts[name])) for name in NAMES)
    return Splits(calibration, search, test, notes)


def _check_filled(parts: dict[str, list[int]], origin: str) -> None:
    for name in NAMES:
        if len(parts[name]) < LEAST[name]:
            message = f"{origin}: the {name} split got {len(parts[name])} samples, it needs at least {LEAST[name]}: "
            raise InputError(message + "give more samples, smaller groups or fewer duplicates")
