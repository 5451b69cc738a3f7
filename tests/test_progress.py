"""What a build says while it works."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgewise.cli.progress import Bar, Lines


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_lines_say_what_is_left_by_the_mean_of_the_steps_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines.stage("Building candidates", 10)
    for _ in range(4):
        clock.now += 20
        lines.step("built")
    assert said(capsys) == [
        "Building candidates (10)",
        "  1/10 built",
        "  2/10 built  (about 3 min left)",
        "  3/10 built",
        "  4/10 built  (about 2 min left)",
    ]


def test_lines_do_not_say_that_a_short_stage_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines.stage("Judging", 3)
    for _ in range(3):
        clock.now += 4
        lines.step("answers")
    assert not any("left" in line for line in said(capsys))


@pytest.mark.parametrize(
    ("step", "words"), [(12, "about 40 s left"), (60, "about 3 min left"), (3600, "about 3.0 h left")]
)
def test_what_is_left_is_said_in_a_fitting_unit(
    step: float, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines.stage("Timing", 6)
    for _ in range(3):
        clock.now += step
        lines.step("timed")
    assert words in capsys.readouterr().err


def test_the_best_so_far_is_said_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for best in ("a 1.2 ms, 0.27×, 91.8 %", "a 1.2 ms, 0.27×, 91.8 %", "b 1.1 ms, 0.27×, 91.7 %"):
        lines.best(best)
    assert said(capsys) == [
        "  best so far: a 1.2 ms, 0.27×, 91.8 %",
        "  best so far: b 1.1 ms, 0.27×, 91.7 %",
    ]


def drawn(bar: Bar) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(bar)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_bar_shows_the_stage_its_steps_and_below_it_the_best_so_far() -> None:
    bar = Bar()
    bar.stage("Judging on the search split", 25)
    bar.step("openvino/original: answers")
    assert "best so far" not in drawn(bar)
    bar.best("openvino/fp16 1.2 ms")
    bar.best("openvino/openvino-ptq 1.1 ms [x]")
    above, below = drawn(bar).splitlines()[-2:]
    assert "Judging on the search split" in above
    assert "1/25" in above
    assert below.strip() == "best so far: openvino/openvino-ptq 1.1 ms [x]"
