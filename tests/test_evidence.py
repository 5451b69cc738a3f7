from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle.evidence import Evidence, Figure


def test_the_evidence_words_are_those_of_the_contract() -> None:
    assert [str(word) for word in Evidence] == [
        "measured",
        "emulated",
        "compiled",
        "predicted",
        "published",
        "none",
    ]


def test_a_figure_without_an_evidence_word_cannot_be_read() -> None:
    with pytest.raises(msgspec.ValidationError, match="evidence"):
        msgspec.convert({"unit": "ms", "value": 3.0}, Figure)


def test_a_figure_with_an_invented_evidence_word_cannot_be_read() -> None:
    with pytest.raises(msgspec.ValidationError, match="estimated"):
        msgspec.convert({"unit": "ms", "value": 3.0, "evidence": "estimated"}, Figure)


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param({"evidence": "none", "value": 3.0}, id="none with a value"),
        pytest.param({"evidence": "none", "low": 1.0, "high": 2.0}, id="none with an interval"),
        pytest.param({"evidence": "measured"}, id="measured without a value"),
        pytest.param({"evidence": "predicted", "value": 3.0}, id="predicted without an interval"),
        pytest.param(
            {"evidence": "predicted", "value": 3.0, "low": 2.0}, id="predicted with half an interval"
        ),
        pytest.param({"evidence": "published", "value": 3.0}, id="published without its source"),
        pytest.param({"evidence": "published", "value": 3.0, "source": ""}, id="published, empty source"),
        pytest.param({"evidence": "emulated", "value": 3.0}, id="speed from an emulator"),
    ],
)
def test_a_figure_cannot_claim_more_than_its_evidence(claim: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"unit": "ms"} | claim, Figure)


def test_the_rule_holds_for_figures_made_in_code_too() -> None:
    with pytest.raises(ValueError, match="interval"):
        Figure(evidence=Evidence.PREDICTED, unit="ms", value=3.0)


def test_an_emulator_may_vouch_for_numerics() -> None:
    assert Figure(evidence=Evidence.EMULATED, unit="accuracy", value=0.9).value == 0.9


def test_an_unknown_figure_says_none_and_has_no_value() -> None:
    assert msgspec.to_builtins(Figure.none("ms", on="phone")) == {
        "evidence": "none",
        "unit": "ms",
        "on": "phone",
    }


figures = st.builds(
    Figure,
    evidence=st.just(Evidence.MEASURED),
    unit=st.text(),
    value=st.floats(allow_nan=False),
    low=st.none() | st.floats(allow_nan=False),
    split=st.none() | st.text(),
)


@given(figures)
@settings(deadline=None)
def test_a_figure_reads_back_as_it_was_written(figure: Figure) -> None:
    assert msgspec.convert(msgspec.to_builtins(figure), Figure) == figure
