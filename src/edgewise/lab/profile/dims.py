"""Values for dynamic dimensions: what the caller says, else what the feeds have, else stated guesses.

An unnamed dimension goes by its place: "input[1]". Guesses are tried in turn, because a model can be
too deep for a small image and too small for a long text; the first that the graph can compute is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError

__all__ = ["Guess", "guesses"]

# (image height and width, any other length)
_LADDER = ((224, 128), (320, 576), (64, 1024), (32, 16), (48, 1))
_BATCH = re.compile(r"^(n|b|.*batch.*)$", re.IGNORECASE)
_STATE = re.compile(r"state|hidden|^[hc]_?[0n]?$", re.IGNORECASE)
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class Guess:
    """Input shapes to try; `dims` are all dynamic dimensions by name, `assumed` those nobody gave."""

    shapes: dict[str, tuple[int, ...]]
    dims: dict[str, int]
    assumed: dict[str, int]


def guesses(
    inputs: tuple[TensorSpec, ...], dims: Mapping[str, int], feeds: Mapping[str, NDArray[Any]] | None
) -> Iterator[Guess]:
    """Yield sets of input shapes, best first. Raises InputError for dims or feeds that don't fit."""
    names = {spec.name: tuple(_named(spec, axis) for axis in range(len(spec.shape))) for spec in inputs}
    known = _given(names, dims)
    if feeds is not None:
        known |= _from_feeds(inputs, names, known, feeds)
    seen: list[dict[str, int]] = []
    for image, length in _LADDER:
        assumed = _assume(inputs, names, known, image, length)
        if assumed not in seen:
            seen.append(assumed)
            every = {**known, **assumed}
            shapes = {
                name: tuple(every[dim] if isinstance(dim, str) else dim for dim in places)
                for name, places in names.items()
            }
            yield Guess(shapes, every, assumed)


def _named(spec: TensorSpec, axis: int) -> str | int:
    dim = spec.shape[axis]
    return f"{spec.name}[{axis}]" if dim is None else dim


def _given(names: Mapping[str, tuple[str | int, ...]], dims: Mapping[str, int]) -> dict[str, int]:
    dynamic = {dim for places in names.values() for dim in places if isinstance(dim, str)}
    for name, value in dims.items():
        if name not in dynamic:
            have = ", ".join(sorted(dynamic)) or "none"
            raise InputError(f"the model has no dynamic dimension {name!r}; it has: {have}")
        if value < 1:
            raise InputError(f"dimension {name!r} is {value}: give a positive whole number")
    return dict(dims)


def _from_feeds(
    inputs: tuple[TensorSpec, ...],
    names: Mapping[str, tuple[str | int, ...]],
    known: Mapping[str, int],
    feeds: Mapping[str, NDArray[Any]],
) -> dict[str, int]:
    """Return the value of each dynamic dimension as the feeds have it, each one consistent."""
    found = dict(known)
    wanted = sorted(spec.name for spec in inputs)
    if sorted(feeds) != wanted:
        raise InputError(f"the feeds are named {sorted(feeds)}, but the model's inputs are {wanted}")
    for name, places in names.items():
        shape = feeds[name].shape
        fits = len(shape) == len(places)
        for dim, size in zip(places, shape, strict=False):
            fits &= (found.setdefault(dim, size) if isinstance(dim, str) else dim) == size
        if not fits:
            wants = ", ".join(str(found.get(str(dim), dim)) for dim in places)
            raise InputError(f"input {name!r} is fed {list(shape)}, but has to be [{wants}]")
    return found


def _assume(
    inputs: tuple[TensorSpec, ...],
    names: Mapping[str, tuple[str | int, ...]],
    known: Mapping[str, int],
    image: int,
    length: int,
) -> dict[str, int]:
    assumed: dict[str, int] = {}
    sums = []
    for spec in inputs:
        for axis, dim in enumerate(names[spec.name]):
            if isinstance(dim, int) or dim in known or dim in assumed:
                continue
            if " + " in dim:  # optimum writes "past_sequence_length + sequence_length"
                sums.append(dim)
            elif _BATCH.match(dim) or (axis == 0 and len(spec.shape) > 1) or _STATE.search(spec.name):
                assumed[dim] = 1
            else:
                assumed[dim] = image if _is_image(spec) else length
    every = {**assumed, **known}
    assumed |= {dim: sum(every.get(part, length) for part in dim.split(" + ")) for dim in sums}
    return assumed


def _is_image(spec: TensorSpec) -> bool:
    return len(spec.shape) == 4 and (spec.shape[1] in _CHANNELS or spec.shape[3] in _CHANNELS)
