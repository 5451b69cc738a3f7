import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle.canonical import canonical_json, digest_bytes, digest_document, digest_file
from edgewise.errors import InputError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def number(digits: str) -> int | float:
    """Read an integer as JSON readers do: exactly up to 2**53, as a double beyond."""
    return int(digits) if abs(int(digits)) < 2**53 else float(digits)


@given(documents)
@settings(deadline=None)
def test_a_document_reads_back_as_it_was_written(document: Any) -> None:
    assert json.loads(canonical_json(document), parse_int=number) == document


@given(st.dictionaries(text, scalars, max_size=6), st.randoms())
@settings(deadline=None)
def test_the_order_of_keys_changes_nothing(document: dict[str, Any], random: Any) -> None:
    keys = list(document)
    random.shuffle(keys)
    assert canonical_json({key: document[key] for key in keys}) == canonical_json(document)


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, b"0"),
        (-0.0, b"0"),
        (1.0, b"1"),
        (4.5, b"4.5"),
        (2e-3, b"0.002"),
        (1e-27, b"1e-27"),
        (1e-7, b"1e-7"),
        (333333333.33333329, b"333333333.3333333"),
        (1e23, b"1e+23"),
        (1e20, b"100000000000000000000"),
        (5e-324, b"5e-324"),
        (1.7976931348623157e308, b"1.7976931348623157e+308"),
    ],
)
def test_numbers_are_written_as_in_the_appendix_of_rfc_8785(number: float, written: bytes) -> None:
    assert canonical_json(number) == written


def test_keys_are_sorted_by_utf_16_as_rfc_8785_says() -> None:
    document = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7}
    assert list(json.loads(canonical_json(document))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]


def test_there_is_no_white_space_and_text_stays_utf_8() -> None:
    assert canonical_json({"b": [1, 2], "a": "é\n"}) == '{"a":"é\\n","b":[1,2]}'.encode()


def test_a_struct_is_written_like_the_dict_of_its_fields() -> None:
    class Point(msgspec.Struct):
        y: int
        x: int

    assert canonical_json(Point(y=2, x=1)) == b'{"x":1,"y":2}'


def nested(depth: int) -> list[Any]:
    document: list[Any] = []
    for _ in range(depth):
        document = [document]
    return document


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param({"n": 2**53}, id="integer that JSON readers round"),
        pytest.param({1: "a"}, id="key that is not text"),
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param({"\ud800": 1}, id="lone surrogate in a key"),
        pytest.param(object(), id="object"),
        pytest.param(nested(100_000), id="nested beyond reason"),
    ],
)
def test_what_json_cannot_hold_is_refused(document: Any) -> None:
    with pytest.raises(InputError, match="canonical JSON"):
        canonical_json(document)


def test_the_digest_of_a_document_is_that_of_its_canonical_bytes() -> None:
    assert digest_document({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"weights")
    assert digest_file(tmp_path / "file") == digest_bytes(b"weights")


def test_the_digest_of_no_bytes_is_the_known_sha_256() -> None:
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
