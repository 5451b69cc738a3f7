from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewise.lab.data import interval, metrics
from edgewise.lab.data.interval import Floor, Interval, interval_of, margin_to_floor, verdict

Rows = NDArray[np.float64]

ACCURACY, WER = (metrics.find(name, Path(), None) for name in ("accuracy", "wer"))
SAMPLES, TRIALS = 300, 250


def right(*hits: Any) -> Rows:
    """Rows of accuracy: (right, 1) for each sample."""
    flags = np.concatenate([np.atleast_1d(hit) for hit in hits]).astype(np.float64)
    return np.stack([flags, np.ones_like(flags)], axis=-1)


def share_right(count: int, of: int) -> Rows:
    return right(np.arange(of) < count)


# The promise of the interval, by simulation: the truth is known, and here it lies exactly on the floor.


def accuracy_on_the_floor() -> tuple[Rows, Rows]:
    """Original right on 80 %; the variant on 99 % of that, mostly on the same samples."""
    random = np.random.default_rng(1)
    original = random.random((TRIALS, SAMPLES)) < 0.8
    flip = random.random((TRIALS, SAMPLES))
    gained = 0.2  # of the samples that the original gets wrong; the losses make up for them
    lost = 0.01 + gained * 0.2 / 0.8
    variant = np.where(original, flip >= lost, flip < gained)
    ones = np.ones_like(flip)
    return np.stack([variant, ones], axis=-1), np.stack([original, ones], axis=-1)


def word_errors_on_the_floor() -> tuple[Rows, Rows]:
    """Lines of 2 to 9 words; the original errs in 20 % of them, the variant in 1 % of that more, often alike."""
    random = np.random.default_rng(2)
    length = random.integers(2, 10, (TRIALS, SAMPLES))
    shared = random.binomial(length, 0.15)
    original = shared + random.binomial(length, 0.05)
    variant = shared + random.binomial(length, 0.052)
    return np.stack([variant, length], axis=-1), np.stack([original, length], axis=-1)


@pytest.fixture(scope="module", params=[accuracy_on_the_floor, word_errors_on_the_floor])
def margins(request: pytest.FixtureRequest) -> list[Interval]:
    variants, originals = request.param()
    metric = ACCURACY if request.param is accuracy_on_the_floor else WER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interval, "RESAMPLES", 400)
        return [
            margin_to_floor(metric, variant, original, Floor(0.99))
            for variant, original in zip(variants.astype(float), originals.astype(float), strict=True)
        ]


def test_the_interval_covers_the_truth_in_some_95_of_100_data_sets(margins: list[Interval]) -> None:
    covered = np.mean([margin.low <= 0 <= margin.high for margin in margins])
    assert 0.91 <= covered <= 0.98


def test_met_and_missed_are_each_wrong_in_few_of_100_data_sets(margins: list[Interval]) -> None:
    verdicts = [verdict(margin) for margin in margins]
    assert max(verdicts.count("met"), verdicts.count("missed")) / TRIALS < 0.06


@pytest.mark.parametrize("samples", [150, 400])
def test_met_is_wrong_in_few_data_sets_though_none_may_hold_a_lost_answer(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interval, "RESAMPLES", 400)
    random = np.random.default_rng(3)
    original = random.random((TRIALS, samples)) < 0.9
    variant = original & (random.random((TRIALS, samples)) >= 0.01)  # exactly on the floor
    verdicts = [
        verdict(margin_to_floor(ACCURACY, right(v), right(o), Floor(0.99)))
        for v, o in zip(variant, original, strict=True)
    ]
    assert verdicts.count("met") / TRIALS < 0.06


@pytest.mark.parametrize(("samples", "expected"), [(200, "not shown"), (500, "met")])
def test_equal_answers_of_another_file_show_the_floor_only_with_enough_samples(
    samples: int, expected: str
) -> None:
    original = share_right(int(0.9 * samples), samples)
    assert verdict(margin_to_floor(ACCURACY, original.copy(), original, Floor(0.99))) == expected


def test_the_estimate_is_not_biased(margins: list[Interval]) -> None:
    values = np.array([margin.value for margin in margins])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(TRIALS)


def test_one_metric_has_the_interval_of_the_normal_approximation() -> None:
    found = interval_of(ACCURACY, share_right(280, 400))
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half), abs=0.006)


def test_pairs_tell_more_than_the_same_answers_unpaired() -> None:
    variants, originals = accuracy_on_the_floor()
    variant, original = variants[0].astype(float), originals[0].astype(float)
    paired = margin_to_floor(ACCURACY, variant, original, Floor(0.99))
    shuffled = np.random.default_rng(0).permutation(original)
    unpaired = margin_to_floor(ACCURACY, variant, shuffled, Floor(0.99))
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_the_same_rows_give_the_same_interval() -> None:
    rows = share_right(7, 20)
    assert interval_of(ACCURACY, rows) == interval_of(ACCURACY, rows)


def test_the_margin_is_that_of_the_sums_and_not_of_the_mean_sample() -> None:
    variant, original = np.array([[1.0, 2.0], [1.0, 8.0]]), np.array([[0.0, 2.0], [1.0, 8.0]])
    assert margin_to_floor(WER, variant, original, Floor(0.5)).value == pytest.approx(1.5 * 0.1 - 0.2)


# Floors


