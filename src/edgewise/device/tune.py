"""`edgewise tune`: find, by measurement on this machine, the variant, threads and settings that answer fastest.

    default → its variants → threads → settings, one at a time → confirm against the default in new rounds

A challenger takes the place of the best only when it is faster in every one of six rounds, each with sessions of
their own, in turns: by chance alone that happens to one equal challenger in 64. Many are tried, so the winner meets
the default once more, in rounds that played no part in choosing it, and stays only if the whole interval of the
ratio says faster. Otherwise the default stays: tuning never makes a model slower, beyond what such rounds can show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from edgewise import targets
from edgewise.bundle import golden, store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import Variant
from edgewise.bundle.rounds import median_figure
from edgewise.bundle.signing import Trusted
from edgewise.bundle.store import Bundle
from edgewise.device.runner import pick, runs_here
from edgewise.device.tuned import Setup, Tried, Tuned, remember, whereabouts
from edgewise.errors import EdgewiseError
from edgewise.machine import cores

__all__ = ["tune"]

ROUNDS = 6
CONFIRM = 12
ROUND_SECONDS = 0.25

FASTER = "faster"
HERE = "this machine"

Change = Callable[[Setup], Setup]
Hear = Callable[[Tried], None]


def tune(
    path: str | Path,
    *,
    tier: str | None = None,
    trusted: Trusted | None = None,
    hear: Hear = lambda tried: None,
) -> Tuned:
    """Tune a bundle on this machine and remember the result; `hear` is told of each setup as it was tried.

    Requests are the bundle's golden inputs. Raises as `edgewise.open` does for a bundle that cannot be opened here.
    """
    bundle = store.read(path, trusted)
    bundle.check()
    race = _Race(bundle)
    variant, _ = pick(bundle.manifest.tiers, bundle.model, tier)
    default = best = Setup(variant=variant.id)
    tried = []
    for stage in (_variants, _threads, _settings):
        for change in stage(bundle, best):
            outcome = race.meet(change(best), best)
            tried.append(outcome)
            hear(outcome)
            if outcome.outcome == FASTER:
                best = outcome.setup
    tuned = _confirmed(race, best, default, tuple(tried))
    remember(bundle, tuned)
    return tuned


def _variants(bundle: Bundle, best: Setup) -> Iterator[Change]:
    """Yield the other variants that run here and were shown to hold their quality floor."""
    for variant in bundle.model.variants:
        if variant.id != best.variant and runs_here(variant.runtime) and _holds(variant):
            yield partial(msgspec.structs.replace, variant=variant.id)


def _holds(variant: Variant) -> bool:
    margin = variant.figures.get("margin")
    return margin is not None and margin.low is not None and margin.low >= 0


def _threads(bundle: Bundle, best: Setup) -> Iterator[Change]:
    most = cores()
    for threads in sorted({1, *(2**k for k in range(1, 6) if 2**k < most), most}):
        yield partial(msgspec.structs.replace, threads=threads)


def _settings(bundle: Bundle, best: Setup) -> Iterator[Change]:
    """Yield every other value of each setting of the best variant's target, to change one at a time."""
    for name, (_, *others) in targets.session(_variant(bundle, best).runtime).SETTINGS.items():
        for value in others:
            yield partial(_with_setting, name=name, value=value)


def _with_setting(setup: Setup, name: str, value: str) -> Setup:
    return msgspec.structs.replace(setup, settings=setup.settings | {name: value})


def _variant(bundle: Bundle, setup: Setup) -> Variant:
    return next(one for one in bundle.model.variants if one.id == setup.variant)


def _confirmed(race: _Race, best: Setup, default: Setup, tried: tuple[Tried, ...]) -> Tuned:
    """Let the best meet the default in new rounds; it stays only if they show it to be faster."""
    times = [(race.p50(best), race.p50(default)) for _ in range(CONFIRM)]
    ratio = median_figure([one / other for one, other in times], "ratio", HERE, split="golden")
    gained = best != default and ratio.high is not None and ratio.high < 1
    setup = best if gained else default
    return Tuned(
        setup=setup,
        default=default,
        p50=median_figure([one if gained else other for one, other in times], "ms", HERE, split="golden"),
        ratio=ratio if gained else None,
        where=whereabouts(race.runtimes(setup, default)),
        tried=tried,
    )


class _Race:
    """Times setups of one bundle on its golden inputs; every round has sessions of its own."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._cases = golden.decode(bundle.main_file(bundle.model.golden))

    def runtimes(self, *setups: Setup) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_variant(self._bundle, setup).runtime for setup in setups))

    def meet(self, challenger: Setup, best: Setup) -> Tried:
        """Let two setups run in turns until the challenger loses a round, or has won them all."""
        ratios: list[float] = []
        try:
            while len(ratios) < ROUNDS and all(ratio < 1 for ratio in ratios):
                ratios.append(self.p50(challenger) / self.p50(best))
        except EdgewiseError as error:
            return Tried(challenger, float("inf"), len(ratios), str(error))
        won = all(ratio < 1 for ratio in ratios)
        return Tried(challenger, float(np.median(ratios)), len(ratios), FASTER if won else "not faster")

    def p50(self, setup: Setup) -> float:
        """Return the median time in ms of a request, in a fresh session, after each case was run once."""
        variant = _variant(self._bundle, setup)
        module = targets.session(variant.runtime)
        session = module.load(
            self._bundle.main_file(variant.artifact),
            self._bundle.model.outputs,
            threads=setup.threads,
            settings=setup.settings,
        )
        try:
            return _median(session, self._cases)
        finally:
            session.close()


def _median(session: targets.Session, cases: Sequence[GoldenCase]) -> float:
    for case in cases:
        session.run(case.inputs)
    times: list[float] = []
    until = time.perf_counter() + ROUND_SECONDS
    while time.perf_counter() < until:
        times.extend(targets.timed(session, case.inputs) for case in cases)
    return float(np.median(times))
