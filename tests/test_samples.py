import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import InputError
from edgewise.lab.data.samples import Dataset, Sample, load, natural_shapes

VECTOR = (TensorSpec("x", "float32", ("batch", 3)),)
COUNT = 20
X = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)
LABELS = np.arange(COUNT) % 2

Write = Callable[..., Path]
Refuse = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the arrays given to samples.npz."""

    def save(**arrays: Any) -> Path:
        path = tmp_path / "samples.npz"
        np.savez(path, **arrays)
        return path

    return save


def read(folder: Path, reference: str = "samples.npz", specs: tuple[TensorSpec, ...] = VECTOR) -> Dataset:
    return load(reference, folder, specs)


def function(folder: Path, body: str) -> Dataset:
    """Load what a user's function with this body yields."""
    code = f"import numpy as np\nx = np.ones((1, 3), np.float32)\ndef samples():\n    {body}\n"
    (folder / "mine.py").write_text(code)
    return read(folder, "mine.py:samples")


def refusal(error: pytest.ExceptionInfo[InputError]) -> str:
    return str(error.value)


def test_each_row_of_an_npz_becomes_a_sample_with_a_batch_axis_of_one(write: Write, tmp_path: Path) -> None:
    write(x=X)
    samples = read(tmp_path).samples
    assert [sample.inputs["x"].tolist() for sample in samples] == [[row] for row in X.tolist()]


def test_rows_that_have_their_batch_axis_keep_it(write: Write, tmp_path: Path) -> None:
    write(x=X[:, np.newaxis])
    assert read(tmp_path).samples[4].inputs["x"].tolist() == [X[4].tolist()]


def test_an_input_without_axes_takes_one_number_a_sample(write: Write, tmp_path: Path) -> None:
    write(x=np.arange(COUNT, dtype=np.float32))
    dataset = read(tmp_path, specs=(TensorSpec("x", "float32", ()),))
    assert dataset.samples[7].inputs["x"].shape == ()


def test_labels_groups_and_split_go_with_their_samples(write: Write, tmp_path: Path) -> None:
    write(x=X, labels=LABELS, groups=np.arange(COUNT) // 2, split=np.array(["search"] * COUNT))
    sample = read(tmp_path).samples[5]
    assert (sample.label, sample.group, sample.split) == (1, 2, "search")


def test_a_folder_of_npy_files_is_read_like_an_npz(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "x.npy", X)
    np.save(tmp_path / "data" / "labels.npy", LABELS)
    dataset = read(tmp_path, "data")
    assert [sample.label for sample in dataset.samples] == LABELS.tolist()


def test_a_function_yields_inputs_with_label_and_group(tmp_path: Path) -> None:
    dataset = function(tmp_path, "for i in range(20): yield {'x': x}, i % 2, 'ab'[i % 2]")
    assert [(s.label, s.group) for s in dataset.samples[:2]] == [(0, "a"), (1, "b")]


def test_labels_from_numpy_become_plain_numbers(tmp_path: Path) -> None:
    dataset = function(tmp_path, "for i in range(20): yield {'x': x}, np.int64(3)")
    assert type(dataset.samples[0].label) is int


def test_a_list_of_labels_becomes_an_array(tmp_path: Path) -> None:
    dataset = function(tmp_path, "for i in range(20): yield {'x': x}, [0, 2, 1]")
    assert dataset.samples[0].label.tolist() == [0, 2, 1]


def test_raw_input_goes_through_the_pre_processing_and_is_kept(write: Write, tmp_path: Path) -> None:
    write(text=np.array(["a" * n for n in range(1, COUNT + 1)]))
    dataset = load(
        "samples.npz", tmp_path, VECTOR, lambda text: {"x": np.full((1, 3), len(text), np.float32)}
    )
    assert (dataset.samples[4].raw, dataset.samples[4].inputs["x"].tolist()) == ("aaaaa", [[5.0] * 3])


def test_an_input_of_the_model_may_be_called_text(write: Write, tmp_path: Path) -> None:
    write(text=np.array([["word"]] * COUNT))
    dataset = read(tmp_path, specs=(TensorSpec("text", "str", (None, 1)),))
    assert dataset.samples[0].inputs["text"].tolist() == [["word"]]


def test_pre_processing_that_refuses_a_sample_names_it(write: Write, tmp_path: Path) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise InputError("expected text, got int")

    write(raw=np.arange(COUNT))
    with pytest.raises(InputError, match=r"^samples\.npz: sample 0: expected text, got int$"):
        load("samples.npz", tmp_path, VECTOR, refuse)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"x": X.astype("f8")}, "sample 0: input 'x' is float64, the model takes float32", id="type"
        ),
        pytest.param({"x": X[:, :2]}, r"'x' has shape \[1, 2\], the model takes \['batch', 3\]", id="shape"),
        pytest.param({"x": np.where(X == 6, np.nan, X)}, "sample 2: input 'x' holds NaN", id="NaN"),
        pytest.param({"x": np.where(X == 6, np.inf, X)}, "sample 2: input 'x' holds infinity", id="infinity"),
        pytest.param({"y": X}, "'y' is no input of the model; its inputs are x", id="unknown input"),
        pytest.param({"x": X[:19]}, "has 19 samples: edgewise needs at least 20", id="too few"),
        pytest.param({"x": X[:0]}, "is empty", id="none"),
        pytest.param({}, "holds no samples", id="no arrays"),
        pytest.param({"labels": LABELS}, "holds no samples", id="only labels"),
        pytest.param({"text": np.array(["a"] * COUNT)}, r"no \[\[pre\]\] steps are declared", id="raw"),
        pytest.param({"x": X, "labels": LABELS[1:]}, "'labels' has 19 entries for 20 samples", id="length"),
        pytest.param({"x": X, "labels": np.array(1)}, "'labels' has 0 entries", id="one label for all"),
        pytest.param(
            {"x": X, "labels": np.where(LABELS, np.nan, 1.0)}, "sample 1: its label is nan", id="NaN label"
        ),
        pytest.param({"x": X, "groups": np.zeros((COUNT, 2))}, "sample 0: its group is ndarray", id="group"),
        pytest.param({"x": X, "split": np.zeros((COUNT, 2))}, "sample 0: its split is ndarray", id="split"),
    ],
)
def test_arrays_that_cannot_be_samples_are_refused(
    change: dict[str, Any], message: str, write: Write, tmp_path: Path
) -> None:
    write(**change)
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path)
    assert refusal(error).startswith("samples.npz")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("return None", "raised TypeError: 'NoneType' object is not iterable", id="nothing"),
        pytest.param("yield 1 / 0", "raised ZeroDivisionError: division by zero", id="raises"),
        pytest.param("yield {'x': x}, 1, 2, 3", "yields 4 things", id="too many parts"),
        pytest.param("yield ()", "yields 0 things", id="no parts"),
        pytest.param("yield {'x': [[1, 2, 3]]}", "sample 0: input 'x' is list", id="a list"),
        pytest.param("yield {0: x}", r"sample 0 has no input 'x' \(it has: 0\)", id="a number for a name"),
        pytest.param("yield {'y': x}", r"sample 0 has no input 'x' \(it has: y\)", id="another name"),
        pytest.param("yield {'x': x, 'y': x}", "sample 0: 'y' is no input of the model", id="one too many"),
        pytest.param("yield {}", "sample 0 is raw input", id="an empty dict"),
        pytest.param("yield {'x': x}, {'boxes': []}", "sample 0: its label is dict", id="a label of its own"),
        pytest.param("yield {'x': x}, [[1], [1, 2]]", "sample 0: its label is list", id="ragged labels"),
        pytest.param("yield {'x': x}, 1, ['a']", "sample 0: its group is list", id="a list for a group"),
        pytest.param(
            "for i in range(20): yield {'x': x}, (None if i == 7 else 1)",
            "sample 7 has no label while others have",
            id="a label missing",
        ),
    ],
)
def test_a_function_that_yields_no_samples_is_refused(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        function(tmp_path, body)
    assert refusal(error).startswith("mine.py:samples")


def test_text_for_the_model_must_be_text_and_not_objects(tmp_path: Path) -> None:
    words = "yield {'x': np.array([['word']], dtype=object)}"
    (tmp_path / "mine.py").write_text(f"import numpy as np\ndef samples():\n    {words}\n")
    with pytest.raises(InputError, match="sample 0: input 'x' is object, the model takes str"):
        read(tmp_path, "mine.py:samples", (TensorSpec("x", "str", (None, 1)),))


def not_there(path: Path) -> None:
    assert not path.exists()


def text(path: Path) -> None:
    path.write_text("x,y\n1,2\n")


def truncated(path: Path) -> None:
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:200])


