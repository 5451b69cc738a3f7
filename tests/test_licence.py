import pytest

from edgewise.bundle.licence import warnings_for
from edgewise.bundle.manifest import Licence


def test_known_permissive_licences_give_no_warning() -> None:
    assert warnings_for(Licence(model="Apache-2.0", data="CC-BY-4.0")) == ()


@pytest.mark.parametrize("value", [None, "", "  ", "unknown", "NOASSERTION", "NONE"])
def test_a_licence_nobody_stated_is_unknown(value: str | None) -> None:
    (warning,) = warnings_for(Licence(model=value, data="MIT"))
    assert warning.startswith("the model's licence is unknown")


@pytest.mark.parametrize(
    "value",
    [
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "cc-by-nc-nd-3.0",
        "PolyForm-Noncommercial-1.0.0",
        "LicenseRef-non-commercial",
        "for non commercial use",
    ],
)
def test_a_licence_that_forbids_commercial_use_is_named(value: str) -> None:
    (warning,) = warnings_for(Licence(model="MIT", data=value))
    assert warning.startswith(f"the data's licence ({value}) forbids commercial use")


@pytest.mark.parametrize("value", ["NCSA", "BSD-3-Clause", "CC-BY-SA-4.0", "NCGL-UK-2.0", "OGL-Canada-2.0"])
def test_letters_that_only_look_like_non_commercial_give_no_warning(value: str) -> None:
    assert warnings_for(Licence(model=value, data="MIT")) == ()


def test_model_and_data_are_warned_of_separately() -> None:
    assert len(warnings_for(Licence())) == 2
