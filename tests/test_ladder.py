"""The search asks the real metric of what may win, and says of the rest why not."""

from __future__ import annotations

import pytest

from edgewise.lab.choose.goals import AtMost
from edgewise.lab.fleet.tiers import Tier
from edgewise.lab.search import ladder
from edgewise.lab.search.screen import Screen
from edgewise.lab.train.students import Pruned
from edgewise.lab.trial import Trial
from search_world import Thing, World

DYNAMIC, STATIC, NNCF = (
    "onnxruntime/dynamic-int8",
    "onnxruntime/static-int8-minmax",
    "onnxruntime/nncf-ptq-performance",
)


def by_id(trials: list[Trial]) -> dict[str, Trial]:
    return {trial.id: trial for trial in trials}


def test_the_fastest_is_judged_first() -> None:
    world = World({DYNAMIC: Thing(ms=20), STATIC: Thing(ms=10), NNCF: Thing(ms=30)})
    world.search()
    assert world.judged[0] == STATIC


def test_where_size_decides_the_smallest_is_judged_first() -> None:
    world = World({DYNAMIC: Thing(size=900, ms=20), STATIC: Thing(size=800, ms=90)}, prefer="size")
    world.search()
    assert world.judged[0] == STATIC


def test_what_is_slower_than_one_that_holds_is_judged_only_to_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ladder, "SHOWN", 0)
    world = World({DYNAMIC: Thing(ms=20), STATIC: Thing(ms=10)})
    found = by_id(world.search())
    assert world.judged == [STATIC]
    assert found[DYNAMIC].passed_over
    assert found[DYNAMIC].reason == "2× the time of the fastest that holds the floor, at a first look"


def test_one_as_fast_within_the_noise_of_a_reading_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "SHOWN", 0)
    world = World({DYNAMIC: Thing(ms=11), STATIC: Thing(ms=10)})
    world.search()
    assert set(world.judged) == {STATIC, DYNAMIC}


def test_a_faster_file_that_falls_short_is_varied() -> None:
    world = World({STATIC: Thing(ms=10, right=700), DYNAMIC: Thing(ms=50)})
    world.search()
    varied = [name for name in world.built if name.startswith("onnxruntime/static-int8") and name != STATIC]
    assert varied


def test_a_slower_file_that_falls_short_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "SHOWN", 0)
    world = World({STATIC: Thing(ms=90, right=700), DYNAMIC: Thing(ms=10)})
    world.search()
    assert world.judged == [DYNAMIC]


def test_layers_are_protected_where_the_fastest_tool_falls_short_in_every_setting() -> None:
    names = {f"{prefix}": Thing(ms=10, right=700) for prefix in (STATIC, f"{STATIC}-per-channel")}
    world = World(names, default=Thing(size=4000, ms=100.0, right=900))
    found = world.search()
    protected = [trial for trial in found if "protected" in trial.id]
    assert protected


def test_without_holding_any_layer_nothing_is_protected() -> None:
    found = World({STATIC: Thing(ms=10)}).search()
    assert not [trial for trial in found if "protected" in trial.id]


def test_answers_that_are_something_else_are_not_judged() -> None:
    world = World({STATIC: Thing(ms=10, rms=1.4, agreement=0.1), DYNAMIC: Thing(ms=20)})
    found = by_id(world.search())
    assert STATIC not in world.judged
    assert found[STATIC].reason == (
        "answers something else: 10% of decisions on calibration samples are the original's"
    )


def test_the_metric_is_asked_a_bounded_number_of_times() -> None:
    world = World({}, default=Thing(ms=10, right=500), targets=("onnxruntime", "openvino", "litert"))
    world.search(Screen(spread=100.0))
    assert len(world.judged) <= ladder.EVALUATIONS


def test_what_cannot_be_built_is_a_row_with_its_reason() -> None:
    found = by_id(World({STATIC: Thing(fails=True), DYNAMIC: Thing(ms=10)}).search())
    assert (found[STATIC].built, found[STATIC].reason) == (None, "it cannot be built")


