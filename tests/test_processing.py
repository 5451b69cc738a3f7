import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from edgewise.bundle.processing import Answered, load_function, pixels, postprocessor, preprocessor, softmax
from edgewise.bundle.steps import (
    Ctc,
    Image,
    Labels,
    PostStep,
    PreStep,
    PythonStep,
    Softmax,
    Tokenize,
    portable,
)
from edgewise.errors import InputError


def nowhere(name: str) -> Path:
    raise AssertionError(f"no step here needs a file, but {name} was looked for")


def picture(step: Image, pixels: Any) -> np.ndarray:
    """Run one image step on an array of uint8."""
    return preprocessor([step], nowhere)(np.asarray(pixels, np.uint8))[step.input]


def post(steps: list[PostStep], scores: Any, find: Callable[[str], Path] = nowhere) -> Answered:
    return postprocessor(steps, find)({"y": np.asarray(scores, np.float32)})


# Text


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "battery": 3, "life": 4, "great": 5}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def tokenize(folder: Path, text: Any, **options: Any) -> dict[str, Any]:
    step = Tokenize(file="tokenizer.json", **options)
    return preprocessor([step], lambda name: folder / name)(text)


def test_text_becomes_ids_in_a_batch_of_one_in_its_natural_length(tokenizer: Path) -> None:
    assert tokenize(tokenizer, "battery life great")["input_ids"].tolist() == [[1, 3, 4, 5, 2]]


def test_the_mask_is_as_long_as_the_ids(tokenizer: Path) -> None:
    assert tokenize(tokenizer, "battery life")["attention_mask"].tolist() == [[1, 1, 1, 1]]


def test_a_word_the_tokenizer_does_not_know_is_unknown(tokenizer: Path) -> None:
    assert tokenize(tokenizer, "battery zzz")["input_ids"].tolist() == [[1, 3, 0, 2]]


def test_long_text_is_cut_and_keeps_its_special_tokens(tokenizer: Path) -> None:
    assert tokenize(tokenizer, "battery life great " * 9, max_tokens=4)["input_ids"].tolist() == [
        [1, 3, 4, 2]
    ]


def test_tensors_have_the_names_the_step_gives_and_are_int64(tokenizer: Path) -> None:
    tensors = tokenize(tokenizer, "life", ids="tokens", mask=None, types="segments")
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == {
        "tokens": "int64",
        "segments": "int64",
    }


@pytest.mark.parametrize("raw", [b"life", 3, None, ["life"]])
def test_what_is_not_text_is_refused_by_its_type(tokenizer: Path, raw: Any) -> None:
    with pytest.raises(InputError, match=f"expected text, got {type(raw).__name__}"):
        tokenize(tokenizer, raw)


@pytest.mark.parametrize("content", [None, "", "{}", "not json", '{"model": 3}'])
def test_a_bad_tokenizer_file_is_refused_by_its_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"tokenizer\.json is not a tokenizer\.json"):
        tokenize(tmp_path, "life")


# Pictures


def test_a_picture_becomes_float32_between_0_and_1_channels_first() -> None:
    tensor = picture(Image(input="x"), [[[0, 51, 255]]])
    assert (str(tensor.dtype), tensor.shape) == ("float32", (1, 3, 1, 1))
    assert tensor.ravel() == pytest.approx([0.0, 0.2, 1.0])


def test_channels_may_come_last() -> None:
    assert picture(Image(input="x", layout="NHWC"), np.zeros((4, 5, 3))).shape == (1, 4, 5, 3)


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        (Image(input="x", height=4, multiple=8), (1, 3, 4, 16)),
        (Image(input="x", multiple=8), (1, 3, 8, 16)),
        (Image(input="x", height=4, width=10, multiple=8), (1, 3, 4, 10)),
    ],
    ids=["free width", "both free", "none free"],
)
def test_a_free_side_is_filled_up_to_a_multiple(step: Image, shape: tuple[int, ...]) -> None:
    assert picture(step, np.full((4, 9), 255)).shape == shape


def test_what_is_filled_up_is_zero_after_normalising() -> None:
    step = Image(input="x", multiple=2, mean=(0.5,), std=(0.5,), channels="L")
    assert picture(step, [[255, 255, 255]]).tolist() == [[[[1, 1, 1, 0], [0, 0, 0, 0]]]]


def test_channels_may_be_blue_green_red() -> None:
    assert picture(Image(input="x", channels="BGR"), [[[0, 51, 255]]]).ravel() == pytest.approx(
        [1.0, 0.2, 0.0]
    )


