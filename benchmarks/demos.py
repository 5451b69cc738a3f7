"""The figures of the finished demos against what they aim at, as their own reports give them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.method import NotMeasuredError, Options, say
from benchmarks.table import WORDS, Result, Row, at_most, missing
from edgewise import report
from edgewise.errors import EdgewiseError
from edgewise.lab.result import BuildResult, Claim, TierResult
from edgewise.report import format as words

__all__ = ["DEMOS", "Demo", "Finished", "find", "run"]


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo and its aims: ratios to the original in default ONNX Runtime, and the floor of its quality."""

    name: str
    make: str
    model: str
    ratios: dict[str, float]
    floor: str

    def bound(self, original: float) -> float:
        """Return the loosest floor that this demo may be held to."""
        if self.name == "ocr":
            return original + max(0.01 * original, 0.002)
        return 0.99 * original


DEMOS = (
    Demo("sentiment", "make demo", "MiniLM", {"p50": 0.65, "size": 0.30}, "99 % of the original"),
    Demo("ocr", "make demo-ocr", "PP-OCR", {"p50": 0.45}, "original + larger of 1 % and 0.2 points"),
)


@dataclass(frozen=True, slots=True)
class Finished:
    """A demo that was built, and what its report says."""

    demo: Demo
    config: Path
    result: BuildResult

    @property
    def here(self) -> TierResult:
        """The tier that this machine stands for. Raises NotMeasuredError where it got nothing."""
        for tier in self.result.tiers:
            if tier.machine == "this" and tier.chosen:
                return tier
        raise NotMeasuredError("the report names no choice for the machine that built it")

    @property
    def chosen(self) -> str:
        """The candidate that this machine got."""
        return self.here.chosen or ""


def find(demo: Demo, options: Options) -> Finished:
    """Return the finished demo, built first if the options say so. Raises NotMeasuredError if it is not there."""
    folder = options.demo_out / demo.name
    file = folder / "out" / "report.json"
    if not file.is_file():
        if not options.build:
            raise NotMeasuredError(f"no finished demo in {folder}: run `{demo.make}`, or add --build")
        _build(demo, folder)
    return Finished(demo, folder / "project" / "edgewise.toml", report.read(file))


def run(options: Options) -> Result:
    """Read each demo's report; one that is not there is a row that says so."""
    rows: list[Row] = []
    for demo in DEMOS:
        try:
            rows += _rows(find(demo, options))
        except EdgewiseError as error:
            rows.append(missing(f"{demo.model}: figures of the demo", str(error)))
    return Result(tuple(rows))


def _build(demo: Demo, folder: Path) -> None:
    """Call `edgewise demo`, which ends with the exit code of its goals: the report says which were met."""
    from edgewise.cli.demo import command

    say(f"building the {demo.name} demo in {folder}")
    with suppress(SystemExit):
        command.main([demo.name, "--out", str(folder.parent)], standalone_mode=False)


def _rows(found: Finished) -> list[Row]:
    how = f"{found.chosen} over the original in default ONNX Runtime, same threads; from report.json"
    rows = []
    for kind, limit in found.demo.ratios.items():
        title = f"{found.demo.model}: {kind} of the choice"
        figure = found.result.headline.get(kind)
        rows.append(at_most(title, how, figure, limit) if figure else missing(title, "not in report.json"))
    return [*rows, _quality(found)]


def _quality(found: Finished) -> Row:
    result, demo = found.result, found.demo
    claim = next(claim for claim in result.claims if claim.candidate == found.chosen)
    metric = result.metric
    title = f"{demo.model}: {words.metric_name(metric)} above its floor"
    if _looser(found, claim):
        return missing(title, f"the demo was built for a looser floor than {demo.floor}: build it again")
    mine, original = words.figure(claim.quality, metric), words.figure(claim.original, metric)
    how = f"{mine}, original {original}; paired on {result.splits['test']:,} test samples; from report.json"
    shown = words.margin(claim.margin, metric)
    return Row(title, how, f"≥ 0 ({demo.floor})", claim.margin, shown, WORDS[claim.verdict])


def _looser(found: Finished, claim: Claim) -> bool:
    """Tell whether the build's floor asks less than the aim does."""
    assert claim.original.value is not None
    sign = 1 if found.result.higher_is_better else -1
    return sign * (found.demo.bound(claim.original.value) - claim.floor) > 1e-9
