"""`edgewise tune`: what is faster here in round after round is kept and remembered; everything else stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import bundles
from conftest import Command
from edgewise.bundle import store
from edgewise.device import tune as tuning
from edgewise.device import tuned as memory
from edgewise.device.runner import open_bundle
from edgewise.device.tuned import Setup, Tuned
from edgewise.errors import DeviceError, InputError, TrustError
from edgewise.targets.onnxruntime import session

Clock = Callable[[Setup], float]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "bundle")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock], None]:
    """Return a function that lets a clock of the test's tell how long a setup takes, in ms."""

    def replace(clock: Clock) -> None:
        monkeypatch.setattr(tuning._Race, "p50", lambda _, setup: clock(setup))

    return replace


def with_arena(setup: Setup) -> bool:
    return setup.settings.get("arena", "on") == "on"


def test_what_is_faster_in_every_round_is_kept(bundle: Path, timed: Callable[[Clock], None]) -> None:
    timed(lambda setup: (8 if setup.threads == 1 else 10) * (1 if with_arena(setup) else 0.5))
    found = tuning.tune(bundle)
    assert found.setup == Setup(variant="onnxruntime", threads=1, settings={"arena": "off"})
    assert found.ratio
    assert found.ratio.value == pytest.approx(0.4)
    assert found.p50.value == pytest.approx(4)


def test_where_nothing_is_faster_the_default_stays(bundle: Path, timed: Callable[[Clock], None]) -> None:
    timed(lambda setup: 10 if setup == Setup(variant="onnxruntime") else 11)
    found = tuning.tune(bundle)
    assert found.setup == found.default
    assert found.ratio is None


def test_who_won_by_luck_must_win_again(bundle: Path, timed: Callable[[Clock], None]) -> None:
    def lucky_at_first() -> Iterator[float]:
        yield from [9, 10] * tuning.ROUNDS
        while True:
            yield 10

    times = lucky_at_first()
    timed(lambda setup: next(times))
    found = tuning.tune(bundle)
    assert found.tried[0].outcome == "faster"
    assert found.setup == found.default


def test_a_setup_that_fails_is_one_line(bundle: Path, timed: Callable[[Clock], None]) -> None:
    def clock(setup: Setup) -> float:
        if setup.settings.get("graph") == "basic":
            raise DeviceError("out of memory")
        return 10

    timed(clock)
    assert [tried.outcome for tried in tuning.tune(bundle).tried][-1] == "out of memory"


def test_a_variant_that_was_not_shown_to_hold_its_floor_is_no_choice(
    tmp_path: Path, timed: Callable[[Clock], None]
) -> None:
    path = bundles.write(tmp_path / "two", runtimes=["onnxruntime", "openvino"])
    timed(lambda setup: 1 if setup.variant == "openvino" else 10)
    assert tuning.tune(path).setup.variant == "onnxruntime"


@pytest.fixture
def tuned(bundle: Path, timed: Callable[[Clock], None]) -> Tuned:
    """The bundle, tuned: one thread is best."""
    timed(lambda setup: 5 if setup.threads == 1 else 10)
    return tuning.tune(bundle)


@pytest.mark.usefixtures("tuned")
def test_open_uses_what_was_found(bundle: Path) -> None:
    with open_bundle(bundle) as model:
        assert model.reason == "tuned on this machine: onnxruntime, 1 thread"


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize("asked", [{"tier": "all"}, {"threads": 2}])
def test_what_the_caller_says_comes_first(bundle: Path, asked: dict[str, str | int]) -> None:
    with open_bundle(bundle, **asked) as model:  # type: ignore[arg-type]
        assert model.reason == "variant of tier 'all'"


@pytest.mark.usefixtures("tuned")
def test_on_another_processor_it_is_forgotten(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "processor", lambda: "another")
    assert memory.recall(store.read(bundle)) is None


def test_of_another_version_of_the_runtime_it_is_forgotten(bundle: Path, tuned: Tuned) -> None:
    older = msgspec.structs.replace(tuned, where=tuned.where | {"onnxruntime": "1.0"})
    memory.remember(store.read(bundle), older)
    assert memory.recall(store.read(bundle)) is None


@pytest.mark.parametrize("text", ["", "{}", '{"setup": 1}'])
def test_a_damaged_memory_is_none(bundle: Path, tuned: Tuned, text: str) -> None:
    memory.remember(store.read(bundle), tuned).write_text(text)
    with open_bundle(bundle) as model:
        assert model.reason == "variant of tier 'all'"


def test_a_changed_bundle_is_not_tuned(bundle: Path) -> None:
    (bundle / "artifacts" / "stray").touch()
    with pytest.raises(TrustError, match="stray"):
        tuning.tune(bundle)


def test_a_setting_that_a_target_does_not_have_is_refused(bundle: Path) -> None:
    model = next((bundle / "artifacts").glob("*/model.onnx"))
    with pytest.raises(InputError, match="no setting optimized_model_filepath"):
        session.load(model, [], settings={"optimized_model_filepath": "/tmp/x"})


@pytest.mark.slow
def test_the_verb_measures_for_real_and_says_what_it_found(bundle: Path, command: Command) -> None:
    said = command("tune", bundle, "--json")
    found = json.loads(said.out)
    assert found["p50"]["value"] > 0
    assert len(found["tried"]) >= 5
    assert found["setup"]["variant"] == "onnxruntime"
