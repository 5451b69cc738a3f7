"""Golden inputs and outputs: the same few requests, answered by the original, kept in canonical form.

One `.npz` (never pickled): `in/<i>/<name>`, `out/<i>/<name>`, `raw/<i>` where pre-processing is declared (text
as a numpy string, a picture as uint8), and `answer/<i>` where post-processing gives a name or a text. They are run at build, at install and in `edgewise verify`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.errors import InputError, TrustError

__all__ = ["Difference", "GoldenCase", "compare", "decode", "encode"]

Arrays = Mapping[str, NDArray[np.generic]]


class GoldenCase(msgspec.Struct, frozen=True):
    """One request: its tensors, the original's outputs, the raw input and the final answer where there are any."""

    inputs: Arrays
    outputs: Arrays
    raw: NDArray[np.generic] | None = None
    answer: str | None = None


class Difference(msgspec.Struct, frozen=True):
    """How far outputs are from the original's over some cases.

    `max_abs` in the outputs' own unit; `max_rel` is max_abs over the largest absolute reference value; `rms` is
    the root mean square of the differences over that of the reference, for the output where it is largest: one
    flipped decision makes max_rel 1, but moves rms little; answers that are noise make it 1 and more.
    `agreement` is the share of top-1 positions (argmax over the last axis of the first float output) equal.
    """

    cases: int
    max_abs: float
    max_rel: float
    rms: float
    agreement: float


def encode(cases: Sequence[GoldenCase]) -> bytes:
    """Return the cases as deterministic .npz bytes. Raises InputError on object arrays: they need pickle."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, case in enumerate(cases):
        arrays |= {f"in/{index}/{name}": array for name, array in case.inputs.items()}
        arrays |= {f"out/{index}/{name}": array for name, array in case.outputs.items()}
        if case.raw is not None:
            arrays[f"raw/{index}"] = case.raw
        if case.answer is not None:
            arrays[f"answer/{index}"] = np.array(case.answer)
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise InputError(
                f"golden case {name}: an array of Python objects cannot be stored; give numbers or text"
            )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes only allow_pickle by keyword
    return buffer.getvalue()


def decode(path: Path) -> tuple[GoldenCase, ...]:
    """Read the cases back. Raises TrustError when the file is not a golden file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        numbers = sorted({int(name.split("/")[1]) for name in arrays})
    except Exception as error:  # a damaged archive may raise nearly anything
        raise TrustError(f"{path} is not a golden-input file: {error}") from error
    return tuple(
        GoldenCase(
            _part(arrays, f"in/{i}/"),
            _part(arrays, f"out/{i}/"),
            arrays.get(f"raw/{i}"),
            str(arrays[f"answer/{i}"]) if f"answer/{i}" in arrays else None,
        )
        for i in numbers
    )


def _part(arrays: Arrays, prefix: str) -> dict[str, NDArray[np.generic]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def compare(expected: Sequence[Arrays], actual: Sequence[Arrays]) -> Difference:
    """Measure `actual` against `expected` outputs, case by case, output by output."""
    tallies: dict[str, _Tally] = {}
    equal = total = 0
    for reference, outputs in zip(expected, actual, strict=True):
        voting = _voting(reference)
        for name, wanted in reference.items():
            got = outputs.get(name)
            if got is None or got.shape != wanted.shape:
                return Difference(len(expected), float("inf"), float("inf"), float("inf"), 0.0)
            if wanted.size == 0:
                continue
            first, second = _numbers(wanted, got)
            tallies.setdefault(name, _Tally()).add(first, second)
            if name == voting:
                matches = _top1(first) == _top1(second)
                equal, total = equal + int(matches.sum()), total + matches.size
    max_abs = max((tally.largest for tally in tallies.values()), default=0.0)
    scale = max((tally.scale for tally in tallies.values()), default=0.0)
    return Difference(
        cases=len(expected),
        max_abs=max_abs,
        max_rel=max_abs / scale if scale else max_abs,
        rms=max((tally.rms for tally in tallies.values()), default=0.0),
        agreement=equal / total if total else 1.0,
    )


@dataclass(slots=True)
class _Tally:
    """What the cases add up to for one output."""

    largest: float = 0.0
    scale: float = 0.0
    gaps: float = 0.0
    squares: float = 0.0

    def add(self, wanted: NDArray[np.float64], got: NDArray[np.float64]) -> None:
        gap = np.abs(np.subtract(wanted, got, where=wanted != got, out=np.zeros_like(wanted)))
        finite = wanted[np.isfinite(wanted)]
        self.largest = max(self.largest, float("inf") if np.isnan(gap).any() else float(gap.max()))
        self.scale = max(self.scale, float(np.abs(finite).max(initial=0.0)))
        self.gaps += float("inf") if np.isnan(gap).any() else float(np.square(gap).sum())
        self.squares += float(np.square(finite).sum())

    @property
    def rms(self) -> float:
        return math.sqrt(self.gaps / self.squares if self.squares else self.gaps)


def _voting(outputs: Arrays) -> str | None:
    """Name the output whose top-1 is compared: the first float one, or the first."""
    floats = (name for name, array in outputs.items() if np.issubdtype(array.dtype, np.floating))
    return next(floats, next(iter(outputs), None))


def _numbers(
    wanted: NDArray[np.generic], got: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as floats; text (a classifier's label) counts as 0 where it is equal and 1 where not."""
    if wanted.dtype.kind in "SUO":
        return np.zeros(wanted.shape), np.asarray(wanted != got, np.float64)
    return wanted.astype(np.float64), got.astype(np.float64)


def _top1(array: NDArray[np.float64]) -> NDArray[np.generic]:
    if array.ndim and array.shape[-1] > 1:
        return np.asarray(array.argmax(axis=-1))
    return np.asarray(np.rint(array))
