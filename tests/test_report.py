"""The report: what it says, that it hides nothing, and that it is one file which loads nothing."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

import report_sample as samples
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.cli import tables
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.result import BuildResult, CandidateRow, GoalResult
from edgewise.report import format as fmt
from edgewise.report import page, read, scope, view, words, write
from edgewise.report.labels import Box, Label, place

Make = Callable[[], BuildResult]
Attributes = list[tuple[str, str | None]]
WORDS = {str(word) for word in Evidence}
EVERY = [
    samples.sample,
    samples.all_failed,
    samples.none_chosen,
    samples.everything_met,
    samples.lower_is_better,
]


class Tree(HTMLParser):
    """Just enough of a page: every element with its attributes and all text inside it."""

    VOID: ClassVar = {"meta", "link", "br", "img", "path", "circle", "use", "hr", "input"}

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, list[str]())
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        if any(element[0] == tag for element in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element[2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        """The text of each element of that tag whose attributes hold the wanted ones."""
        return [
            re.sub(r"\s+", " ", "".join(text)).strip()
            for name, attrs, text in self.elements
            if name == tag and all(attrs.get(key.rstrip("_")) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def rich() -> str:
    return page.html(samples.sample())


@pytest.fixture(scope="module")
def first_screen(rich: str) -> str:
    return Tree(rich).texts("section", id="summary")[0]


# One file that loads nothing


def test_the_page_forbids_itself_to_load_anything(rich: str) -> None:
    policy = [
        a["content"] for tag, a, _ in Tree(rich).elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


@pytest.mark.parametrize("make", EVERY)
def test_no_element_of_the_page_refers_outside_it(make: Make) -> None:
    tree = Tree(page.html(make()))
    assert not {tag for tag, _, _ in tree.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "img",
        "base",
        "form",
    }
    targets = [
        value for _, a, _ in tree.elements for key, value in a.items() if key in {"src", "href", "xlink:href"}
    ]
    assert all(target.startswith("#") for target in targets)
    assert not any(key.startswith("on") for _, a, _ in tree.elements for key in a)


def test_the_style_and_the_drawings_name_no_address(rich: str) -> None:
    style_and_drawings = "".join(re.findall(r"<style>.*?</style>|<svg.*?</svg>", rich, re.DOTALL))
    assert not re.search(r"https?:|@import|url\((?!#)", style_and_drawings)


@pytest.mark.parametrize("make", EVERY)
def test_every_id_is_unique_and_every_inner_link_leads_somewhere(make: Make) -> None:
    tree = Tree(page.html(make()))
    ids = [a["id"] for _, a, _ in tree.elements if "id" in a]
    links = [a["href"][1:] for _, a, _ in tree.elements if a.get("href", "").startswith("#")]
    named = [a["aria-labelledby"] for _, a, _ in tree.elements if "aria-labelledby" in a]
    assert len(ids) == len(set(ids))
    assert set(links + named) <= set(ids)


def test_a_reason_that_holds_markup_is_shown_as_text(rich: str) -> None:
    assert "<script" not in rich
    assert samples.HOSTILE in html.unescape(rich)


def test_markup_in_any_text_of_the_result_stays_text() -> None:
    evil = "<script>x</script><b onclick=y>"
    base = samples.sample()
    tier = msgspec.structs.replace(base.tiers[0], name=evil, description=evil, reason=evil, reachable=evil)
    hostile = msgspec.structs.replace(
        base,
        name=evil,
        task=evil,
        metric=evil,
        command=evil,
        producer=evil,
        machine={evil: evil},
        notes=(evil,),
        profile={evil: evil},
        example={evil: evil},
        tiers=(tier, *base.tiers[1:]),
    )
    source = page.html(hostile)
    assert "<script" not in source
    assert "<b onclick" not in source


def test_markdown_from_a_reason_cannot_break_its_table_or_bring_markup() -> None:
    rows = [line for line in page.markdown(samples.sample()).splitlines() if "static-int8-entropy" in line]
    assert len(rows) == 1
    assert "&lt;script" in rows[0]
    assert "\\|" in rows[0]


# Nothing hidden


@pytest.mark.parametrize("make", EVERY)
def test_every_candidate_and_every_reason_is_there(make: Make) -> None:
    result = make()
    source, text = html.unescape(page.html(result)), page.markdown(result)
    for row in result.candidates:
        assert row.id in source
        assert row.id in text
        assert row.reason is None or row.reason in source


def test_the_table_runs_from_the_fastest_to_the_failed() -> None:
    result = samples.sample()
    latencies = [row.figures["p50"].value or 0.0 for row in view.ranked(result) if row.status == "ok"]
    assert latencies == sorted(latencies)
    assert [row.status for row in view.ranked(result)][-2:] == ["failed", "failed"]


@pytest.mark.parametrize("make", EVERY)
def test_every_number_in_a_cell_has_its_evidence_word_beside_it(make: Make) -> None:
    tree = Tree(page.html(make()))
    labels = (
        "Size",
        "p50",
        "p95",
        "Memory",
        "Load",
        "Quality",
        "Vs original",
        "The original",
        "Floor",
        "Gets",
    )
    cells = [text for label in labels for text in tree.texts("td", **{"data-label": label})]
    assert cells
    assert [text for text in cells if re.search(r"\d (MB|kB|ms|µs|%)", text) and not _words(text)] == []
    rows = [text for text in tree.texts("tr") if re.search(r"≤|≥", text)]
    assert [text for text in rows if not _words(text)] == []


def _words(text: str) -> set[str]:
    return WORDS & set(re.findall(r"\w+", text))


def test_a_figure_from_data_names_its_split(rich: str) -> None:
    qualities = Tree(rich).texts("td", **{"data-label": "Quality"})
    assert any("emulated · test" in text for text in qualities)
    assert all(re.search(r"(measured|emulated) · (search|test)", text) for text in qualities if text)


def test_a_figure_that_is_not_known_is_not_assessed_and_says_none(rich: str) -> None:
    goal = next(text for text in Tree(rich).texts("tr") if text.startswith("p95") and "30" in text)
    assert "not assessed none" in goal


def test_a_candidate_without_a_figure_says_so_in_its_cell() -> None:
    base = samples.sample()
    first = msgspec.structs.replace(base.candidates[3], figures={}, difference=None)
    source = page.html(
        msgspec.structs.replace(base, candidates=(*base.candidates[:3], first, *base.candidates[4:]))
    )
    row = next(text for text in Tree(source).texts("tr") if "openvino/fp16" in text)
    assert row.count("not assessed none") == 7


def test_the_first_screen_names_what_was_missed_not_shown_and_not_assessed(first_screen: str) -> None:
    assert "missed size ≤ 10 MB for Shop-floor gateways got 22.8 MB measured" in first_screen
    assert "not shown quality ≥ 99 % of the original for Shop-floor gateways" in first_screen
    assert "not assessed p95 ≤ 30 ms for Android phones, 2021 and later, including foldables" in first_screen
    assert "its evidence is none" in first_screen


def test_the_first_screen_says_what_is_reachable_instead(first_screen: str) -> None:
    assert "10 MB needs a smaller model, not a smaller file" in first_screen.replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_the_first_screen_says_who_is_served_and_what_they_gain(first_screen: str) -> None:
    assert (
        "3 of 3 tiers get a variant. On this machine (Office laptops) it answers in 3.1 ms instead of 5.6 ms "
        "(0.56×, measured), in 23.3 MB instead of 90.4 MB (0.26×, measured), at 79.9 % accuracy on 3,000 "
        "test samples (measured); the floor, 99 % of the original, is met."
    ) in first_screen


def test_coverage_weighs_each_verdict_by_its_users() -> None:
    shares = {part.verdict: part.share for part in view.coverage(samples.sample())}
    assert shares == pytest.approx({"met": 0.55, "not assessed": 0.30, "missed": 0.15})


def test_a_tier_that_gets_nothing_counts_as_missed_and_says_why(first_screen: str) -> None:
    screen = Tree(page.html(samples.none_chosen())).texts("section", id="summary")[0]
    assert "None of 3 tiers gets a variant. 2 of 16 candidates failed" in screen
    assert "missed 100" in screen
    assert "no candidate holds the quality floor on this tier's runtimes" in screen


def test_what_a_first_look_passed_over_is_a_row_with_its_reason_and_no_failure() -> None:
    result = samples.sample()
    rows = tuple(
        msgspec.structs.replace(row, status="passed over", reason="9.0e-01 from the original")
        if row.status == "failed"
        else row
        for row in result.candidates
    )
    changed = msgspec.structs.replace(result, candidates=rows)
    screen = Tree(page.html(changed)).texts("section", id="candidates")[0]
    assert screen.count("passed over, so every figure is not assessed") == 2
    assert "9.0e-01 from the original" in screen
    assert (
        "2 were passed over after a first look" in Tree(page.html(changed)).texts("section", id="compared")[0]
    )
    assert "passed over: 9.0e-01 from the original" in page.markdown(changed)
    assert "failed" not in words.outcome(changed)


def test_a_build_where_all_but_the_original_failed_still_reports() -> None:
    screen = Tree(page.html(samples.all_failed())).texts("section", id="summary")[0]
    assert "15 of 16 candidates failed" in screen
    assert words.outcome(samples.all_failed()) == "Finished, but nothing can be shipped as asked"


def test_a_build_that_met_everything_says_that_nothing_is_open() -> None:
    result = samples.everything_met()
    assert result.exit_code == 0
    assert words.outcome(result) == "Every goal is met"
    assert "Nothing: every goal of every tier was assessed and is met." in page.html(result)


def test_goals_nobody_could_assess_keep_the_outcome_from_saying_every_goal() -> None:
    base = samples.sample()
    result = msgspec.structs.replace(base, tiers=base.tiers[:2])
    assert result.exit_code == 0
    assert words.outcome(result) == "Every goal that could be assessed is met"


def test_a_build_without_goals_does_not_claim_that_they_are_met() -> None:
    result = msgspec.structs.replace(samples.sample(), tiers=(), claims=(), headline={})
    assert words.outcome(result) == "Finished; no goal was set"
    assert "No goal was set, so there is nothing to meet." in page.html(result)


def test_a_choice_that_is_the_original_itself_is_not_sold_as_a_gain() -> None:
    base = samples.sample()
    tier = msgspec.structs.replace(base.tiers[0], chosen=samples.ORIGINAL)
    _, gain = words.opening(msgspec.structs.replace(base, tiers=(tier,), headline={}))
    assert gain.startswith("The original itself is the choice: ")
    assert "it answers in 5.6 ms (measured), in 90.4 MB (measured)" in gain


@pytest.fixture
def kept() -> Callable[..., str]:
    """The sentences of a tier on this machine that keeps the original, beside the rows given."""

    def sentences(*rows: CandidateRow, machine: str | None = "this", **tier: Any) -> str:
        base = samples.sample()
        one = msgspec.structs.replace(base.tiers[0], chosen=samples.ORIGINAL, machine=machine, **tier)
        original = base.row(samples.ORIGINAL)
        return words.opening(
            msgspec.structs.replace(base, candidates=(original, *rows), tiers=(one,), headline={})
        )[1]

    return sentences


def _row(name: str, p50: float = 9.0, *, holds: bool = True) -> CandidateRow:
    row = samples.sample().row(name)
    figures = {**row.figures, "p50": samples.measured(p50, "ms", 0.1, "search")}
    return msgspec.structs.replace(row, figures=figures, holds_floor=holds)


def test_the_original_is_kept_where_smaller_candidates_hold_the_floor_but_are_slower(
    kept: Callable[..., str],
) -> None:
    said = kept(_row(samples.SMALL), _row(samples.FAST), _row(samples.DYNAMIC, holds=False), goals=())
    assert said.startswith(
        "The original itself is the choice: 2 smaller candidates hold the floor, but none is faster here. "
        f'The smallest is {samples.SMALL}, 22.9 MB (measured); prefer = "size" would take it. On this machine'
    )


def test_one_smaller_candidate_is_told_of_in_the_singular(kept: Callable[..., str]) -> None:
    assert "1 smaller candidate holds the floor, but it is not faster here. It is" in kept(
        _row(samples.SMALL)
    )


def test_none_is_called_slower_that_was_faster_or_was_not_timed_for_the_tier(
    kept: Callable[..., str],
) -> None:
    for said in (kept(_row(samples.SMALL, 2.0)), kept(_row(samples.SMALL), machine=None)):
        assert "faster here" not in said
        assert "holds the floor; the choice is recorded as the fastest of the 9 of 14" in said


@pytest.mark.parametrize(
    ("kind", "asked", "taken"),
    [
        ("size", "size ≤ 25 MB", True),
        ("latency_p95", "p95 ≤ 10 ms", True),
        ("size", "size ≤ 20 MB", False),
        ("latency_p95", "p95 ≤ 3 ms", False),
        ("latency_p95", "p95 ≤ soon", False),
        ("memory", "memory ≤ 1 GB", False),  # measured without an interval, so not shown
    ],
)
def test_only_a_candidate_that_meets_every_goal_is_what_size_would_take(
    kind: Any, asked: str, taken: bool, kept: Callable[..., str]
) -> None:
    goal = GoalResult(kind=kind, asked=asked, got=Figure.none("ms"), verdict="not assessed")
    said = kept(_row(samples.SMALL), goals=(goal,))
    assert f"It is {samples.SMALL}, 22.9 MB (measured)" in said
    assert ('prefer = "size" would take it' in said) is taken


def test_candidates_of_a_runtime_the_tier_lacks_do_not_count(kept: Callable[..., str]) -> None:
    said = kept(_row(samples.FAST), runtimes=("onnxruntime",))
    assert said.startswith("No other candidate was shown to hold the floor, so the original itself is the ")


def test_where_nothing_else_holds_the_floor_the_original_is_kept_for_that(kept: Callable[..., str]) -> None:
    said = kept(_row(samples.SMALL, holds=False))
    assert said.startswith("No other candidate was shown to hold the floor, so the original itself is the ")


def test_a_candidate_that_holds_the_floor_and_is_larger_is_not_called_smaller(
    kept: Callable[..., str],
) -> None:
    assert kept(_row("openvino/original")).startswith(
        "The original itself is the choice: the fastest of the 9 of 14"
    )


# For whom


def test_each_headline_figure_names_the_tier_it_holds_for_and_its_share(rich: str) -> None:
    captions = [
        text.replace("\N{NO-BREAK SPACE}", " ") for text in Tree(rich).texts("dd", **{"class": "whom"})
    ]
    assert captions == ["Office laptops, 55 % of users"] * 3


def test_a_build_for_one_tier_needs_no_such_caption() -> None:
    assert Tree(page.html(samples.everything_met())).texts("dd", **{"class": "whom"}) == []


def test_a_speed_holds_only_where_it_was_measured_while_a_file_is_as_small_everywhere() -> None:
    base = samples.sample()
    tiers = (base.tiers[0], *(msgspec.structs.replace(tier, chosen=samples.FAST) for tier in base.tiers[1:]))
    result = msgspec.structs.replace(base, tiers=tiers)
    assert scope.caption(result, "p50") == "Office laptops, 55 % of users"
    assert scope.caption(result, "size").endswith("including foldables; Shop-floor gateways: 100 % of users")
    assert [share.known for share in scope.others(result)] == ["the same variant; speed there is not known"]


def test_a_speed_measured_for_no_tier_says_so_in_its_caption() -> None:
    base = samples.sample()
    result = msgspec.structs.replace(base, tiers=base.tiers[2:])
    assert scope.caption(result, "p50") == "on this machine, not one of: Shop-floor gateways"


def test_many_tiers_are_counted_in_a_caption() -> None:
    base = samples.sample()
    tiers = tuple(msgspec.structs.replace(base.tiers[0], name=f"tier {i}", share=0.25) for i in range(4))
    result = msgspec.structs.replace(base, tiers=tiers)
    assert scope.caption(result, "size") == "tier 0 and 3 other tiers: 100 % of users"


def test_tiers_with_another_choice_read_on_the_first_screen_what_they_get(first_screen: str) -> None:
    known = (
        "0.25× the original's size (measured); speed there is not known; "
        "on this machine 0.66× the original's time (measured)"
    )
    assert f"Shop-floor gateways, 15 % of users: {samples.DYNAMIC} {known}" in first_screen
    assert f"Shop-floor gateways, 15 % of users: {samples.DYNAMIC}: {known}" in page.markdown(
        samples.sample()
    )


def test_a_tier_that_keeps_the_original_reads_that_it_does() -> None:
    base = samples.sample()
    keeps = msgspec.structs.replace(base.tiers[1], chosen=samples.ORIGINAL)
    share = scope.others(msgspec.structs.replace(base, tiers=(base.tiers[0], keeps)))[0]
    assert share.known == "the original itself; speed there is not known"


def test_a_time_nobody_took_is_not_given_to_a_tier() -> None:
    base = samples.sample()
    rows = tuple(
        msgspec.structs.replace(row, figures={"size": row.figures["size"]})
        if row.id == samples.SMALL
        else row
        for row in base.candidates
    )
    share = scope.others(msgspec.structs.replace(base, candidates=rows))[0]
    assert share.known == "0.25× the original's size (measured); speed there is not known"


# The floor


def test_the_margin_of_a_floor_is_in_points_beside_percentages_and_a_number_elsewhere() -> None:
    text = "99 % of original (or within 0.002)"
    assert fmt.floor(text, "cer") == "99 % of the original (or within 0.2 points)"
    assert fmt.floor("99 % of original (or within 0.01)", "cer").endswith("(or within 1 point)")
    assert fmt.floor(text, "perplexity") == "99 % of the original (or within 0.002)"


def test_the_margin_is_in_points_wherever_the_floor_is_named() -> None:
    base = samples.lower_is_better()
    floor = "99 % of original (or within 0.002)"
    goal = msgspec.structs.replace(base.tiers[0].goals[0], asked=f"quality ≥ {floor}", verdict="not shown")
    tier = msgspec.structs.replace(base.tiers[0], goals=(goal,))
    result = msgspec.structs.replace(base, floor=floor, tiers=(tier,))
    for text in (Tree(page.html(result)).texts("body")[0], page.markdown(result)):
        assert "within 0.002" not in text
        assert text.count("(or within 0.2 points)") >= 4


@pytest.mark.parametrize(
    ("low", "high", "holds", "word"),
    [
        (-0.03, -0.01, False, "does not hold"),
        (-0.03, 0.01, False, "not shown"),
        (-0.001, 0.02, True, "holds"),
        (None, None, False, "not shown"),
    ],
)
def test_only_an_interval_wholly_below_the_floor_says_that_it_does_not_hold(
    low: float | None, high: float | None, holds: bool, word: str
) -> None:
    base = samples.sample()
    margin = Figure(evidence=Evidence.MEASURED, unit="share", value=-0.01, low=low, high=high, split="search")
    row = base.row(samples.DYNAMIC)
    row = msgspec.structs.replace(row, figures={**row.figures, "margin": margin}, holds_floor=holds)
    result = msgspec.structs.replace(base, candidates=(base.candidates[0], row), tiers=(), claims=())
    fastest = Tree(page.html(result)).texts("td", **{"data-label": "Floor, on search"})[0]
    assert fastest.startswith(word)
    assert f"36 of 38 | {word} |" in page.markdown(result)
    assert tables.cells(row, "accuracy")[-1] == word


# Failures


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("ToolchainError: onnxruntime/x failed: ValueError: ambiguous", "ValueError: ambiguous"),
        ("onnxruntime/x failed: no such operator", "no such operator"),
        ("ToolchainError: nncf is not installed", "nncf is not installed"),
        ("onnxruntime/y failed: out of memory", "onnxruntime/y failed: out of memory"),
        ("MemoryError: ", "MemoryError: "),
        ("killed after 600 s", "killed after 600 s"),
        (None, "no reason was recorded"),
    ],
)
def test_a_failure_repeats_neither_the_name_of_its_row_nor_the_class_of_our_error(
    reason: str | None, shown: str
) -> None:
    assert fmt.cause(reason, "onnxruntime/x") == shown


def test_a_failure_reads_the_same_on_the_page_in_markdown_and_on_the_terminal() -> None:
    base = samples.sample()
    name = base.candidates[-1].id
    failed = msgspec.structs.replace(
        base.candidates[-1], reason=f"ToolchainError: {name} failed: Boom: twice"
    )
    result = msgspec.structs.replace(base, candidates=(*base.candidates[:-1], failed))
    assert "Boom: twice" in Tree(page.html(result)).texts("span", **{"class": "why"})
    assert "failed: Boom: twice;" in page.markdown(result)
    assert tables.cells(failed, "accuracy")[-1] == "failed: Boom: twice"


def test_a_gain_measured_on_another_kind_of_machine_says_so() -> None:
    base = samples.sample()
    _, gain = words.opening(msgspec.structs.replace(base, tiers=base.tiers[2:], headline={}))
    assert "not one of the tier “Shop-floor gateways”" in gain
    assert gain.endswith("99 % of the original, is not shown.")


def test_a_verdict_is_a_word_and_a_shape_and_never_a_colour_alone(rich: str) -> None:
    tree = Tree(rich)
    verdicts = [
        text
        for tag, a, t in tree.elements
        if a.get("class", "").startswith("verdict")
        for text in ["".join(t)]
    ]
    shapes = re.findall(
        r'class="verdict v-([a-z-]+)"><svg class="mark" aria-hidden="true"><use href="#mark-\1"', rich
    )
    assert set(verdicts) == {"met", "not shown", "missed", "not assessed"}
    assert len(shapes) == len(verdicts)


# The picture


def test_failed_candidates_are_counted_beside_the_chart_and_not_drawn(rich: str) -> None:
    caption = Tree(rich).texts("figcaption")[0]
    assert "14 of 16 candidates are drawn" in caption
    assert "2 failed and are not drawn" in caption
    assert rich.count('id="wide-point-') == 14


def test_a_candidate_that_failed_after_it_was_measured_is_not_drawn_either() -> None:
    base = samples.sample()
    late = msgspec.structs.replace(base.candidates[3], status="failed", reason="failed while it was timed")
    result = msgspec.structs.replace(base, candidates=(*base.candidates[:3], late, *base.candidates[4:]))
    assert page.html(result).count('id="wide-point-') == 13


def test_a_collapsed_candidate_is_named_below_the_chart_instead_of_squashing_it(rich: str) -> None:
    assert (
        "worse than the chart shows: onnxruntime/static-int8-minmax-per-channel"
        in Tree(rich).texts("figcaption")[0]
    )


def test_the_drawing_takes_every_colour_from_the_page(rich: str) -> None:
    drawing = "".join(re.findall(r'<svg class="plot.*?</svg>', rich, re.DOTALL))
    assert "var(--accent)" in drawing
    assert not re.search(r"#[0-9a-f]{6}\b", drawing)


def test_the_drawing_shows_the_floor_the_chosen_and_the_original(rich: str) -> None:
    labels = Tree(rich).texts("text")
    assert {"quality floor", "12 original", "2 openvino-ptq-mixed-transformer"} <= set(labels)


def test_where_lower_is_better_up_is_still_better() -> None:
    source = page.html(samples.lower_is_better())
    ticks = [
        (float(value.replace(" %", "")), float(y))
        for y, value in re.findall(
            r'y="([\d.]+)"[^>]*>(\d\d\.\d %)</text>', source[: source.index('class="plot narrow')]
        )
    ]
    assert len(ticks) > 3
    assert [y for _, y in sorted(ticks)] == sorted(y for _, y in ticks)
    assert "For CER lower is better" in source


def test_a_build_without_any_latency_has_no_drawing_and_says_why() -> None:
    base = samples.all_failed()
    bare = msgspec.structs.replace(base.row(samples.ORIGINAL), figures={})
    source = page.html(msgspec.structs.replace(base, candidates=(bare, *base.candidates[1:])))
    assert "there is nothing to draw" in source


def test_labels_keep_off_each_other_and_the_marks() -> None:
    labels = [Label(50, 50, 6, 30, 9), Label(54, 52, 6, 30, 9), Label(140, 50, 6, 30, 9)]
    boxes = place(labels, Box(0, 0, 200, 100))
    assert all(a.overlap(b) == 0 for a in boxes for b in boxes if a is not b)
    assert all(box.overlap(label.mark) == 0 for box in boxes for label in labels)


# The file beside it, and repeatability


@pytest.mark.parametrize("make", EVERY)
def test_the_json_reads_back_as_the_same_result(make: Make, tmp_path: Path) -> None:
    write(make(), tmp_path)
    assert read(tmp_path / "report.json") == make()


def test_the_same_result_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write(samples.sample(), here)
    code = (
        "import report_sample as s; from edgewise.report import write; from pathlib import Path; "
        f"write(s.sample(), Path({str(there)!r}))"
    )
    environment = {
        "PYTHONPATH": f"{Path(__file__).parent}:{Path(page.__file__).parents[2]}",
        "PYTHONHASHSEED": "7",
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    for name in ("report.html", "report.md", "report.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()


def test_the_recipe_of_every_shipped_variant_is_given_to_repeat_it(rich: str) -> None:
    assert Tree(rich).texts("summary") == [
        f"Recipe of {name}" for name in (samples.FAST, samples.SMALL, samples.DYNAMIC)
    ]
    assert '"preset": "mixed"' in html.unescape(rich)


def test_formatting_for_the_command_line_loads_neither_jinja_nor_matplotlib() -> None:
    code = (
        "import sys, edgewise.report.format; print([m for m in ('jinja2', 'matplotlib') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": str(Path(page.__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]"


def test_without_the_lab_extra_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "edgewise.report.page")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ToolchainError, match=r"jinja2 is not installed. Run: pip install 'edgewise\[lab\]'"):
        write(samples.sample(), tmp_path)


def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="taken"):
        write(samples.sample(), tmp_path / "taken")


@pytest.mark.parametrize("content", [b"{", b'{"name": 1}', b"\xff"])
def test_a_file_that_is_no_report_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(InputError, match=r"report\.json"):
        read(tmp_path / "report.json")


# For every reader


@pytest.mark.parametrize("make", EVERY)
def test_every_table_has_a_caption_and_every_heading_cell_a_scope(make: Make) -> None:
    tree = Tree(page.html(make()))
    tags = [tag for tag, _, _ in tree.elements]
    assert tags.count("table") == tags.count("caption")
    assert tags.count("h1") == 1
    assert all("scope" in attrs for tag, attrs, _ in tree.elements if tag == "th")


def test_text_has_enough_contrast_in_light_dark_and_print() -> None:
    style = (Path(page.__file__).parent / "report.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", scheme))
        for name in ("ink", "muted", "accent", "met", "missed", "not-shown", "not-assessed"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, (name, colours[name])


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# Figures in words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.size(22_100_000), "22.1 MB"),
        (fmt.size(999_960), "1.0 MB"),
        (fmt.size(512), "512 B"),
        (fmt.duration(3.14), "3.1 ms"),
        (fmt.duration(0.042), "42.0 µs"),
        (fmt.duration(124.4), "124 ms"),
        (fmt.duration(12_400), "12.4 s"),
        (fmt.ratio(0.556), "0.56×"),
        (fmt.times(0.556, "faster", "slower", "as fast"), "1.8× faster"),
        (fmt.times(1.41, "faster", "slower", "as fast"), "1.4× slower"),
        (fmt.times(1.06, "faster", "slower", "as fast"), "1.06× slower"),
        (fmt.times(0.98, "faster", "slower", "as fast"), "as fast"),
        (fmt.percent(0.799), "79.9 %"),
        (fmt.percent(0.99974), "99.97 %"),
        (fmt.percent(0.0003), "0.03 %"),
        (fmt.percent(1.0), "100.0 %"),
        (fmt.points(-0.009), "−0.9 points"),
        (fmt.share(0.55), "55 %"),
        (fmt.share(0.125), "12.5 %"),
        (fmt.number(0.0312), "0.0312"),
        (fmt.count(3000), "3,000"),
        (fmt.amount(22_713_986), "22.7 million"),
        (fmt.elapsed(1284.4), "21 min 24 s"),
        (fmt.quality(0.0613, "cer"), "6.1 %"),
        (fmt.quality(14.72, "perplexity"), "14.72"),
        (fmt.quality(0.93, "my_eval.py:score"), "0.93"),
        (fmt.metric_name("cer"), "CER"),
        (fmt.metric_name("eval/my_eval.py:score"), "score"),
        (fmt.floor("99 % of original"), "99 % of the original"),
    ],
)
def test_a_value_is_written_with_its_unit_and_sensible_digits(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("figure", "metric", "expected"),
    [
        (samples.measured(0.799, "share", 0.0145), "accuracy", "79.9 % (78.5–81.3)"),
        (samples.measured(3.12, "ms", 0.045), "", "3.12 ms (3.08–3.17)"),
        (samples.measured(23.3e6, "B"), "", "23.3 MB"),
        (samples.measured(0.556, "ratio", 0.016), "", "0.56× (0.54–0.57)"),
        (samples.measured(-0.2, "number", 0.3), "my.py:f", "−0.20 (−0.50 to 0.10)"),
    ],
)
def test_a_figure_is_written_with_its_interval_in_the_same_unit(
    figure: Figure, metric: str, expected: str
) -> None:
    assert fmt.figure(figure, metric) == expected


def test_a_margin_is_signed_and_in_points() -> None:
    margin = Figure(evidence=Evidence.MEASURED, unit="share", value=-0.009, low=-0.021, high=0.004)
    assert fmt.margin(margin, "accuracy") == "−0.9 points (−2.1 to +0.4)"


def test_a_figure_without_evidence_is_never_blank_or_zero() -> None:
    assert fmt.cited(Figure.none("ms")) == "not assessed, none"


def test_a_published_figure_is_cited_with_its_source() -> None:
    figure = Figure(evidence=Evidence.PUBLISHED, unit="ms", value=4.0, source="MLPerf Tiny 1.2")
    assert fmt.cited(figure) == "4.0 ms, published · MLPerf Tiny 1.2"


def test_a_ratio_whose_interval_holds_one_is_no_gain() -> None:
    ratio = Figure(evidence=Evidence.MEASURED, unit="ratio", value=0.93, low=0.85, high=1.02)
    assert words.change(ratio, "faster", "slower") == "about the same"


def test_no_ratio_is_made_of_a_predicted_figure() -> None:
    base = samples.sample()
    guess = Figure(evidence=Evidence.PREDICTED, unit="ms", value=3.0, low=2.0, high=4.0)
    row = msgspec.structs.replace(base.candidates[1], figures={"p50": guess})
    assert view.ratio_to_original(base, row, "p50").evidence is Evidence.NONE
