import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.lab.choose.choice import choose, figures_for, reachable
from edgewise.lab.choose.goals import AtMost, Goals, Policy, Prefer
from edgewise.lab.choose.pareto import front
from edgewise.lab.data.interval import Floor
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.result import CandidateRow, GoalKind

HERE = Tier(name="laptop", share=0.5, machine="this", runtimes=("onnxruntime", "openvino"))
ELSEWHERE = Tier(name="phone", share=0.5, platform="android-arm64")


def figure(value: float, spread: float | None = None, unit: str = "ms") -> Figure:
    low, high = (None, None) if spread is None else (value - spread, value + spread)
    return Figure(evidence=Evidence.MEASURED, unit=unit, value=value, low=low, high=high)


def row(
    name: str, *, p50: float = 10, spread: float | None = 1, size: float = 100, **other: Any
) -> CandidateRow:
    """A candidate; its digest is its name unless `artifact` says another."""
    margin, p95, memory = (other.pop(key, 0.0) for key in ("margin", "p95", "memory"))
    figures = {
        "quality": figure(0.9 + margin, unit="share"),
        "margin": figure(margin, unit="share"),
        "p50": figure(p50, spread),
        "p95": figure(p95 or 2 * p50, 0),
        "load": figure(5),
        "memory": figure(memory or 1000, unit="B"),
        "size": figure(size, unit="B"),
    }
    fixed = {"target": "onnxruntime", "precision": "fp32", "recipe": {}, "status": "ok", "artifact": name}
    return msgspec.convert(fixed | {"id": name, "figures": figures} | other, CandidateRow)


def goals(prefer: Prefer = "latency", **limits: AtMost) -> Goals:
    kinds: dict[GoalKind, AtMost] = {limit.figure: limit for limit in limits.values()}  # type: ignore[misc]
    return Goals(Floor(), kinds, {}, prefer)


def chosen(
    *rows: CandidateRow, below: tuple[str, ...] = (), tier: Tier = HERE, asked: Goals | None = None
) -> str | None:
    """The id that is chosen, the same for every order of the rows; `below` names those below the floor."""
    holds = {one.id: one.id not in below for one in rows}
    found = {choose(order, holds, tier, asked or goals()).candidate for order in itertools.permutations(rows)}
    (one,) = found
    return one


# Goals


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [(8, 9, 10, "met"), (9, 10, 11, "not shown"), (10, 11, 12, "not shown"), (11, 12, 13, "missed")],
)
def test_a_limit_of_ten_is_on_the_whole_interval(low: float, value: float, high: float, verdict: str) -> None:
    found = {"p95": Figure(evidence=Evidence.MEASURED, unit="ms", value=value, low=low, high=high)}
    assert AtMost("p95", 10).judge(found) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(10, "met"), (10.001, "missed")])
def test_an_exact_figure_is_never_not_shown(value: float, verdict: str) -> None:
    assert AtMost("size", 10, exact=True).judge({"size": figure(value, unit="B")}) == verdict


@pytest.mark.parametrize("value", [1, 100])
def test_one_reading_shows_nothing(value: float) -> None:
    assert AtMost("p95", 10).judge({"p95": figure(value)}) == "not shown"


@pytest.mark.parametrize("found", [{}, {"p95": Figure.none("ms")}])
def test_a_figure_that_is_not_known_is_not_assessed(found: dict[str, Figure]) -> None:
    assert AtMost("p95", 10).judge(found) == "not assessed"


MET, NOT_SHOWN, MISSED, UNKNOWN = (AtMost(name, 10) for name in ("met", "open", "missed", "unknown"))
FOUND = {"met": figure(9, 0), "open": figure(10, 1), "missed": figure(11, 0)}


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (MET & NOT_SHOWN, "not shown"),
        (NOT_SHOWN & MISSED, "missed"),
        (MET & UNKNOWN, "met"),
        (UNKNOWN & UNKNOWN, "not assessed"),
        (MISSED | MET, "met"),
        (MISSED | NOT_SHOWN, "not shown"),
        (UNKNOWN | MISSED, "missed"),
        (MET & (MISSED | MET) & MET, "met"),
    ],
)
def test_policies_compose(policy: Policy, verdict: str) -> None:
    assert policy.judge(FOUND) == verdict


