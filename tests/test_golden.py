import io
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.bundle.golden import Difference, GoldenCase, compare, decode, encode
from edgewise.errors import InputError, TrustError

CASE = GoldenCase(
    inputs={"ids": np.array([[1, 2]], np.int64), "mask": np.array([[1, 1]], np.int64)},
    outputs={"scores": np.array([[0.25, 0.75]], np.float32)},
    raw=np.array("nice"),
)


def stored(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "golden.npz"
    path.write_bytes(data)
    return path


def difference(wanted: object, got: object) -> Difference:
    return compare([{"y": np.asarray(wanted)}], [{"y": np.asarray(got)}])


def test_the_same_cases_give_the_same_bytes() -> None:
    again = GoldenCase(dict(CASE.inputs), dict(CASE.outputs), CASE.raw)
    assert encode([CASE]) == encode([again])


def test_no_time_is_stored() -> None:
    with zipfile.ZipFile(io.BytesIO(encode([CASE]))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_cases_read_back_in_order(tmp_path: Path) -> None:
    cases = [GoldenCase({"x": np.array([i])}, {"y": np.array([i])}) for i in range(12)]
    read = decode(stored(tmp_path, encode(cases)))
    assert [int(case.inputs["x"][0]) for case in read] == list(range(12))


def test_inputs_outputs_and_raw_text_read_back(tmp_path: Path) -> None:
    (case,) = decode(stored(tmp_path, encode([CASE])))
    assert (list(case.inputs), list(case.outputs), case.raw.item() if case.raw is not None else None) == (
        ["ids", "mask"],
        ["scores"],
        "nice",
    )


def test_a_case_without_raw_input_reads_back_without_one(tmp_path: Path) -> None:
    (case,) = decode(stored(tmp_path, encode([GoldenCase({"x": np.ones(2)}, {"y": np.ones(2)})])))
    assert case.raw is None


def test_the_final_answer_reads_back(tmp_path: Path) -> None:
    answered = GoldenCase(CASE.inputs, CASE.outputs, answer="naïve")
    assert [case.answer for case in decode(stored(tmp_path, encode([answered, CASE])))] == ["naïve", None]


def test_a_tensor_name_may_hold_slashes(tmp_path: Path) -> None:
    case = GoldenCase({"serving/in:0": np.ones(2)}, {"model/dense/out": np.ones(2)})
    (read,) = decode(stored(tmp_path, encode([case])))
    assert (*read.inputs, *read.outputs) == ("serving/in:0", "model/dense/out")


@given(
    hnp.arrays(st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_]), hnp.array_shapes())
)
@settings(deadline=None, max_examples=40)
def test_every_array_reads_back_with_its_type_and_shape(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    path = stored(tmp_path_factory.mktemp("golden"), encode([GoldenCase({"x": array}, {})]))
    read = decode(path)[0].inputs["x"]
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_an_array_of_objects_is_not_written() -> None:
    with pytest.raises(InputError, match="in/0/x"):
        encode([GoldenCase({"x": np.array([{}], object)}, {})])


class Exploding:
    """Leaves a trace when it is unpickled."""

    trace: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Exploding.trace.append, ("unpickled",)


def test_a_pickled_array_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{"in/0/x": np.array([Exploding()], object)})  # type: ignore[arg-type]
    with pytest.raises(TrustError, match="not a golden-input file"):
        decode(stored(tmp_path, buffer.getvalue()))
    assert Exploding.trace == []


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def foreign() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(pickle.dumps([1]), id="pickle"),
        pytest.param(npy(), id="one array"),
        pytest.param(foreign(), id="arrays of another program"),
        pytest.param(encode([CASE])[:-40], id="truncated"),
    ],
)
def test_what_is_not_a_golden_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(TrustError, match=r"golden\.npz is not a golden-input file"):
        decode(stored(tmp_path, data))


