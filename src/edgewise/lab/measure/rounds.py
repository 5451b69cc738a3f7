"""Interleaved rounds: each contestant is timed once per round in a fresh process, so drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from edgewise.lab.measure.worker import Measured

__all__ = ["interleave"]


Results = Mapping[str, Sequence[Measured]]


def interleave(
    names: Sequence[str],
    rounds: int,
    measure: Callable[[str], Measured | None],
    *,
    begin: Callable[[int, int], None] = lambda number, count: None,
    beaten: Callable[[Results], Collection[str]] = lambda results: (),
) -> dict[str, list[Measured]]:
    """Measure every contestant once per round, in a rotating order.

    `begin` hears the round (from 1) and how many take part. A contestant that fails (None) is left out of the
    results; those that `beaten` names after a round keep theirs and run no more.
    """
    results: dict[str, list[Measured]] = {name: [] for name in names}
    active = list(names)
    for number in range(rounds):
        if active:
            begin(number + 1, len(active))
        shift = number % max(1, len(active))
        for name in [*active[shift:], *active[:shift]]:
            measured = measure(name)
            if measured is None:
                results.pop(name)
            else:
                results[name].append(measured)
        gone = beaten(results)
        active = [name for name in active if name in results and name not in gone]
    return results