@pytest.mark.parametrize(
    ("floor", "higher_is_better", "original", "expected"),
    [
        pytest.param(Floor(0.99), True, 0.8, 0.792, id="a share"),
        pytest.param(Floor(0.99), False, 0.2, 0.202, id="a share where lower is better"),
        pytest.param(Floor(0.99, margin=0.05), True, 0.8, 0.75, id="the margin is wider"),
        pytest.param(Floor(0.99, margin=0.001), True, 0.8, 0.792, id="the share is wider"),
        pytest.param(Floor(0.99, margin=0.01), False, 0.2, 0.21, id="the margin is wider, lower is better"),
        pytest.param(Floor(0.9, margin=0.01), False, 0.2, 0.22, id="the share is wider, lower is better"),
        pytest.param(Floor(None, 0.75), True, 0.8, 0.75, id="an absolute floor"),
        pytest.param(Floor(None, 0.25, 0.1), False, 0.2, 0.25, id="an absolute ceiling, whatever the margin"),
        pytest.param(Floor(0.99), True, -2.0, -2.02, id="a score below zero"),
        pytest.param(Floor(0.99, margin=0.01), False, 0.0, 0.01, id="a perfect original"),
    ],
)
def test_a_floor_is(floor: Floor, higher_is_better: bool, original: float, expected: float) -> None:
    assert float(floor.at(original, higher_is_better=higher_is_better)) == pytest.approx(expected)


@given(st.floats(-10, 10), st.floats(0.01, 1), st.floats(0, 1), st.booleans())
@settings(deadline=None)
def test_no_floor_asks_for_more_than_the_original(
    original: float, share: float, margin: float, higher_is_better: bool
) -> None:
    bound = Floor(share, margin=margin).at(original, higher_is_better=higher_is_better)
    assert bound <= original if higher_is_better else bound >= original


@pytest.mark.parametrize(
    ("floor", "text"),
    [
        (Floor(), "99 % of original"),
        (Floor(0.995, margin=0.002), "99.5 % of original (or within 0.002)"),
        (Floor(None, 0.8), "0.8"),
    ],
)
def test_a_floor_says_what_it_is(floor: Floor, text: str) -> None:
    assert str(floor) == text


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.02, "met"),
        (0.0, 0.02, "met"),
        (-0.001, 0.02, "not shown"),
        (-0.02, 0.0, "not shown"),
        (-0.02, -0.001, "missed"),
    ],
)
def test_the_verdict_is_on_the_whole_interval(low: float, high: float, expected: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high)) == expected


@pytest.mark.parametrize(
    ("lost", "of", "expected"),
    [
        pytest.param(0, 400, "met", id="no answer lost"),
        pytest.param(3, 400, "not shown", id="within the floor, but too few samples to show it"),
        pytest.param(30, 4000, "met", id="the same share of more samples"),
        pytest.param(40, 400, "missed", id="far below"),
    ],
)
def test_answers_lost_are_judged_against_99_percent_of_the_original(
    lost: int, of: int, expected: str
) -> None:
    kept = int(0.9 * of)
    assert (
        verdict(margin_to_floor(ACCURACY, share_right(kept - lost, of), share_right(kept, of), Floor(0.985)))
        == expected
    )


@pytest.mark.parametrize(("margin", "expected"), [(0.0, "missed"), (0.02, "not shown"), (0.1, "met")])
def test_word_errors_added_are_judged_against_the_wider_margin(margin: float, expected: str) -> None:
    words = np.full(500, 10.0)
    original = np.stack([np.arange(500) % 2, words], axis=-1)
    variant = np.stack([np.arange(500) % 2 + (np.arange(500) % 5 == 0), words], axis=-1)
    assert verdict(margin_to_floor(WER, variant, original, Floor(0.99, margin=margin))) == expected


def test_the_original_meets_its_own_floor_in_full() -> None:
    rows = share_right(70, 100)
    margin = margin_to_floor(ACCURACY, rows, rows, Floor(1.0))
    assert (margin, verdict(margin)) == (Interval(0.0, 0.0, 0.0), "met")


def test_an_absolute_floor_does_not_move_with_the_original() -> None:
    variant = share_right(90, 100)
    margins = [margin_to_floor(ACCURACY, variant, share_right(n, 100), Floor(None, 0.8)) for n in (10, 99)]
    assert margins[0] == margins[1]


def test_four_times_the_samples_halve_the_interval() -> None:
    rescaled = Interval(0.5, 0.3, 0.9).rescaled(4)
    assert (rescaled.value, rescaled.low, rescaled.high) == pytest.approx((0.5, 0.4, 0.7))


def test_what_is_expected_of_test_comes_true_nine_times_in_ten() -> None:
    random = np.random.default_rng(0)
    searched, tested, truth = 1_000, 3_000, 1.0
    kept = shown = 0
    for _ in range(20_000):
        value = random.normal(truth, 40 / searched**0.5)  # one that is neither clearly good nor bad
        half = 1.96 * 40 / searched**0.5
        at_limit = abs(Interval(value, value - half, value + half).expected_low(tested / searched)) < 0.1
        if at_limit:
            new = random.normal(value, 40 * (1 / searched + 1 / tested) ** 0.5)
            kept, shown = kept + 1, shown + int(new - 1.96 * 40 / tested**0.5 >= 0)
    assert shown / kept == pytest.approx(0.9, abs=0.04)
