from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sklearn import metrics as sklearn

from edgewise.bundle.processing import Answered
from edgewise.errors import InputError
from edgewise.lab.data import metrics
from edgewise.lab.data.metrics import Metric

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(200, 5)).astype(np.float32)
CLASSES = RANDOM.integers(0, 5, 200)
NUMBERS = RANDOM.normal(size=200)

Outputs = dict[str, NDArray[Any]]


def metric(name: str, classes: int | None = 5) -> Metric:
    return metrics.find(name, Path(), classes)


def answer(scores: Any, text: str | None = None) -> Answered:
    return Answered(text, None, {"y": np.asarray(scores)})


def value(name: str, answers: Any, labels: Any, classes: int | None = 5) -> float:
    """The metric over a data set, one sample at a time, as a build takes it."""
    found = metric(name, classes)
    rows = [
        found.statistics(answer(one[np.newaxis]), label, None)
        for one, label in zip(answers, labels, strict=True)
    ]
    return float(found.value(np.sum(rows, axis=0)))


def words(name: str, pairs: list[tuple[str, str]]) -> float:
    """The metric over pairs of (answer, label)."""
    found = metric(name)
    return float(found.value(np.sum([found.statistics(answer(0.0, a), b, None) for a, b in pairs], axis=0)))


def against(name: str, mine: Any, original: Any) -> float:
    found = metric(name)
    return float(found.value(found.statistics(answer(mine), None, {"y": np.asarray(original)})))


def test_accuracy_is_that_of_scikit_learn() -> None:
    wanted = sklearn.accuracy_score(CLASSES, SCORES.argmax(axis=1))
    assert value("accuracy", SCORES, CLASSES) == pytest.approx(wanted)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_is_that_of_scikit_learn(k: int) -> None:
    wanted = sklearn.top_k_accuracy_score(CLASSES, SCORES, k=k)
    assert value(f"top-{k}", SCORES, CLASSES) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
@settings(deadline=None, max_examples=50)
def test_f1_of_several_classes_is_the_macro_average_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    guesses, truths = np.array(pairs).T
    wanted = sklearn.f1_score(truths, guesses, average="macro")
    assert value("f1", np.eye(5)[guesses], truths) == pytest.approx(wanted)


def test_f1_of_two_classes_is_that_of_class_one() -> None:
    guesses, truths = RANDOM.integers(0, 2, (2, 50))
    wanted = sklearn.f1_score(truths, guesses)
    assert value("f1", np.eye(2)[guesses], truths, classes=2) == pytest.approx(wanted)


def test_mae_and_rmse_are_those_of_scikit_learn() -> None:
    labels = NUMBERS + RANDOM.normal(size=200)
    found = [value(name, NUMBERS, labels) for name in ("mae", "rmse")]
    wanted = [
        sklearn.mean_absolute_error(labels, NUMBERS),
        sklearn.root_mean_squared_error(labels, NUMBERS),
    ]
    assert found == pytest.approx(wanted)


def test_perplexity_is_exp_of_the_mean_log_loss_per_token() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    found = value("perplexity", [np.log(probabilities) + 3], [np.array([0, 1])], classes=3)
    assert found == pytest.approx((1 / (0.5 * 0.8)) ** 0.5)


def test_perplexity_weighs_tokens_and_not_texts() -> None:
    even, sure = np.zeros((3, 2)), np.array([[0.0, 50.0]])
    found = value("perplexity", [even, sure], [np.array([0, 1, 0]), np.array([1])], classes=2)
    assert found == pytest.approx(2 ** (3 / 4))


def test_perplexity_bears_large_logits() -> None:
    assert value("perplexity", [np.array([[1e4, 1e4]])], [np.array([0])], classes=2) == pytest.approx(2)


def test_wer_counts_words_changed_dropped_and_added_over_those_of_the_label() -> None:
    pairs = [("the cat sat down", "the hat sat"), ("on", "on the mat"), ("a", "a")]
    assert words("wer", pairs) == pytest.approx((2 + 2 + 0) / (3 + 3 + 1))