def test_what_fails_when_it_is_judged_is_asked_once_and_the_next_is_taken() -> None:
    world = World({STATIC: Thing(ms=10, silent=True), DYNAMIC: Thing(ms=20)})
    found = by_id(world.search())
    assert world.judged.count(STATIC) == 1
    assert found[STATIC].reason == "it answers with NaN"
    assert found[DYNAMIC].holds["here"]


def test_goals_come_before_speed() -> None:
    world = World(
        {STATIC: Thing(ms=10, size=2000), DYNAMIC: Thing(ms=50, size=500)},
        limits={"size": AtMost("size", 1000, exact=True)},
    )
    world.search()
    assert world.judged[0] == DYNAMIC


def test_each_tier_has_the_most_promising_of_its_own_runtimes_judged() -> None:
    tiers = (
        Tier(name="laptop", share=0.5, machine="this", runtimes=("onnxruntime",)),
        Tier(name="phone", share=0.5, runtimes=("openvino",)),
    )
    small = "openvino/openvino-ptq-performance"
    world = World(
        {STATIC: Thing(ms=10), small: Thing(size=10)}, tiers=tiers, targets=("onnxruntime", "openvino")
    )
    world.search()
    assert set(world.judged[:2]) == {STATIC, small}


def test_every_file_that_was_not_judged_says_why() -> None:
    found = World({STATIC: Thing(ms=10)}, targets=("onnxruntime", "openvino")).search()
    assert all(trial.judged or trial.reason for trial in found)


HALF, MORE = Pruned(share=0.5), Pruned(share=0.7)


def test_a_students_files_join_the_ladder_and_the_fastest_that_holds_is_best() -> None:
    things = {
        STATIC: Thing(ms=50),
        f"{STATIC}~pruned-50": Thing(ms=20),
        f"{STATIC}~pruned-70": Thing(ms=10, right=600),
    }
    found = World(things, students=(HALF, MORE)).search(teaching=True)
    held = [trial for trial in found if trial.holds.get("here")]
    assert min(held, key=lambda trial: trial.glance.quantile(0.5) if trial.glance else 1e9).id == (
        f"{STATIC}~pruned-50"
    )


def test_a_student_is_quantized_by_what_suited_the_original() -> None:
    things = {STATIC: Thing(ms=10), DYNAMIC: Thing(ms=11), NNCF: Thing(ms=12)}
    world = World(things, students=(HALF,), default=Thing(size=4000, ms=500.0))
    world.search(teaching=True)
    of_it = [name for name in world.built if name.endswith("~pruned-50")]
    assert {f"{name}~pruned-50" for name in (STATIC, DYNAMIC, NNCF)} <= set(of_it)
    assert len(of_it) <= 4


def test_a_student_that_cannot_be_trained_is_a_row_with_its_reason() -> None:
    world = World({"pruned-50": Thing(fails=True), STATIC: Thing(ms=10)}, students=(HALF, MORE))
    found = by_id(world.search(teaching=True))
    assert found["onnxruntime/original~pruned-50"].reason == "it diverged"
    assert world.trained == ["pruned-50", "pruned-70"]


def test_training_for_rounding_is_left_out_where_nothing_falls_short() -> None:
    world = World({STATIC: Thing(ms=10)})
    world.search(teaching=True)
    assert "aware-8" not in world.trained


def test_training_for_rounding_comes_last_where_a_fast_file_falls_short() -> None:
    world = World(
        {name: Thing(ms=10, right=700) for name in (STATIC, f"{STATIC}~aware-8")},
        default=Thing(size=4000, ms=100.0, right=900),
    )
    world.search(teaching=True)
    assert world.trained[-1] == "aware-8"


def test_without_samples_to_train_with_nothing_is_trained() -> None:
    world = World({STATIC: Thing(ms=10)}, students=(HALF,))
    world.plan.training = None
    world.search(teaching=True)
    assert world.trained == []
