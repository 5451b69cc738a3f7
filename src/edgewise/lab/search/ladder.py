"""The search: judge what may become the choice, widen what falls short but would pay, protect what still does.

    first rungs    each tool's defaults, and after repairs where the screen asks for them; built, looked at
    judge          the most promising for a tier, until nothing that was not judged could beat what holds the floor
    widen          a tool's files that would pay but fall short: other ranges, bias correction, repairs
    protect        the one that would pay most and still falls short: as few layers in float as it takes

Only what could win is judged, so that the real metric is asked a bounded number of times. Nothing is lost: a file that
was not judged is a row that says what it was slower or larger than.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgewise.lab import attempt
from edgewise.lab.compress.enumerate import first_rungs, variations
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.plan import Plan
from edgewise.lab.search import protect
from edgewise.lab.search.look import Looks, hopeless
from edgewise.lab.search.screen import Screen
from edgewise.lab.search.standing import Standing
from edgewise.lab.train.students import AnyStudent
from edgewise.lab.trial import Judged, Trial
from edgewise.lab.watcher import Watcher
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import Quantizer

__all__ = ["EVALUATIONS", "Ladder"]

EVALUATIONS = 25  # of the real metric, for one model
PROTECTING = 8  # of them kept for protecting layers
ALONGSIDE = 1.5  # times the objective of the most promising, up to where another is judged beside it
SHOWN = 12  # evaluations that every search may take
NEAREST = 2  # of the variations of a file, those nearest to the original
PAYS, PAYS_PROTECTED = 0.03, 0.10  # gain of a choice that is worth a wider search, or layers in float
WHOLE = ("fp32", "fp16")

Family = tuple[str, type, AnyStudent | None]


class Ladder:
    """The search: on the user's model, and on students of it as they come; `sources` are the files they are built from."""

    def __init__(
        self,
        plan: Plan,
        shop: Workshop,
        source: Path,
        screened: Screen,
        looks: Looks,
        reference: Judged,
        watcher: Watcher,
    ) -> None:
        self.plan, self.shop, self.screened = plan, shop, screened
        self.sources: dict[AnyStudent | None, Path] = {None: source}
        self.looks, self.reference, self.watcher = looks, reference, watcher
        self.standings = [Standing(tier, plan.config.goals[tier.name]) for tier in plan.config.tiers]
        self.trials: list[Trial] = []
        self.budget, self.evaluations = EVALUATIONS, 0
        self._widened: set[Family] = set()
        self._helped: set[tuple[str, str, AnyStudent | None]] = set()

    def begin(self, baseline: Trial) -> None:
        """Search on the original, whose own file is the first trial."""
        self.trials = [baseline]
        by_size = [standing.tier for standing in self.standings if not standing.by_speed]
        smaller = {target for tier in by_size for target in tier.runtimes}
        self.try_out(first_rungs(self.plan.targets, self.screened, smaller=smaller))
        self.climb()

    def climb(self) -> None:
        """Judge, widen and protect until nothing that was tried could still win."""
        while self._judged() or self._wider() or self._protected() or self._filled():
            pass

    def end(self) -> list[Trial]:
        """Give what was not judged its reason, and return all that was tried."""
        for trial in self.trials:
            if trial.built and not trial.judged and not trial.reason:
                trial.passed_over = True
                trial.reason = self._reason(trial)
        return self.trials

    def falls_short(self) -> bool:
        """Tell whether a quantized file that would pay does not hold the floor."""
        return any(True for _ in self._falling_short(PAYS))

    def try_one(self, candidate: Candidate) -> Trial:
        """Build one candidate and look at it; the trial of one that is known already."""
        self.try_out([candidate])
        return next(trial for trial in self.trials if trial.id == candidate.id)

    def try_out(self, candidates: Iterable[Candidate]) -> list[Trial]:
        """Build candidates side by side, and look at each alone; return those that answer."""
        known = {trial.id for trial in self.trials}
        new = {candidate.id: candidate for candidate in candidates if candidate.id not in known}
        trials = [Trial(candidate, name) for name, candidate in new.items()]
        if not trials:
            return []
        self.trials += trials
        attempt.build_all(self.shop, trials, self.sources, self.watcher)
        built = [trial for trial in trials if trial.built]
        if built:
            self.watcher.stage("A first look, on calibration samples", len(built))
            self.looks.over(built, self.watcher)
        return [trial for trial in built if trial.glance]

    def _judged(self) -> bool:
        """Judge the most promising, one for each tier at least; False where there is none, or no budget."""
        left = self.budget - PROTECTING - self.evaluations
        batch = list({trial.id: trial for trial in self._most_promising()}.values())[: max(0, left)]
        self.judge(batch)
        return bool(batch)

    def _most_promising(self) -> Iterator[Trial]:
        ranked = [standing.promising(self.trials) for standing in self.standings]
        yield from (found[0] for found in ranked if found)
        if len(self.standings) == 1 and ranked[0]:
            limit = self.standings[0].place(ranked[0][0]).times(ALONGSIDE)
            others = ranked[0][1 : self.shop.at_once]
            yield from (trial for trial in others if self.standings[0].place(trial) < limit)

    def judge(self, trials: Sequence[Trial]) -> None:
        """Judge files on the search split."""
        trials = [trial for trial in trials if trial.judged is None]
        attempt.judge_all(self.shop, trials, self.reference, self.watcher)
        self.evaluations += sum(trial.judged is not None for trial in trials)
        attempt.apply_floors(self.plan, trials, self.reference)
        self._tell_best()

    def _tell_best(self) -> None:
        """Say what is the best so far for the first tier, with what is known of it."""
        best = self.standings[0].best(self.trials)
        if best and best.judged:
            quality = float(self.plan.metric.value(best.judged.rows.sum(axis=0)))
            size = best.artifact.artifact.size / self.plan.model.size
            speed = f"{best.glance.quantile(0.5):.3g} ms, " if best.glance and best.glance.times else ""
            name = self.plan.metric.name
            self.watcher.best(f"{best.id}: {speed}{size:.2f}× the bytes, {name} {quality:.4g} on search")

    def _wider(self) -> bool:
        """Try variations of one family that would pay and falls short whole; False where there is none."""
        if self.evaluations >= self.budget - PROTECTING:
            return False
        for _, trial in self._falling_short(PAYS):
            if _family(trial) not in self._widened:
                self._widened.add(_family(trial))
                made = self.try_out(variations(trial.candidate, self.screened))
                _keep_nearest(made)
                return True
        return False

    def _protected(self) -> bool:
        """Protect layers of the file that would pay most, once for each tier and target; False where there is none."""
        for standing, trial in self._falling_short(PAYS_PROTECTED):
            key = (standing.tier.name, trial.candidate.target, trial.candidate.student)
            if key not in self._helped and isinstance(trial.candidate.method, Quantizer) and trial.judged:
                self._helped.add(key)
                protect.protect(self, trial, self.budget - self.evaluations)
                return True
        return False

    def _filled(self) -> bool:
        """Judge the fastest and the smallest of the rest, so that the report shows what else there is to have."""
        left = SHOWN - self.evaluations
        rest = [
            trial
            for trial in self.trials
            if trial.glance and not trial.judged and not trial.reason and not hopeless(trial)
        ]
        if left <= 0 or not rest:
            return False
        fast = sorted(rest, key=lambda trial: (self.standings[0].place(trial), trial.id))
        small = sorted(rest, key=lambda trial: (trial.artifact.artifact.size, trial.id))
        picked = {trial.id: trial for pair in zip(fast, small, strict=True) for trial in pair}
        self.judge(list(picked.values())[:left])
        return True

    def _falling_short(self, gain: float) -> Iterator[tuple[Standing, Trial]]:
        """Yield quantized files that would pay for a tier and do not hold, the best placed of each first."""
        for standing in self.standings:
            name = standing.tier.name
            for trial in standing.usable(self.trials):
                short = hopeless(trial) or (trial.judged is not None and not trial.holds.get(name))
                lossy = trial.candidate.precision not in WHOLE
                if short and lossy and standing.would_pay(trial, self.trials, gain):
                    yield standing, trial

    def _reason(self, trial: Trial) -> str:
        """Say why a file was not judged, in the words of the first tier that could run it."""
        if hopeless(trial):
            assert trial.glance
            assert trial.glance.difference
            share = trial.glance.difference.agreement
            return (
                f"answers something else: {share:.0%} of decisions on calibration samples are the original's"
            )
        for standing in self.standings:
            best = standing.best(self.trials)
            if best and trial.candidate.target in standing.tier.runtimes:
                behind = _behind(standing, trial, best)
                if behind:
                    return behind
        return f"not judged: the search ended after {self.evaluations} evaluations of the metric"


def _family(trial: Trial) -> Family:
    return trial.candidate.target, type(trial.candidate.method), trial.candidate.student


def _keep_nearest(made: Sequence[Trial]) -> None:
    """Pass over all variations but those nearest to the original."""
    ranked = sorted(made, key=lambda trial: (trial.distance, trial.id))
    for trial in ranked[NEAREST:]:
        trial.passed_over = True
        trial.reason = (
            f"{trial.distance:.1e} from the original on calibration samples, "
            f"{NEAREST} others of its tool within {ranked[NEAREST - 1].distance:.1e}"
        )


def _behind(standing: Standing, trial: Trial, best: Trial) -> str | None:
    mine, its = standing.place(trial), standing.place(best)
    if mine < its.times(standing.slack):
        return None
    if mine.missed > its.missed:
        return "cannot meet a goal that others meet which hold the floor"
    if standing.by_speed:
        return f"{mine.objective / its.objective:.2g}× the time of the fastest that holds the floor, at a first look"
    return "larger than others that hold the floor"