def test_wer_does_not_mind_how_words_are_spaced() -> None:
    assert words("wer", [(" the\tcat\n", "the  cat")]) == 0


def test_cer_counts_characters() -> None:
    assert words("cer", [("kitten", "sitting"), ("", "ab")]) == pytest.approx((3 + 2) / (7 + 2))


@given(
    st.lists(st.tuples(st.text(max_size=8), st.text("ab", min_size=1, max_size=8)), min_size=1, max_size=8)
)
@settings(deadline=None, max_examples=50)
def test_cer_is_the_edits_of_rapidfuzz_over_the_length(pairs: list[tuple[str, str]]) -> None:
    edits = sum(Levenshtein.distance(a, b) for a, b in pairs)
    assert words("cer", pairs) == pytest.approx(edits / sum(len(b) for _, b in pairs))


def test_agreement_is_the_share_of_equal_decisions() -> None:
    assert against("agreement", [[1, 0], [1, 0], [0, 1.0]], [[9, 1], [1, 9], [0, 1.0]]) == pytest.approx(
        2 / 3
    )


def test_answers_of_another_number_agree_nowhere() -> None:
    assert against("agreement", [[1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]) == 0


@pytest.mark.parametrize(
    ("mine", "original", "expected"),
    [
        ([3.0, 4.0], [6.0, 8.0], 1.0),
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([1.0, 1.0], [-1.0, -1.0], -1.0),
        ([1.0, 0.0], [1.0, 1.0], 2**-0.5),
        pytest.param([0.0, 0.0], [1.0, 1.0], 0.0, id="an answer that died"),
        pytest.param([0.0, 0.0], [0.0, 0.0], 1.0, id="both zero"),
    ],
)
def test_cosine_is_that_of_the_angle(mine: list[float], original: list[float], expected: float) -> None:
    assert against("cosine", mine, original) == pytest.approx(expected)


def user_metric(folder: Path, body: str) -> Metric:
    (folder / "mine.py").write_text(f"def score(outputs, label):\n    {body}\n")
    return metrics.find("mine.py:score", folder, None)


def test_a_users_metric_is_averaged_over_the_samples(tmp_path: Path) -> None:
    found = user_metric(tmp_path, "return outputs['y'].sum() * label")
    rows = [found.statistics(answer([1.0, 2.0]), label, None) for label in (1, 4)]
    assert found.value(np.sum(rows, axis=0)) == pytest.approx((3 + 12) / 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "raised ZeroDivisionError: division by zero"),
        ("return None", "raised TypeError"),
        ("return float('nan')", "returned nan for label 3: return a finite number"),
        ("return float('inf')", "returned inf for label 3"),
    ],
)
def test_a_users_metric_that_gives_no_number_is_refused(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"metric mine\.py:score {message}"):
        user_metric(tmp_path, body).statistics(answer([1.0]), 3, None)


@pytest.mark.parametrize(
    ("outputs", "decisions"),
    [
        pytest.param({"y": [[0.1, 0.7, 0.2]]}, [1], id="the highest score"),
        pytest.param({"y": [[[0.1, 0.7], [0.6, 0.4]]]}, [1, 0], id="one decision for each position"),
        pytest.param({"label": [2], "probabilities": [[0.9, 0.1, 0.0]]}, [2], id="a label the model gives"),
        pytest.param({"y": [[0.5], [0.49]]}, [1, 0], id="one score: a half or more"),
        pytest.param({"y": [[1, 5]], "z": [[9.0, 0.0]]}, [1, 5], id="integers as they are"),
    ],
)
def test_a_decision_is(outputs: dict[str, Any], decisions: list[int]) -> None:
    arrays = {name: np.array(scores) for name, scores in outputs.items()}
    assert metrics.top1(arrays).ravel().tolist() == decisions


@pytest.mark.parametrize(
    "name", ["accuracy", "f1", "top-2", "perplexity", "mae", "wer", "agreement", "cosine"]
)
def test_many_resamples_are_valued_at_once(name: str) -> None:
    found = metric(name)
    sums = RANDOM.integers(1, 9, (4, 15 if name == "f1" else 2)).astype(np.float64)
    assert found.value(sums).tolist() == [float(found.value(row)) for row in sums]