# The Pareto front


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(1, 1, 1)], [True]),
        ([(1, 2), (2, 1), (2, 2)], [True, True, False]),
        ([(1, 1), (1, 1)], [True, True]),
        ([(1, 1), (1, 2)], [True, False]),
    ],
)
def test_the_front_is_of_points_that_none_beats(points: list[Any], expected: list[bool]) -> None:
    assert front(points) == expected


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
@settings(deadline=None)
def test_the_front_is_what_comparing_every_pair_finds(points: list[tuple[int, int, int]]) -> None:
    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    assert front(points) == [not any(beats(other, point) for other in points) for point in points]


# The choice


def test_the_fastest_is_chosen() -> None:
    assert chosen(row("a", p50=10), row("b", p50=5), row("c", p50=20)) == "b"


def test_the_smallest_is_chosen_where_size_is_preferred() -> None:
    assert chosen(row("a", p50=5), row("b", size=50), asked=goals("size")) == "b"


def test_of_those_as_fast_within_the_interval_the_smaller_file_is_chosen() -> None:
    assert chosen(row("a", p50=10), row("b", p50=11.5, size=60), row("c", p50=13, size=10)) == "b"


def test_equals_of_one_size_go_to_the_smaller_digest() -> None:
    assert chosen(row("a", artifact="f" * 64), row("b", artifact="0" * 64)) == "b"


def test_one_that_was_only_screened_does_not_tie_with_those_that_were_timed() -> None:
    assert chosen(row("a"), row("b", p50=9, spread=None, size=1)) == "a"


def test_without_intervals_the_estimate_decides() -> None:
    assert chosen(row("a", p50=10, spread=None), row("b", p50=10.1, spread=None, size=1)) == "a"


def test_a_wide_interval_is_no_merit() -> None:
    noisy, small = row("noisy", p50=30, spread=7, size=90), row("small", p50=25, spread=0.5, size=50)
    assert chosen(row("quick", p50=23, spread=0.5, size=91), noisy, small) == "quick"


def test_one_below_the_floor_is_not_chosen_however_fast() -> None:
    assert chosen(row("a", p50=1, size=1), row("b"), below=("a",)) == "b"


def test_goals_come_before_speed() -> None:
    limit = AtMost("size", 60, exact=True)
    assert chosen(row("a", p50=5), row("b", size=60), asked=goals(size=limit)) == "b"


def test_a_goal_not_shown_is_better_than_one_missed() -> None:
    limit = AtMost("p50", 9.5)
    assert chosen(row("a", p50=11, size=1), row("b", p50=10), asked=goals(p50=limit)) == "b"


def test_when_nothing_holds_the_floor_the_closest_is_named() -> None:
    rows = [row("a", margin=-0.3, p50=1), row("b", margin=-0.1), row("c", margin=-0.2)]
    choice = choose(rows, dict.fromkeys("abc", False), HERE, goals())
    assert (choice.candidate, choice.reason) == (
        "b",
        "nothing held the quality floor on the search split; this comes closest",
    )


def test_of_those_equally_close_the_smaller_file_is_named_then_the_smaller_digest() -> None:
    rows = [row("a", size=90), row("c", size=80), row("b", size=80)]
    assert chosen(*rows, below=("a", "b", "c")) == "b"


def test_a_candidate_that_failed_is_not_chosen() -> None:
    failed = msgspec.structs.replace(row("a", p50=1), status="failed", reason="crashed")
    assert chosen(failed, row("b")) == "b"


def test_a_tier_gets_only_what_its_runtimes_run() -> None:
    assert chosen(row("a", target="openvino", size=1), row("b"), tier=ELSEWHERE) == "b"


def test_a_tier_that_nothing_runs_on_gets_nothing_and_says_so() -> None:
    choice = choose([row("a", target="openvino")], {"a": True}, ELSEWHERE, goals())
    assert (choice.candidate, choice.reason) == (None, "no candidate runs on onnxruntime")


