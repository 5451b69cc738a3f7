import pytest

from edgewise import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError, 2),
        (errors.GoalError, 1),
        (errors.ToolchainError, 3),
        (errors.TrustError, 4),
    ],
)
def test_each_error_carries_the_exit_code_of_the_contract(
    error: type[errors.EdgewiseError], code: int
) -> None:
    assert error("why").exit_code == code


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_every_error_can_be_caught_as_an_edgewise_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.EdgewiseError)


def test_success_and_interruption_have_the_exit_codes_of_the_contract() -> None:
    assert (errors.OK, errors.INTERRUPTED) == (0, 130)


def test_a_missing_extra_names_the_exact_pip_command() -> None:
    assert str(errors.missing_extra("openvino", "openvino")) == (
        "openvino is not installed. Run: pip install 'edgewise[openvino]'"
    )


def test_a_missing_extra_is_a_toolchain_error() -> None:
    assert errors.missing_extra("pillow", "image").exit_code == 3
