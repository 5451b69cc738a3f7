import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.rounds import median_figure, order_interval
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import memory, store
from edgewise.lab.measure.rounds import interleave
from edgewise.lab.measure.worker import Measured

# Rounds


def measured(*times: float) -> Measured:
    return Measured(times, load=1.0, memory=0, runtime="1")


def run(
    names: Sequence[str], rounds: int, fails: Callable[[int], bool] = lambda _: False, **hooks: Any
) -> tuple[str, Any]:
    """Return the turns that contestants had, and their results; `fails` says which turns do."""
    turns: list[str] = []

    def measure(name: str) -> Measured | None:
        turns.append(name)
        return None if fails(len(turns)) else measured(len(turns))

    results = interleave(names, rounds, measure, **hooks)
    return "".join(turns), {name: [one.times[0] for one in rows] for name, rows in results.items()}


def test_each_round_measures_everyone_once_and_begins_with_another() -> None:
    assert run("abc", 4)[0] == "abcbcacababc"


def test_nobody_is_always_measured_after_the_same_one() -> None:
    turns = run("abcd", 8)[0]
    before_a = {first for first, second in pairwise(turns) if second == "a"}
    assert len(before_a) > 1


def test_results_are_in_the_order_of_the_rounds() -> None:
    assert run("ab", 3)[1] == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_one_that_is_beaten_runs_no_more_and_keeps_what_it_had() -> None:
    turns, results = run("abc", 3, beaten=lambda found: ["b"] if len(found["b"]) == 2 else [])
    assert (turns, results["b"]) == ("abcbcaac", [2.0, 4.0])


def test_those_who_are_beaten_are_judged_on_whole_rounds() -> None:
    seen: list[list[int]] = []
    run("abc", 2, beaten=lambda found: seen.append([len(rows) for rows in found.values()]) or [])  # type: ignore[func-returns-value]
    assert seen == [[1, 1, 1], [2, 2, 2]]


def test_each_round_is_announced_with_how_many_take_part() -> None:
    begun: list[tuple[int, int]] = []
    run("abc", 3, fails=lambda turn: turn == 2, begin=lambda number, count: begun.append((number, count)))
    assert begun == [(1, 3), (2, 2), (3, 2)]


def test_one_that_fails_drops_out_with_what_it_had() -> None:
    turns, results = run("abc", 3, fails=lambda turn: turn == 4)
    assert (turns, list(results)) == ("abcbcaac", ["a", "c"])


@pytest.mark.parametrize(("names", "rounds"), [("", 3), ("ab", 0)])
def test_nothing_to_measure_is_no_error(names: str, rounds: int) -> None:
    assert run(names, rounds) == ("", {name: [] for name in names})


def test_all_that_fail_leave_nothing() -> None:
    assert run("ab", 3, fails=lambda _: True) == ("ab", {})


@pytest.mark.parametrize(
    ("count", "pair"),
    [
        pytest.param(2, (1, 2), id="the extremes"),
        pytest.param(5, (1, 5), id="the extremes, which cover 94 % only"),
        pytest.param(6, (1, 6), id="the fewest that cover 95 %"),
        pytest.param(8, (1, 8), id="one further in would cover 93 %"),
        pytest.param(9, (2, 8), id="one further in covers 96 %"),
        pytest.param(20, (6, 15), id="as in the tables"),
        pytest.param(100, (40, 61), id="as in the tables, of a hundred"),
    ],
)
def test_the_interval_of_a_median_is_a_pair_of_the_values(count: int, pair: tuple[int, int]) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, count + 1))
    assert order_interval(values.tolist()) == pair


@pytest.mark.parametrize("count", [6, 9, 15])
def test_the_interval_covers_the_median_of_a_skewed_law_at_least_95_times_in_100(count: int) -> None:
    draws = np.random.default_rng(0).lognormal(size=(2000, count))
    covered = [low <= 1.0 <= high for low, high in (order_interval(row) for row in draws)]
    assert np.mean(covered) > 0.94


