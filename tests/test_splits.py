from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import InputError
from edgewise.lab.data.samples import Dataset, Sample
from edgewise.lab.data.splits import NAMES, Splits, split

DEFAULT: dict[str, int | None] = dict.fromkeys(NAMES)


def dataset(
    contents: Iterable[int],
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    splits: Sequence[str] | None = None,
) -> Dataset:
    """Samples with these contents; equal ones are duplicates. `raw` holds each one's place."""
    samples = tuple(
        Sample(
            {"x": np.array([[content]])},
            raw=index,
            label=labels[index] if labels else None,
            group=groups[index] if groups else None,
            split=splits[index] if splits else None,
        )
        for index, content in enumerate(contents)
    )
    return Dataset(samples, "samples.npz")


def places(made: Splits) -> dict[str, list[int]]:
    return {name: [sample.raw for sample in getattr(made, name)] for name in NAMES}


def homes(made: Splits) -> dict[int, str]:
    return {place: name for name, members in places(made).items() for place in members}


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(20, (2, 6, 12)), (1000, (100, 300, 600)), (4000, (300, 1000, 2700))],
)
def test_by_default_a_tenth_calibrates_and_three_tenths_search(
    count: int, sizes: tuple[int, int, int]
) -> None:
    assert tuple(split(dataset(range(count)), DEFAULT).sizes().values()) == sizes


def test_sizes_that_are_asked_for_are_given() -> None:
    made = split(dataset(range(100)), {"calibration": 7, "search": 11, "test": 13})
    assert made.sizes() == {"calibration": 7, "search": 11, "test": 13}


def test_test_takes_what_the_others_leave() -> None:
    assert split(dataset(range(100)), DEFAULT | {"search": 50}).sizes()["test"] == 40


def test_more_than_there_are_is_refused_with_the_sum() -> None:
    with pytest.raises(
        InputError, match=r"^samples\.npz has 30 samples, but 10 calibration \+ 9 search \+ 12 test need 31"
    ):
        split(dataset(range(30)), {"calibration": 10, "search": 9, "test": 12})


data = st.builds(
    lambda rows: ([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 30)), min_size=60, max_size=120),
)


@given(data, st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_no_sample_is_in_two_splits_and_no_duplicate_or_group_is_torn(
    rows: tuple[list[int], list[int], list[int]], seed: int
) -> None:
    contents, labels, groups = rows
    try:
        made = split(dataset(contents, labels, groups), DEFAULT, seed)
    except InputError as error:
        assert "it needs at least" in str(error)  # noqa: PT017 - one unit may hold nearly everything
        return
    home = homes(made)
    assert len(home) == sum(made.sizes().values())
    for key in (contents, groups):
        together: dict[int, set[str]] = {}
        for place, name in home.items():
            together.setdefault(key[place], set()).add(name)
        assert all(len(names) == 1 for names in together.values())


def test_groups_that_share_a_duplicate_stay_together() -> None:
    made = split(dataset([0, 1, 1, *range(2, 59)], groups=["a", "a", "b", "b", *range(56)]), DEFAULT)
    home = homes(made)
    assert len({home[place] for place in range(4)}) == 1


def test_duplicates_are_counted_in_a_note() -> None:
    made = split(dataset([*range(50), 0, 0, 1]), DEFAULT)
    assert made.notes == ("3 duplicate samples were kept together in one split",)


def test_samples_that_fit_nowhere_are_counted_in_a_note() -> None:
    made = split(dataset(range(100), groups=[0] * 65 + list(range(1, 36))), DEFAULT)
    assert made.notes == ("65 samples are in no split: their groups are larger than the room that was left",)


def test_samples_that_were_not_asked_for_need_no_note() -> None:
    assert split(dataset(range(100)), {"calibration": 5, "search": 10, "test": 20}).notes == ()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labels", [[0] * 900 + [1] * 100, ["rare"] * 50 + ["common"] * 950])
def test_every_split_has_its_share_of_every_class(labels: list[Any], seed: int) -> None:
    made = split(dataset(range(1000), labels), DEFAULT, seed)
    for name, size in made.sizes().items():
        found = Counter(sample.label for sample in getattr(made, name))
        wanted = {label: count * size / 1000 for label, count in Counter(labels).items()}
        assert {label: found[label] for label in wanted} == pytest.approx(wanted, abs=1)


@pytest.mark.parametrize(
    "labels",
    [[i / 7 for i in range(100)], [np.array([i, 0]) for i in range(100)], [str(i) for i in range(100)]],
)
def test_labels_that_are_no_classes_do_not_hinder(labels: list[Any]) -> None:
    assert split(dataset(range(100), labels), DEFAULT).sizes() == {
        "calibration": 10,
        "search": 30,
        "test": 60,
    }


def test_the_same_seed_gives_the_same_splits() -> None:
    first, second = (places(split(dataset(range(100)), DEFAULT, 3)) for _ in range(2))
    assert first == second


def test_another_seed_gives_other_splits() -> None:
    first, second = (places(split(dataset(range(100)), DEFAULT, seed)) for seed in (0, 1))
    assert first != second


def test_the_order_of_the_data_does_not_tell_the_split() -> None:
    test = places(split(dataset(range(1000)), DEFAULT))["test"]
    assert abs(np.mean(test) - 500) < 50


def test_one_group_that_is_everything_cannot_be_split() -> None:
    with pytest.raises(InputError, match=r"the calibration split got 0 samples.*smaller groups"):
        split(dataset(range(50), groups=["one"] * 50), DEFAULT)


DECLARED = ["fit"] * 10 + ["calibration"] * 5 + ["search"] * 10 + ["test"] * 15


def test_declared_splits_are_taken_at_their_word_and_fit_is_left_out() -> None:
    made = split(dataset(range(40), splits=DECLARED), DEFAULT)
    assert places(made) == {
        "calibration": list(range(10, 15)),
        "search": list(range(15, 25)),
        "test": list(range(25, 40)),
    }


@pytest.mark.parametrize(
    ("contents", "groups"),
    [
        pytest.param([*range(39), 20], None, id="a duplicate in search and test"),
        pytest.param([*range(39), 3], None, id="a duplicate in fit and test"),
        pytest.param(range(40), [*range(39), 20], id="a group in search and test"),
    ],
)
def test_declared_splits_that_leak_are_refused_by_both_samples(
    contents: Sequence[int], groups: list[int] | None
) -> None:
    with pytest.raises(
        InputError, match=r"leaking splits: samples (20 \(search\)|3 \(fit\)) and 39 \(test\)"
    ):
        split(dataset(contents, groups=groups, splits=DECLARED), DEFAULT)


def test_a_duplicate_within_one_declared_split_is_no_leak() -> None:
    assert split(dataset([*range(39), 38], splits=DECLARED), DEFAULT).sizes()["test"] == 15


def test_an_unknown_split_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"sample 39 has split 'train': use calibration, search, test or fit"
    ):
        split(dataset(range(40), splits=[*DECLARED[:-1], "train"]), DEFAULT)


@pytest.mark.parametrize("missing", NAMES)
def test_a_declared_split_that_is_empty_is_refused(missing: str) -> None:
    declared = ["fit" if name == missing else name for name in DECLARED]
    with pytest.raises(InputError, match=f"the {missing} split got 0 samples"):
        split(dataset(range(40), splits=declared), DEFAULT)