def test_mean_and_std_apply_in_the_order_of_the_tensor_s_channels() -> None:
    step = Image(input="x", channels="BGR", mean=(1.0, 0.0, 0.0), std=(1.0, 1.0, 0.5))
    assert picture(step, [[[255, 51, 255]]]).ravel() == pytest.approx([0.0, 0.2, 2.0])


def test_one_mean_and_std_serve_all_channels() -> None:
    step = Image(input="x", mean=(0.5,), std=(0.5,))
    assert picture(step, [[[0, 255, 255]]]).ravel() == pytest.approx([-1.0, 1.0, 1.0])


def test_grey_is_one_channel_and_uses_the_first_mean_and_std() -> None:
    step = Image(input="x", channels="L", mean=(0.5, 9.0, 9.0), std=(0.5, 9.0, 9.0))
    assert picture(step, [[255, 0]]).tolist() == [[[[1.0, -1.0]]]]


def test_grey_with_channels_last_has_one_of_them() -> None:
    assert picture(Image(input="x", channels="L", layout="NHWC"), np.zeros((2, 3))).shape == (1, 2, 3, 1)


def test_a_grey_picture_is_turned_into_three_channels_where_they_are_asked_for() -> None:
    assert picture(Image(input="x"), [[255]]).ravel().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        pytest.param({"height": 48}, (48, 96), id="height keeps the ratio"),
        pytest.param({"width": 48}, (24, 48), id="width keeps the ratio"),
        pytest.param({"height": 48, "width": 48}, (48, 48), id="both do not"),
        pytest.param({}, (100, 200), id="neither changes nothing"),
    ],
)
def test_a_picture_is_resized(size: dict[str, int], shape: tuple[int, int]) -> None:
    assert picture(Image(input="x", **size), np.zeros((100, 200, 3))).shape[2:] == shape  # type: ignore[arg-type]


def test_a_very_thin_picture_keeps_at_least_one_pixel() -> None:
    assert picture(Image(input="x", height=2), np.zeros((400, 1, 3))).shape[2:] == (2, 1)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
@settings(deadline=None, max_examples=50)
def test_the_height_asked_for_is_got_whatever_the_picture(height: int, width: int, asked: int) -> None:
    shape = picture(Image(input="x", height=asked), np.zeros((height, width, 3))).shape
    assert shape == (1, 3, asked, max(1, round(width * asked / height)))


def png(mode: str = "RGB", *, size: tuple[int, int] = (4, 2)) -> bytes:
    buffer = io.BytesIO()
    PilImage.new(mode, size, 255).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_an_encoded_picture_of_any_kind_is_read(mode: str) -> None:
    assert preprocessor([Image(input="x")], nowhere)(png(mode))["x"].shape == (1, 3, 2, 4)


def test_a_picture_of_16_bits_is_refused_rather_than_clipped() -> None:
    with pytest.raises(InputError, match="8 bits a channel"):
        preprocessor([Image(input="x")], nowhere)(png("I;16"))


def test_a_picture_is_read_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(png())
    assert preprocessor([Image(input="x")], nowhere)(tmp_path / "picture.png")["x"].shape == (1, 3, 2, 4)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"text", id="text"),
        pytest.param(png(size=(64, 64))[:-30], id="truncated"),
        pytest.param("no/such/file.png", id="missing file"),
        pytest.param(5, id="number"),
        pytest.param(None, id="none"),
        pytest.param(np.zeros((4, 4, 3), np.float32), id="floats"),
        pytest.param(np.zeros((4, 4), np.int64), id="integers that are not bytes"),
        pytest.param(np.zeros((4, 4, 7), np.uint8), id="seven channels"),
        pytest.param(np.zeros((0, 0, 3), np.uint8), id="no pixels"),
        pytest.param(np.zeros(4, np.uint8), id="one dimension"),
    ],
)
def test_what_is_not_a_picture_is_refused(raw: Any) -> None:
    with pytest.raises(InputError, match="expected a picture"):
        preprocessor([Image(input="x")], nowhere)(raw)


# Several steps, and the user's own


def test_every_step_adds_its_tensors(tokenizer: Path) -> None:
    steps = [Tokenize(file="tokenizer.json"), Tokenize(file="tokenizer.json", ids="again", mask=None)]
    assert set(preprocessor(steps, lambda name: tokenizer / name)("life")) == {
        "input_ids",
        "attention_mask",
        "again",
    }


def own(folder: Path, code: str, function: str = "pre.py:run") -> Callable[[Any], dict[str, Any]]:
    (folder / "pre.py").write_text(code)
    return preprocessor([PythonStep(function=function)], lambda name: folder / name)


def test_the_users_function_makes_the_tensors(tmp_path: Path) -> None:
    assert own(tmp_path, "def run(raw): return {'x': raw + 1}")(2) == {"x": 3}