def test_a_figure_over_rounds_is_their_median_with_its_interval() -> None:
    figure = median_figure([3.0, 1.0, 2.0, 9.0, 4.0, 5.0], "ms", "here, 1 thread")
    assert (figure.value, figure.low, figure.high, figure.evidence, figure.on, figure.split) == (
        3.5,
        1.0,
        9.0,
        Evidence.MEASURED,
        "here, 1 thread",
        "search",
    )


@pytest.mark.parametrize("values", [[3.0], [3.0, 1.0, 5.0, 2.0, 4.0]])
def test_fewer_than_six_rounds_have_no_interval(values: list[float]) -> None:
    figure = median_figure(values, "ms", "here")
    assert (figure.value, figure.low, figure.high) == (3.0, None, None)


def test_a_quantile_is_over_the_samples() -> None:
    one = measured(*range(101))
    assert (one.quantile(0.5), one.quantile(0.95)) == (50, 95)


# Memory

HOLD = """\
from edgewise.lab.measure import memory
early = bytearray(b"x") * {early}
del early
base = memory.reset_peak()
held = bytearray(b"x") * {held}
del held
print(memory.peak() - base)
"""
MB = 1_000_000


@pytest.mark.skipif(not memory._CLEAR.exists(), reason="only Linux forgets a peak")
def test_the_peak_counts_what_was_held_since_the_reset_and_nothing_from_before() -> None:
    code = HOLD.format(early=200 * MB, held=60 * MB)
    found = int(subprocess.check_output([sys.executable, "-c", code]))
    assert 58 * MB < found < 75 * MB


def test_where_a_peak_cannot_be_reset_the_peak_so_far_is_the_base(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert memory.reset_peak() == pytest.approx(memory.peak(), rel=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="compares with ru_maxrss in KiB")
def test_without_proc_the_peak_is_that_of_getrusage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import resource

    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert memory.peak() == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, rel=0.1)


def test_the_resident_bytes_are_those_that_psutil_sees() -> None:
    import psutil

    assert memory.reset_peak() == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.1)


# The store


def stored(folder: Path, *samples: Sample) -> store.Store:
    store.write(folder / "samples.npz", samples)
    return store.Store(folder / "samples.npz")


def test_inputs_of_any_shape_type_and_name_are_read_back(tmp_path: Path) -> None:
    inputs: dict[str, NDArray[Any]] = {
        "ids": np.arange(3)[np.newaxis],
        "a/b:0": np.ones((2, 0), np.float32),
        "text": np.array([["wörd"]]),
        "file": np.array(True),
    }
    with stored(tmp_path, Sample({"ids": np.zeros((1, 7))}), Sample(inputs)) as file:
        found = file.inputs(1)
    assert {n: (a.dtype, a.shape, a.tolist()) for n, a in found.items()} == {
        n: (a.dtype, a.shape, a.tolist()) for n, a in inputs.items()
    }


@pytest.mark.parametrize("label", [None, 0, 3, -1.5, True, "", "two words"])
def test_a_label_is_read_back_as_it_was(tmp_path: Path, label: Any) -> None:
    with stored(tmp_path, Sample({"x": np.ones(1)}, label=label)) as file:
        assert (file.label(0), type(file.label(0))) == (label, type(label))


def test_a_label_of_many_is_read_back_as_an_array(tmp_path: Path) -> None:
    with stored(tmp_path, Sample({"x": np.ones(1)}, label=np.array([[1, 2]]))) as file:
        assert file.label(0).tolist() == [[1, 2]]


def test_samples_keep_their_order_and_number(tmp_path: Path) -> None:
    samples = [Sample({"x": np.array([n])}, label=n) for n in range(12)]
    with stored(tmp_path, *samples) as file:
        found = [(file.inputs(n)["x"].item(), file.label(n)) for n in range(len(file))]
    assert found == [(n, n) for n in range(12)]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.write(tmp_path / name, [Sample({"x": np.ones(3)}, label="a")])
    first, second = ((tmp_path / f"{name}.npz").read_bytes() for name in ("a", "b"))
    assert first == second