def test_a_tier_elsewhere_is_chosen_for_by_size_and_not_by_this_machines_speed() -> None:
    assert chosen(row("a", p50=1, spread=0), row("b", p50=99, size=50), tier=ELSEWHERE) == "b"


def test_a_latency_goal_does_not_decide_for_a_tier_elsewhere() -> None:
    limit = AtMost("p95", 10)
    assert chosen(row("a", p95=5), row("b", p95=50, size=50), tier=ELSEWHERE, asked=goals(p95=limit)) == "b"


def test_speed_and_memory_are_not_known_elsewhere_and_size_and_quality_are() -> None:
    figures = figures_for(row("a"), ELSEWHERE)
    assert {name for name, one in figures.items() if one.evidence == "none"} == {
        "p50",
        "p95",
        "load",
        "memory",
    }
    assert figures["p95"].on == "android-arm64"


def test_here_every_figure_stands() -> None:
    assert figures_for(row("a"), HERE) == row("a").figures


@pytest.mark.parametrize(
    ("rows", "asked", "reason"),
    [
        (
            [row("a"), row("b", size=900, p50=9.5)],
            goals(),
            "fastest of the 2 of 2 candidates that hold the quality floor and meet every goal; "
            "as fast as b within the interval, in a smaller file",
        ),
        (
            [row("a"), row("b", size=900)],
            goals("size", size=AtMost("size", 50)),
            "smallest of the 2 of 2 candidates that hold the quality floor and come closest to the goals",
        ),
    ],
)
def test_the_reason_is_given(rows: list[CandidateRow], asked: Goals, reason: str) -> None:
    assert choose(rows, dict.fromkeys("ab", True), HERE, asked).reason == reason


few = st.integers(1, 3).map(float)
candidates: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        p50=few,
        spread=st.none() | few,
        size=few,
        margin=few,
        artifact=st.sampled_from("xyz"),
        target=st.sampled_from(HERE.runtimes),
        held=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(candidates, st.randoms(use_true_random=False), st.sampled_from([HERE, ELSEWHERE]))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(found: list[dict[str, Any]], random: Any, tier: Tier) -> None:
    holds = {str(index): one.pop("held") for index, one in enumerate(found)}
    rows = [row(str(index), **one) for index, one in enumerate(found)]
    shuffled = random.sample(rows, len(rows))
    asked = goals(p95=AtMost("p95", 3.5))
    assert choose(rows, holds, tier, asked) == choose(shuffled, holds, tier, asked)
    if any(one.target in tier.runtimes for one in rows):
        missed = ("quality", "latency_p95", "size", "memory")
        assert reachable(rows, holds, tier, missed) == reachable(shuffled, holds, tier, missed)


# What is reachable


@pytest.mark.parametrize(
    ("missed", "sentence"),
    [
        ("quality", "the best quality on search is 92.00 %, by c"),
        ("latency_p95", "p95 20 ms is reachable while the floor holds, by a"),
        ("size", "size 5 MB is reachable while the floor holds, by b"),
        ("memory", "memory 2 MB is reachable while the floor holds, by b"),
    ],
)
def test_what_can_be_had_of_a_missed_goal_is_said(missed: str, sentence: str) -> None:
    rows = [
        row("a", p50=10, size=9e6, memory=3e6),
        row("b", p50=11, size=5e6, memory=2e6),
        row("c", p50=1, size=1e6, memory=1e6, margin=0.02),
    ]
    assert reachable(rows, {"a": True, "b": True, "c": False}, HERE, [missed]) == sentence


def test_several_missed_goals_are_answered_in_turn() -> None:
    said = reachable([row("a", size=2e6)], {"a": True}, HERE, ["size", "latency_p95"])
    assert (
        said
        == "size 2 MB is reachable while the floor holds, by a; p95 20 ms is reachable while the floor holds, by a"
    )


def test_where_nothing_holds_the_floor_all_that_run_are_asked() -> None:
    rows = [row("a", size=3e6), row("b", size=2e6), row("c", size=1e6, target="other")]
    assert (
        reachable(rows, dict.fromkeys("abc", False), HERE, ["size"])
        == "size 2 MB is reachable while the floor holds, by b"
    )