def garbled(path: Path) -> None:
    np.savez_compressed(path, x=X)
    data = bytearray(path.read_bytes())
    data[60:120] = bytes(60)
    path.write_bytes(data)


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{"a": 1}] * COUNT, dtype=object))


def one_array(path: Path) -> None:
    file = io.BytesIO()
    np.save(file, X)
    path.write_bytes(file.getvalue())


def other_member(path: Path) -> None:
    np.savez(path, x=X)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "hello")


def huge(path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 3)}
    file = io.BytesIO()
    npy: Any = np.lib.format  # typed in some versions of numpy only
    npy.write_array_header_1_0(file, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", file.getvalue())


@pytest.mark.parametrize(
    "damage", [not_there, text, truncated, garbled, pickled, one_array, other_member, huge]
)
def test_a_file_that_holds_no_arrays_is_refused_by_its_name(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    damage(tmp_path / "samples.npz")
    with pytest.raises(InputError, match=r"data .*samples\.npz (does not exist|cannot be read)"):
        read(tmp_path)


def test_a_function_in_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.py does not exist"):
        read(tmp_path, "mine.py:samples")


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        pytest.param(Sample({"x": X[:1].copy()}, label=1, group="g"), True, id="another label and group"),
        pytest.param(Sample({"x": np.asfortranarray(X)[:1]}), True, id="another memory layout"),
        pytest.param(Sample({"x": X[1:2]}), False, id="other numbers"),
        pytest.param(Sample({"x": X[:1].reshape(3, 1)}), False, id="another shape"),
        pytest.param(Sample({"y": X[:1]}), False, id="another name"),
        pytest.param(Sample({"x": X[:1].view(np.int32)}), False, id="another type"),
    ],
)
def test_samples_are_duplicates_when_their_inputs_are_equal(other: Sample, equal: bool) -> None:
    assert (Sample({"x": X[:1]}, label=0).digest() == other.digest()) is equal


def test_natural_shapes_are_counted_once_each() -> None:
    samples = [Sample({"x": np.zeros((1, n % 3))}) for n in range(9)]
    assert natural_shapes(samples) == 3


@pytest.mark.parametrize(("labels", "expected"), [({"labels": LABELS}, True), ({}, False)])
def test_a_data_set_is_labelled_when_its_samples_are(
    labels: dict[str, Any], expected: bool, write: Write, tmp_path: Path
) -> None:
    write(x=X, **labels)
    assert read(tmp_path).labelled is expected