@given(st.integers(0, len(encode([CASE])) - 1), st.integers(1, 255))
@settings(deadline=None, max_examples=150)
def test_a_damaged_file_is_read_or_refused_but_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    data = bytearray(encode([CASE]))
    data[position] ^= flip
    with suppress(TrustError):
        decode(stored(tmp_path_factory.mktemp("golden"), bytes(data)))


def test_equal_outputs_agree_and_differ_by_nothing() -> None:
    assert difference([[0.1, 0.9]], [[0.1, 0.9]]) == Difference(1, 0.0, 0.0, 0.0, 1.0)


def test_the_largest_difference_is_absolute_and_relative_to_the_largest_reference() -> None:
    found = difference([1.0, -4.0], [1.5, -4.0])
    assert (found.max_abs, found.max_rel) == (0.5, 0.125)


def test_one_flipped_decision_of_many_moves_the_rms_little_and_noise_moves_it_to_1() -> None:
    wanted = np.eye(100)
    flipped = np.vstack([wanted[1], wanted[1:]])
    noise = np.roll(wanted, 1, axis=1)
    assert difference(wanted, flipped).rms == pytest.approx(np.sqrt(2 / 100))
    assert difference(wanted, noise).rms == pytest.approx(np.sqrt(2))


def test_the_rms_is_that_of_the_output_which_differs_most() -> None:
    large, small = np.full(4, 1000.0), np.full(4, 0.001)
    assert compare([{"a": large, "b": small}], [{"a": large, "b": 2 * small}]).rms == pytest.approx(1.0)


def test_agreement_is_the_share_of_equal_top_1_positions() -> None:
    assert difference([[0.1, 0.9], [0.8, 0.2]], [[0.2, 0.8], [0.4, 0.6]]).agreement == 0.5


def test_agreement_looks_at_the_first_float_output() -> None:
    wanted = {"label": np.array([3, 7]), "scores": np.array([[0.1, 0.9]])}
    got = {"label": np.array([7, 3]), "scores": np.array([[0.2, 0.8]])}
    assert compare([wanted], [got]).agreement == 1.0


def test_agreement_without_a_float_output_looks_at_the_first() -> None:
    assert difference([[3, 7]], [[7, 3]]).agreement == 0.0


def test_a_single_score_agrees_when_it_rounds_to_the_same_number() -> None:
    assert difference([[0.2], [2.4]], [[0.4], [2.6]]).agreement == 0.5


def test_nan_in_an_answer_is_an_infinite_difference() -> None:
    assert difference([1.0, 2.0], [1.0, np.nan]).max_abs == np.inf


def test_nan_in_the_reference_is_an_infinite_difference_too() -> None:
    assert difference([np.nan, 2.0], [np.nan, 2.0]).max_abs == np.inf


def test_nan_in_a_single_score_never_agrees() -> None:
    assert difference([[np.nan]], [[np.nan]]).agreement == 0.0


def test_equal_infinities_differ_by_nothing() -> None:
    assert difference([-np.inf, 2.0], [-np.inf, 2.5]) == Difference(1, 0.5, 0.25, 0.25, 1.0)


def test_a_missing_infinity_is_an_infinite_difference() -> None:
    found = difference([-np.inf, 2.0], [-9.0, 2.0])
    assert (found.max_abs, found.max_rel) == (np.inf, np.inf)


def test_another_shape_is_an_infinite_difference_without_agreement() -> None:
    assert difference([[1.0, 2.0]], [1.0, 2.0]) == Difference(1, np.inf, np.inf, np.inf, 0.0)


def test_a_missing_output_is_an_infinite_difference_without_agreement() -> None:
    assert compare([{"y": np.ones(2)}], [{}]) == Difference(1, np.inf, np.inf, np.inf, 0.0)


def test_labels_as_text_are_equal_or_not() -> None:
    assert difference(["cat", "dog"], ["cat", "cow"]).max_abs == 1.0


def test_empty_outputs_are_not_compared() -> None:
    assert difference(np.empty((0, 4)), np.empty((0, 4))).max_abs == 0.0


def test_a_case_without_an_answer_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([{"y": np.ones(2)}], [])