@pytest.mark.parametrize("name", ["accuracy", "f1", "top-3", "agreement", "cosine"])
def test_higher_is_better_up_to_one(name: str) -> None:
    assert (metric(name).higher_is_better, metric(name).highest) == (True, 1.0)


@pytest.mark.parametrize("name", ["mae", "rmse", "perplexity", "wer", "cer"])
def test_lower_is_better_without_bound(name: str) -> None:
    assert (metric(name).higher_is_better, metric(name).highest) == (False, np.inf)


def test_agreement_is_no_quality_and_needs_no_labels() -> None:
    assert [(m.is_agreement, m.needs_labels) for m in map(metric, ("agreement", "accuracy"))] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("name", ["acc", "top-0", "top-", "top-x", "", "Accuracy", "mine.txt:score"])
def test_an_unknown_metric_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown metric {name!r}: known are accuracy, agreement, cer"):
        metric(name)


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("accuracy", 5, "label 5 is out of range: the model's classes are 0 to 4"),
        ("accuracy", -1, "label -1 is out of range"),
        ("accuracy", np.array([0, 7]), "label 7 is out of range"),
        ("accuracy", 1.0, "accuracy needs class numbers as labels, got float 1.0"),
        ("f1", "cat", "f1 needs class numbers as labels, got str 'cat'"),
        ("f1", np.array([0.0, 1.0]), "f1 needs class numbers as labels, got ndarray"),
        ("top-5", np.array(["a", "b"]), "top-k needs class numbers as labels"),
        ("perplexity", None, "perplexity needs class numbers"),
        ("mae", "3", "mae needs finite numbers as labels, got '3'"),
        ("rmse", np.array([1.0, np.nan]), "rmse needs finite numbers"),
        ("mae", [[1], [1, 2]], "mae needs finite numbers"),
        ("wer", "  ", "wer needs non-empty text"),
        ("cer", 3, "cer needs non-empty text as labels, got 3"),
    ],
)
def test_a_label_that_cannot_be_meant_is_refused(name: str, label: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric(name).check(label, 5)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("accuracy", 4),
        ("f1", np.int64(0)),
        ("accuracy", np.array([[0, 4]])),
        ("accuracy", True),
        ("mae", -2),
        ("rmse", np.ones((2, 2))),
        ("wer", "a word"),
        ("agreement", None),
    ],
)
def test_a_label_that_can_be_meant_is_taken(name: str, label: Any) -> None:
    metric(name).check(label, 5)


def test_without_known_classes_f1_takes_two() -> None:
    with pytest.raises(InputError, match="label 2 is out of range: the model's classes are 0 to 1"):
        metric("f1", None).check(2, None)


@pytest.mark.parametrize(
    ("name", "scores", "label", "message"),
    [
        ("accuracy", np.eye(5), 3, "accuracy: the model decides 5 positions, the label has 1"),
        ("f1", np.eye(5)[:1], np.array([1, 2]), "f1: the model decides 1 positions, the label has 2"),
        ("top-2", np.eye(5), 3, "top-k: the model decides 5 positions"),
        ("top-6", np.eye(5)[:1], 3, "top-6 needs at least 6 scores, the model gives shape"),
        ("perplexity", np.zeros((3, 5)), np.array([1, 2]), "perplexity: the model decides 3 positions"),
        ("perplexity", np.zeros((1, 5)), np.array([9]), "label 9 is out of range: the model scores 5"),
        ("mae", np.zeros(3), 1.0, "mae: the model gives 3 numbers, the label has 1"),
        ("f1", np.array([-1]), 1, r"f1 knows the classes 0 to 4, the model decides \[-1\]"),
        ("wer", np.zeros(3), "a", r"wer needs text: declare a \[\[post\]\] step"),
    ],
)
def test_an_answer_that_does_not_fit_its_label_is_refused(
    name: str, scores: Any, label: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metric(name).statistics(answer(scores), label, None)