def test_the_users_file_may_hold_dataclasses_with_deferred_annotations(tmp_path: Path) -> None:
    code = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Box:
    x: int
def run(raw): return {"x": Box(raw).x}
"""
    assert own(tmp_path, code)(2) == {"x": 2}


@pytest.mark.parametrize(
    ("code", "function", "message"),
    [
        pytest.param(
            "", "other.py:run", r"other\.py does not exist: write it as file\.py:function", id="no file"
        ),
        pytest.param("", "pre.py:run", r"pre\.py has no function 'run'", id="no function"),
        pytest.param("run = 3", "pre.py:run", r"pre\.py has no function 'run'", id="not a function"),
        pytest.param("def run(raw): ...", "pre.py", r"pre\.py has no function ''", id="no name"),
        pytest.param(
            "import nonexistent_module",
            "pre.py:run",
            "ModuleNotFoundError: No module named",
            id="import fails",
        ),
        pytest.param("def run(:", "pre.py:run", "cannot be imported: SyntaxError", id="not Python"),
        pytest.param("raise SystemExit(0)", "pre.py:run", "cannot be imported: SystemExit", id="exits"),
    ],
)
def test_a_users_file_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, code: str, function: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        own(tmp_path, code, function)


def test_a_users_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt is not a Python file"):
        load_function(tmp_path / "notes.txt", "run")


def test_the_users_own_error_is_kept_as_the_cause(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        own(tmp_path, "1 / 0")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("body", ["raise KeyError('x')", "return 3", "return [1]"])
def test_a_users_function_that_fails_is_refused_by_its_name(tmp_path: Path, body: str) -> None:
    with pytest.raises(InputError, match=r"pre\.py:run failed"):
        own(tmp_path, f"def run(raw): {body}")(2)


def test_only_a_python_step_is_not_portable() -> None:
    assert portable((Tokenize(file="t"), Image(input="x")))
    assert not portable((Image(input="x"), PythonStep(function="pre.py:run")))


# Declarations


@pytest.mark.parametrize(
    "step",
    [
        {"op": "image", "input": "x", "height": 0},
        {"op": "image", "input": "x", "width": -3},
        {"op": "image", "input": "x", "std": [1.0, 0.0, 1.0]},
        {"op": "image", "input": "x", "mean": [0.5, 0.5]},
        {"op": "image", "input": "x", "std": []},
        {"op": "image", "input": "x", "channels": "CMYK"},
        {"op": "tokenize", "file": "t", "max_tokens": 0},
        {"op": "tokenize", "file": "t", "max_tokns": 8},
        {"op": "ctc", "output": "y", "file": "c", "blank": -1},
        {"op": "labels", "output": "y", "names": []},
        {"op": "softmax"},
    ],
)
def test_a_step_that_cannot_work_is_refused_where_it_is_declared(step: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(step, PreStep | PostStep)


# Answers


def test_without_steps_there_is_no_answer_but_the_outputs() -> None:
    answered = post([], [[0.1, 0.9]])
    assert (answered.value, answered.confidence, list(answered.outputs)) == (None, None, ["y"])


def test_softmax_gives_probabilities_over_the_last_axis() -> None:
    assert softmax(np.array([[0.0, np.log(3.0)]])).tolist() == [[pytest.approx(0.25), pytest.approx(0.75)]]


def test_softmax_of_huge_scores_does_not_overflow() -> None:
    assert softmax(np.array([1000.0, 0.0])).tolist() == [1.0, 0.0]


def test_a_softmax_step_changes_its_output_only() -> None:
    outputs = {"y": np.zeros((1, 2), np.float32), "z": np.zeros((1, 2), np.float32)}
    answered = postprocessor([Softmax(output="y")], nowhere)(outputs)
    assert {name: array.tolist() for name, array in answered.outputs.items()} == {
        "y": [[0.5, 0.5]],
        "z": [[0.0, 0.0]],
    }


def test_a_step_does_not_change_the_arrays_it_was_given() -> None:
    scores = np.zeros((1, 2), np.float32)
    postprocessor([Softmax(output="y")], nowhere)({"y": scores})
    assert scores.tolist() == [[0.0, 0.0]]


def test_labels_name_the_highest_score_and_give_it_as_confidence() -> None:
    answered = post([Labels(output="y", names=("negative", "positive"))], [[0.25, 0.75]])
    assert (answered.value, answered.confidence) == ("positive", 0.75)


def test_labels_after_softmax_have_a_probability_as_confidence() -> None:
    answered = post([Softmax(output="y"), Labels(output="y", names=("a", "b"))], [[0.0, np.log(3.0)]])
    assert answered.confidence == pytest.approx(0.75)


def test_scores_without_a_batch_are_named_too() -> None:
    assert post([Labels(output="y", names=("a", "b"))], [0.9, 0.1]).value == "a"


@pytest.mark.parametrize("scores", [[[0.1, 0.2, 0.3, 0.4]], [[0.1]], 0.5])
def test_another_number_of_scores_than_names_is_refused(scores: Any) -> None:
    with pytest.raises(InputError, match="2 label names, but 'y' has shape"):
        post([Labels(output="y", names=("a", "b"))], scores)


@pytest.mark.parametrize("step", [Softmax(output="logits"), Labels(output="logits", names=("a",))])
def test_a_step_for_an_output_that_is_not_there_names_those_that_are(step: PostStep) -> None:
    with pytest.raises(InputError, match="no output 'logits' to post-process: the model has y"):
        post([step], [[0.1]])


# CTC


@pytest.fixture
def characters(tmp_path: Path) -> Path:
    (tmp_path / "characters.txt").write_text("a\nb\né\n", encoding="utf-8")
    return tmp_path


def ctc(folder: Path, classes: list[int], *, count: int = 5, blank: int = 0) -> Answered:
    """Decode a path of classes, each the winner by 0.5 against 0."""
    scores = np.zeros((1, len(classes), count), np.float32)
    scores[0, range(len(classes)), classes] = 0.5
    return post([Ctc(output="y", file="characters.txt", blank=blank)], scores, lambda name: folder / name)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        pytest.param([1, 2, 3], "abé", id="one character a step"),
        pytest.param([1, 1, 2, 2, 2], "ab", id="repeats are one"),
        pytest.param([1, 0, 1], "aa", id="a blank separates repeats"),
        pytest.param([0, 0, 1, 0], "a", id="blanks are nothing"),
        pytest.param([1, 4, 2], "a b", id="a class past the list is a space"),
        pytest.param([0, 0], "", id="only blanks"),
        pytest.param([], "", id="no steps"),
    ],
)
def test_ctc_merges_repeats_and_drops_blanks(characters: Path, classes: list[int], text: str) -> None:
    assert ctc(characters, classes).value == text


def test_the_blank_may_be_the_last_class(characters: Path) -> None:
    assert ctc(characters, [0, 3, 0, 1, 2], count=4, blank=3).value == "aabé"


def test_the_blank_may_be_in_the_middle(characters: Path) -> None:
    assert ctc(characters, [0, 1, 2, 3], count=4, blank=1).value == "abé"


def test_the_confidence_of_ctc_is_the_mean_over_the_characters_kept(characters: Path) -> None:
    scores = np.array([[[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]], np.float32)
    answered = post([Ctc(output="y", file="characters.txt")], scores, lambda name: characters / name)
    assert answered.value == "ab"
    assert answered.confidence == pytest.approx(0.7)


def test_no_character_kept_is_no_confidence(characters: Path) -> None:
    assert ctc(characters, [0, 0]).confidence == 0.0


def test_a_file_of_characters_with_windows_line_ends_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "characters.txt").write_bytes(b"a\r\nb\r\n")
    assert ctc(tmp_path, [1, 2]).value == "ab"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_bad_file_of_characters_is_refused_by_its_name(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "characters.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"characters\.txt is not a list of characters"):
        ctc(tmp_path, [1])


def collapse(classes: list[int]) -> str:
    """CTC by its definition: group equal neighbours, drop the blank."""
    merged = [k for i, k in enumerate(classes) if i == 0 or classes[i - 1] != k]
    return "".join("abé "[k - 1] for k in merged if k)


@given(st.lists(st.integers(0, 4), max_size=12))
@settings(deadline=None, max_examples=100)
def test_ctc_follows_its_definition(tmp_path_factory: pytest.TempPathFactory, classes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("ctc")
    (folder / "characters.txt").write_text("a\nb\né\n", encoding="utf-8")
    assert ctc(folder, classes).value == collapse(classes)


@pytest.mark.parametrize("scores", [np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([[np.nan, 0.5]])])
def test_several_requests_or_scores_that_are_no_numbers_get_no_label(scores: np.ndarray) -> None:
    post = postprocessor((Labels(output="y", names=("no", "yes")),), Path)
    assert (post({"y": scores}).value, post({"y": scores}).confidence) == (None, None)


def test_a_picture_is_kept_as_pixels_whatever_it_came_as(tmp_path: Path) -> None:
    from PIL import Image as PilImage

    PilImage.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "grey.png")
    from_file, from_bytes = pixels(tmp_path / "grey.png"), pixels((tmp_path / "grey.png").read_bytes())
    assert from_file.shape == (2, 3, 3)
    assert np.array_equal(from_file, from_bytes)
