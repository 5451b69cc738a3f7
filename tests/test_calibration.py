"""What is said of calibration samples: of real shifts what and how far, of chance nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.manifest import TensorSpec
from edgewise.lab.data import calibration
from edgewise.lab.data.samples import Dataset, Sample
from edgewise.lab.data.splits import Splits, split

IMAGE = TensorSpec("image", "float32", ("batch", 3, 4, 4))
IDS = TensorSpec("ids", "int64", ("batch", "length"))
Make = Callable[[np.random.Generator], Any]


def image(random: np.random.Generator) -> Any:
    """An image as they are: its own brightness and contrast, and heavy tails."""
    noise = random.standard_t(5, (1, 3, 4, 4))
    return (random.normal(0, 1) + random.uniform(0.5, 1.5) * noise).astype(np.float32)


def sentence(random: np.random.Generator) -> Any:
    """Ids as they are: of any length, a few of them in nearly every sentence."""
    return random.zipf(1.3, (1, int(random.integers(3, 60)))).clip(0, 5000)


def splits(
    spec: TensorSpec, mine: Make, theirs: Make, counts: tuple[int, int] = (60, 200), seed: int = 0
) -> Splits:
    random = np.random.default_rng(seed)

    def part(make: Make, count: int) -> tuple[Sample, ...]:
        return tuple(Sample({spec.name: make(random)}) for _ in range(count))

    return Splits(part(mine, counts[0]), part(theirs, counts[1]), ())


def said(spec: TensorSpec, mine: Make, theirs: Make, **more: Any) -> str:
    return "\n".join(calibration.notes(splits(spec, mine, theirs, **more), (spec,)))


@pytest.mark.parametrize(("spec", "make"), [(IMAGE, image), (IDS, sentence)], ids=["images", "sentences"])
@pytest.mark.parametrize("counts", [(32, 60), (60, 200), (300, 1000)], ids=str)
def test_samples_of_one_source_give_no_note_whatever_the_seed(
    spec: TensorSpec, make: Make, counts: tuple[int, int]
) -> None:
    seeds = range(60 if counts[0] < 300 else 8)
    assert [n for seed in seeds if (n := said(spec, make, make, counts=counts, seed=seed))] == []


def test_splits_that_edgewise_draws_give_no_note() -> None:
    random = np.random.default_rng(5)
    drawn = [Sample({"image": image(random)}, label=index % 3) for index in range(600)]
    for seed in range(20):
        parts = split(Dataset(tuple(drawn), "samples"), {}, seed)
        assert calibration.notes(parts, (IMAGE,)) == ()


def test_a_brighter_calibration_set_is_named_with_its_distance() -> None:
    found = said(IMAGE, lambda random: image(random) + 5, image)
    assert "'image' lies" in found
    assert "standard deviations above" in found


def test_pixels_that_were_not_divided_by_255_are_noticed() -> None:
    found = said(IMAGE, lambda random: np.float32(255) * image(random), image)
    assert "times as wide as the search samples'" in found


def test_search_samples_beyond_the_calibration_range_are_counted() -> None:
    found = said(IMAGE, lambda random: image(random).clip(-1, 1), image)
    assert "ranges set by it clip them" in found
    assert "below -1, the most" in found


def test_a_calibration_set_that_is_wider_than_need_be_clips_nothing() -> None:
    found = said(IMAGE, image, lambda random: image(random).clip(-1, 1))
    assert "clip them" not in found


def test_short_calibration_sentences_are_noticed() -> None:
    found = said(IDS, lambda random: sentence(random)[:, :4], sentence)
    assert "'ids' holds 4 values" in found


def test_calibration_text_in_another_language_is_noticed() -> None:
    found = said(IDS, lambda random: sentence(random) + 7000, sentence)
    assert "has other values" in found


def test_twelve_calibration_samples_are_said_to_be_few_and_what_that_costs() -> None:
    found = said(IMAGE, image, image, counts=(12, 200))
    assert found.startswith("12 calibration samples")
    assert "one request in 13" in found


def test_one_request_in_n_plus_one_goes_beyond_n_samples_as_the_note_says() -> None:
    random = np.random.default_rng(0)
    draws = random.standard_cauchy((4000, 13))
    assert abs(np.mean(draws[:, 12] > draws[:, :12].max(axis=1)) - 1 / 13) < 0.02


def test_a_mask_of_ones_alone_gives_no_note() -> None:
    ones: Make = lambda random: np.ones((1, 8), np.int64)  # noqa: E731
    assert said(IDS, ones, ones) == ""
