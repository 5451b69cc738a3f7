"""The benchmark of compression: who counts as compressed, who is the rival, what the aims say, over recorded results."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.compress import aims, document, lessons, own, results, taught
from benchmarks.compress.peers import PEERS, listed
from benchmarks.compress.results import Comparison, Entrant, Search
from benchmarks.compress.taught import Taught
from benchmarks.compress.tools import TOOLS
from benchmarks.compress.verdicts import geometric, judge
from benchmarks.table import Row
from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.manifest import Verdict
from edgewise.errors import InputError
from edgewise.lab.result import BuildResult, CandidateRow
from edgewise.lab.train.report import Cost

ROUNDS = 7


def quality(value: float) -> Figure:
    return Figure(evidence=Evidence.MEASURED, unit="share", value=value, low=value, high=value, split="test")


def entrant(name: str, by: Any = "peer", *, size: int = 100, ms: float = 10.0, **known: Any) -> Entrant:
    """Return one that meets the floor, answers right in nine of ten, and took equally long in every round."""
    told: dict[str, Any] = {
        "target": "onnxruntime",
        "test": quality(0.9),
        "margin": quality(0.005),
        "verdict": "met",
        "ms": (ms,) * ROUNDS,
        "made": 1.0,
        "judged": 1.0,
    }
    return Entrant(name=name, by=by, size=size, **(told | known))


ORIGINAL = entrant("original", "original", size=100, ms=10.0)
CHOICE = entrant("edgewise", "edgewise", size=30, ms=4.0, of="openvino/openvino-ptq")
SMALLEST = entrant("edgewise-size", "edgewise", size=24, ms=8.0)


def comparison(*others: Entrant, model: str = "fashion", **known: Any) -> Comparison:
    told: dict[str, Any] = {"search": Search(tried=30, evaluations=20, seconds=6.0)}
    return Comparison(
        model=model,
        metric="accuracy",
        floor="99 % of original",
        machine={},
        threads=2,
        splits={"search": 1000, "test": 5000},
        timed=100,
        load=(0.5, 0.5),
        disturbed=0,
        entrants=(ORIGINAL, *others),
        **(told | known),
    )


def with_choices(*others: Entrant, **known: Any) -> Comparison:
    return comparison(CHOICE, SMALLEST, *others, **known)


def aim(title: str, *compared: Comparison) -> Row:
    return next(row for row in aims.rows([judge(one) for one in compared]) if row.figure.startswith(title))


@pytest.mark.parametrize(
    ("size", "ms", "compressed"),
    [(35, 20.0, True), (36, 8.0, True), (36, 8.1, False), (100, 10.0, False)],
)
def test_compressed_is_a_third_of_the_size_or_four_fifths_of_the_time(
    size: int, ms: float, *, compressed: bool
) -> None:
    judged = judge(with_choices(entrant("ort-dynamic", size=size, ms=ms)))
    assert judged.standing("ort-dynamic").compressed is compressed


def test_latency_is_held_against_float32_in_its_best_runtime() -> None:
    quicker = entrant("original-openvino", "original", ms=5.0)
    judged = judge(with_choices(quicker, entrant("ort-static", size=50, ms=5.0)))
    assert judged.fp32 == quicker
    assert not judged.standing("ort-static").compressed


def test_the_rival_is_the_fastest_peer_for_latency_and_the_smallest_for_size() -> None:
    fast, small = entrant("nncf-openvino", size=34, ms=5.0), entrant("ort-dynamic", size=32, ms=9.0)
    judged = judge(with_choices(fast, small))
    assert judged.rivals == {"latency": fast, "size": small}
    assert judged.latency is not None
    assert judged.latency.value == pytest.approx(4.0 / 5.0)
    assert judged.size == pytest.approx(24 / 32)


@pytest.mark.parametrize("verdict", ["missed", "not shown", "not assessed"])
def test_a_peer_that_is_not_shown_to_meet_the_floor_is_no_rival(verdict: str) -> None:
    judged = judge(with_choices(entrant("ort-static", size=20, ms=1.0, verdict=verdict)))
    assert judged.peers == ()
    assert judged.rivals == {"latency": ORIGINAL, "size": ORIGINAL}


def test_a_peer_that_failed_is_a_row_with_its_reason() -> None:
    failed = Entrant(name="olive", by="peer", target="onnxruntime", reason="it made no file")
    judged = judge(with_choices(failed))
    assert judged.rivals["latency"] == ORIGINAL
    assert any("it made no file" in line for line in document.detail(judged).lines[-1])


def test_a_choice_below_the_floor_has_no_ratio_and_fails_the_aims() -> None:
    below = msgspec.structs.replace(CHOICE, verdict="not shown")
    compared = comparison(below, SMALLEST, entrant("ort-dynamic", size=30, ms=9.0))
    assert judge(compared).latency is None
    other = with_choices(entrant("ort-dynamic", size=30, ms=9.0), model="magika")
    row = aim("latency of the choice", compared, other)
    assert row.reached == "no"
    assert "fashion" in row.how


def test_a_model_counts_when_either_choice_is_compressed_and_meets_the_floor() -> None:
    large = msgspec.structs.replace(CHOICE, size=90, ms=(9.0,) * ROUNDS)
    assert judge(comparison(large, SMALLEST)).holds
    assert not judge(comparison(large, msgspec.structs.replace(SMALLEST, verdict="missed"))).holds


def test_all_nine_models_are_asked_for_so_two_show_nothing_yet() -> None:
    row = aim("models with", with_choices(), with_choices(model="magika"))
    assert (row.shown, row.reached) == ("2", "not measured")


def test_ratios_over_models_are_averaged_geometrically_and_the_worst_is_named() -> None:
    quick = with_choices(entrant("ort-static", size=30, ms=8.0))  # 0.5
    level = with_choices(entrant("ort-static", size=30, ms=4.0), model="magika")  # 1.0
    mean = aim("latency of the choice", quick, level)
    assert mean.measured.value == pytest.approx(geometric([0.5, 1.0]))
    assert mean.reached == "yes"
    assert aim("the same, on the worst model", quick, level).how == "magika"


def test_the_twin_is_judged_on_files_of_int8_size() -> None:
    small = msgspec.structs.replace(CHOICE, size=50, test=quality(0.8964))
    large = msgspec.structs.replace(SMALLEST, size=51, test=quality(0.9))
    row = aim("the imbalanced twin", comparison(small, large, model="imbalanced"))
    assert (row.shown, row.reached) == ("99.60%", "yes")


def test_the_search_is_held_against_the_sum_of_the_peers_runs() -> None:
    compared = with_choices(entrant("ort-static"), entrant("ort-dynamic"))  # 4 s together
    assert aim("wall time", compared).measured.value == pytest.approx(6.0 / 4.0)
    assert aim("evaluations", compared).measured.value == 20


def test_evaluations_are_the_candidates_that_answered_without_the_original() -> None:
    def row(name: str, status: Any) -> CandidateRow:
        return CandidateRow(id=name, target="onnxruntime", precision="int8", recipe={}, status=status)

    rows = [row("original", "ok"), row("a", "ok"), row("b", "passed over"), row("c", "failed")]
    told: dict[str, Any] = dict.fromkeys(("name", "task", "producer", "metric", "floor", "command"), "")
    result = BuildResult(
        **told,
        higher_is_better=True,
        machine={},
        threads=1,
        seconds=1.0,
        splits={},
        rounds=1,
        original="original",
        candidates=tuple(rows),
        tiers=(),
        claims=(),
        headline={},
    )
    built = own.Built(Path("edgewise.toml"), 9.0, result)
    assert own.cost(built) == Search(tried=3, evaluations=1, seconds=9.0)


PROJECT = """\
[model]
path = "model.onnx"
[goal]
quality = "98% of original"
margin = 0.002
size = "6 MB"
[fleet]
file = "fleet.toml"
[[pre]]
op = "image"
mean = [0.5]
"""


def test_a_build_is_asked_for_the_floor_and_a_preference_only() -> None:
    asked = tomllib.loads(own.asking(PROJECT, own.Wish("size"), threads=2))
    assert asked["goal"] == {"quality": "99% of original", "prefer": "size", "margin": 0.002}
    assert asked["measure"] == {"threads": 2, "rounds": 1}
    assert "fleet" not in asked
    assert asked["pre"] == [{"op": "image", "mean": [0.5]}]


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    compared = with_choices(entrant("ort-dynamic"))
    results.write(compared, tmp_path)
    assert list(results.read(tmp_path)) == [compared]


def test_a_file_that_is_no_comparison_is_named(tmp_path: Path) -> None:
    (tmp_path / "fashion.json").write_text("{}")
    with pytest.raises(InputError, match=r"fashion\.json is no comparison"):
        list(results.read(tmp_path))


def test_every_peer_has_a_call_and_attention_is_told_to_models_that_have_it() -> None:
    assert PEERS.keys() == TOOLS.keys()
    assert set(listed(transformer=True)) - set(listed(transformer=False)) == {
        "nncf-onnx-transformer",
        "nncf-openvino-transformer",
    }


def run(*, quick: float = 1.0, macs: int = 40, verdict: Verdict = "met") -> Taught:
    """Return a run with training: the original takes 4 ms, its int8 file 2 ms, the student `quick`."""

    def file(ms: float) -> taught.Judgement:
        figure = Figure(
            evidence=Evidence.MEASURED, unit="share", value=0.9, low=0.89, high=0.91, split="test"
        )
        return taught.Judgement(of="x", size=10, test=figure, margin=figure, verdict=verdict, ms=(ms,) * 9)

    return Taught(
        model="fashion",
        metric="accuracy",
        floor="98% of original",
        machine={},
        threads=1,
        splits={},
        timed=30,
        load=(0.0, 0.0),
        disturbed=0,
        before=Cost(100, 100),
        after=Cost(40, macs),
        trained=("pruned-50",),
        seconds=60.0,
        files={"original": file(4.0), taught.INT8: file(2.0), taught.STUDENT: file(quick)},
    )


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        (run(), ["yes", "yes", "yes"]),
        (run(quick=1.9), ["no", "yes", "yes"]),
        (run(macs=60), ["yes", "no", "yes"]),
        (run(verdict="not shown"), ["yes", "yes", "not shown"]),
    ],
)
def test_a_student_is_held_to_its_speed_its_size_and_its_floor(found: Taught, reached: list[str]) -> None:
    assert [row.reached for row in lessons.rows([found])] == reached


def test_a_run_with_training_is_read_again(tmp_path: Path) -> None:
    taught.write(run(), tmp_path)
    assert list(taught.read(tmp_path)) == [run()]


def test_a_build_with_training_names_its_samples() -> None:
    asked = tomllib.loads(own.asking(PROJECT, own.Wish("latency", "97% of original", trained=True)))
    assert asked["train"] == {"samples": "train.npz"}
    assert asked["goal"]["quality"] == "97% of original"
