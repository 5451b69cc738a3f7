from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import InputError
from edgewise.lab import config, units
from edgewise.lab.choose.goals import AtMost
from edgewise.lab.data.interval import Floor

MINIMAL = """\
[model]
path = "models/net.onnx"
[data]
samples = "samples.npz"
"""
FLEET = """\
[[tier]]
name = "laptop"
share = 0.4
machine = "this"

[[tier]]
name = "phone"
share = 0.6
runtimes = ["onnxruntime"]
[tier.goal]
size = "20 MB"
"""
WITH_FLEET = MINIMAL + '[fleet]\nfile = "fleet.toml"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    for name in ("models/net.onnx", "tokenizer.json"):
        (tmp_path / name).touch()
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


def load(project: Path, text: str = MINIMAL) -> config.Config:
    (project / "edgewise.toml").write_text(text, encoding="utf-8")
    return config.load(project / "edgewise.toml")


def refused(project: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        load(project, text)
    return str(error.value).replace(f"{project}/", "")


def load_fleet(project: Path, fleet: str, text: str = WITH_FLEET) -> config.Config:
    (project / "fleet.toml").write_text(fleet)
    return load(project, text)


# What is understood


def test_a_model_and_data_are_enough(project: Path) -> None:
    found = load(project)
    assert (found.name, found.task, found.model) == (
        "net",
        "unspecified",
        project / "models" / "net.onnx",
    )


def test_a_folder_stands_for_the_file_in_it(project: Path) -> None:
    load(project)
    assert config.load(str(project)).path == project / "edgewise.toml"


def test_paths_are_relative_to_the_file(project: Path) -> None:
    assert load(project).find("tokenizer.json") == project / "tokenizer.json"


def test_what_edgewise_init_writes_is_read(project: Path) -> None:
    (project / "model.onnx").touch()
    found = load(project, config.TEMPLATE)
    assert found.goals["this machine"].limits == {
        "latency_p95": AtMost("p95", 30.0),
        "size": AtMost("size", 25e6, exact=True),
        "memory": AtMost("memory", 200e6),
    }


def test_the_commented_lines_of_the_template_are_read_too(project: Path) -> None:
    (project / "model.onnx").touch()
    lines = [line.removeprefix("# ") for line in config.TEMPLATE.splitlines()[1:]]
    found = load(project, "\n".join(lines))
    assert (found.licence.model, [tier.name for tier in found.tiers], len(found.pre), len(found.post)) == (
        "Apache-2.0",
        ["laptop", "phone"],
        1,
        1,
    )


def test_without_a_goal_99_percent_and_latency_are_asked_for(project: Path) -> None:
    goals = load(project).goals["this machine"]
    assert (goals.floor, goals.limits, goals.prefer) == (Floor(0.99, None, 0.0), {}, "latency")


def test_without_a_fleet_there_is_this_machine(project: Path) -> None:
    (tier,) = load(project).tiers
    assert (tier.here, tier.share) == (True, 1.0)


def test_a_tiers_goal_replaces_that_key_and_leaves_the_others(project: Path) -> None:
    found = load(project, WITH_FLEET + '[goal]\nsize = "25 MB"\nmemory = "1 GB"\n')
    assert {name: goals.limits["size"].limit for name, goals in found.goals.items()} == {
        "laptop": 25e6,
        "phone": 20e6,
    }
    assert found.goals["phone"].limits["memory"].limit == 1e9


def test_a_tier_without_margin_may_undo_the_common_one(project: Path) -> None:
    found = load_fleet(project, FLEET + "margin = 0.0\n", WITH_FLEET + "[goal]\nmargin = 0.1\n")
    assert [goals.floor.margin for goals in found.goals.values()] == [0.1, 0.0]


def test_only_the_tier_marked_this_is_here(project: Path) -> None:
    assert [tier.here for tier in load(project, WITH_FLEET).tiers] == [True, False]


def test_shares_may_be_rounded(project: Path) -> None:
    thirds = "".join(f'[[tier]]\nname = "{n}"\nshare = 0.333\n' for n in "abc")
    assert len(load_fleet(project, thirds).tiers) == 3


# What is refused: file, line and key are named


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "sed = 1\n", "line 5: data.sed: unknown key 'sed'"),
        (MINIMAL + "[gaol]\n", "line 5: gaol: unknown key 'gaol'"),
        (MINIMAL + "[goal]\n\nlatency = '3 ms'\n", "line 7: goal.latency: unknown key 'latency'"),
        ("model.path = 'm'\nmodel.pth = 'm'\n[data]\nsamples='s'", "line 2: model.pth: unknown key 'pth'"),
        (
            MINIMAL + "[[pre]]\nop = 'tokenize'\nfile = 'f'\nmax = 3\n",
            "line 8: pre[0].max: unknown key 'max'",
        ),
        ("[data]\nsamples = 's.npz'\n", "model: missing key 'model'"),
        ("[model]\n[data]\nsamples = 's.npz'\n", "line 1: model.path: missing key 'path'"),
        (MINIMAL + "[[post]]\noutput = 'y'\n", "line 5: post[0].op: missing key 'op'"),
        (MINIMAL + "[[post]]\nop = 'label'\n", "line 6: post[0].op: Invalid value 'label'"),
        (MINIMAL + "seed = 'x'\n", "line 5: data.seed: Expected `int`, got `str`"),
        (MINIMAL + "goal = {size = 25}\n", "line 5: data.goal: unknown key 'goal'"),
        ("goal = {size = 25}\n" + MINIMAL, "line 1: goal.size: Expected `str | null`, got `int`"),
        ("[[model]]\npath = 'm'\n" + MINIMAL[-31:], "line 1: model: Expected `object`, got `array`"),
        (MINIMAL + "[model]\n", "is not valid TOML: Cannot declare ('model',) twice (at line 5, column 7)"),
        (MINIMAL + "[goal\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 5"),
        ("a = " + "[" * 20000, "is not valid TOML: maximum recursion depth exceeded"),
        ("a = " + "1" * 5000, "is not valid TOML: Exceeds the limit (4300 digits)"),
        ("", "model: missing key 'model'"),
    ],
)
def test_a_file_of_another_form_is_refused(project: Path, text: str, message: str) -> None:
    assert refused(project, text).removeprefix("edgewise.toml").lstrip(",: ").startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("size = '25'", "goal.size: bad unit in '25': write a size such as '25 MB'"),
        ("size = '25 MBit'", "goal.size: bad unit in '25 MBit'"),
        ("size = ''", "goal.size: bad unit in ''"),
        ("size = '-5 MB'", "goal.size: impossible goal '-5 MB': it must be above zero"),
        ("size = '1e999 MB'", "goal.size: impossible goal '1e999 MB'"),
        ("memory = '0 MB'", "goal.memory: impossible goal '0 MB'"),
        ("latency_p95 = 'nan ms'", "goal.latency_p95: bad unit in 'nan ms': write a time such as '30 ms'"),
        ("latency_p95 = '30 MB'", "goal.latency_p95: bad unit in '30 MB'"),
        ("quality = '101% of original'", "goal.quality: impossible goal '101% of original'"),
        ("quality = '0% of original'", "goal.quality: impossible goal '0% of original'"),
        ("quality = '-1% of original'", "goal.quality: impossible goal '-1% of original'"),
        ("quality = '0'", "goal.quality: impossible goal '0': it must be above zero"),
        ("quality = '-0.3'", "goal.quality: impossible goal '-0.3': it must be above zero"),
        ("quality = '120%'", "goal.quality: impossible goal '120%': the metric is never above 1"),
        ("quality = '99'", "goal.quality: impossible goal '99': the metric is never above 1"),
        ("quality = ''", "goal.quality: bad quality ''"),
        ("quality = 'good'", "goal.quality: bad quality 'good': write '99% of original' or"),
        ("quality = '1.2.3'", "goal.quality: '1.2.3' is not a number"),
        ("margin = -0.1", "goal.margin: -0.1 is not a finite number of zero or more"),
        ("margin = nan", "goal.margin: nan is not a finite number"),
        ("margin = inf", "goal.margin: inf is not a finite number"),
        ("prefer = 'speed'", "goal.prefer: 'speed' is not one of latency, size"),
    ],
)
def test_a_goal_that_cannot_be_meant_is_refused(project: Path, line: str, message: str) -> None:
    said = refused(project, f"{MINIMAL}metric = 'accuracy'\n[goal]\n{line}\n")
    assert said.startswith(f"edgewise.toml, line 7, {message}")


@pytest.mark.parametrize("metric", ["wer", "perplexity", "mine.py:score"])
def test_a_value_above_one_is_a_goal_where_the_metric_has_no_bound(project: Path, metric: str) -> None:
    found = load(project, f"{MINIMAL}metric = '{metric}'\n[goal]\nquality = '3.5'\n")
    assert found.goals["this machine"].floor.absolute == 3.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metric = 'acuracy'", "data.metric: unknown metric 'acuracy': known are accuracy"),
        ("seed = -1", "data.seed: -1 is below zero"),
        ("calibration = 1", "data.calibration: 1 samples are too few: give 2 or more"),
        ("search = 4", "data.search: 4 samples are too few: give 5 or more"),
        ("test = 0", "data.test: 0 samples are too few"),
    ],
)
def test_data_that_cannot_be_meant_is_refused(project: Path, line: str, message: str) -> None:
    assert refused(project, f"{MINIMAL}{line}\n").startswith(f"edgewise.toml, line 5, {message}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("threads = -1", "measure.threads: -1 must be 0 (tuned here) to"),
        ("rounds = 0", "measure.rounds: 0 must be 1 or more"),
        ("timeout_s = 0", "measure.timeout_s: 0.0 must be a finite number above 0"),
        ("timeout_s = nan", "measure.timeout_s: nan must be"),
        ("timeout_s = inf", "measure.timeout_s: inf must be"),
    ],
)
def test_measuring_that_cannot_be_meant_is_refused(project: Path, line: str, message: str) -> None:
    assert refused(project, f"{MINIMAL}[measure]\n{line}\n").startswith(f"edgewise.toml, line 6, {message}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (MINIMAL.replace("net.onnx", "none"), "line 2, model.path: models/none does not exist"),
        (WITH_FLEET.replace("fleet.toml", "none"), "line 6, fleet.file: none does not exist"),
        (WITH_FLEET.replace("fleet.toml", "a\\u0000b"), "line 6, fleet.file: a\0b does not exist"),
        (MINIMAL + "[[pre]]\nop = 'tokenize'\nfile = 'none'\n", "line 7, pre[0].file: none does not exist"),
        (
            MINIMAL
            + "[[post]]\nop = 'softmax'\noutput = 'y'\n[[post]]\nop = 'ctc'\noutput = 'y'\nfile = 'none'",
            "line 11, post[1].file: none does not exist",
        ),
    ],
)
def test_a_file_that_is_not_there_is_named_with_its_key(project: Path, text: str, place: str) -> None:
    assert refused(project, text) == f"edgewise.toml, {place}"


def test_a_missing_edgewise_toml_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"edgewise\.toml does not exist: `edgewise init` writes one"):
        config.load(tmp_path)


def test_a_file_that_is_not_utf_8_is_refused(project: Path) -> None:
    (project / "edgewise.toml").write_bytes("name = 'café'".encode("latin-1"))
    with pytest.raises(InputError, match=r"edgewise\.toml cannot be read: 'utf-8' codec"):
        config.load(project)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.4", "1.4", ", line 3, tier[0].share: 1.4 is not between 0 and 1"),
        ("0.6", "nan", ", line 8, tier[1].share: nan is not between 0 and 1"),
        ("0.6", "0.5", ": the tiers' shares sum to 0.9, not 1"),
        ('"phone"', '"laptop"', ", line 7, tier[1].name: two tiers are called 'laptop'"),
        ('"this"', '"that"', ", line 4, tier[0].machine: only \"this\" is known, got 'that'"),
        ('["onnxruntime"]', "[]", ", line 9, tier[1].runtimes: name at least one runtime"),
        (
            "onnxruntime",
            "abacus",
            ", line 9, tier[1].runtimes: tier 'phone': unknown runtime 'abacus'; known are ",
        ),
        ("size =", "sise =", ", line 11: tier[1].goal.sise: unknown key 'sise'"),
        ("20 MB", "20 MBit", ", line 11, tier[1].goal.size: bad unit in '20 MBit'"),
        ('size = "20 MB"', 'quality = "7"', ", line 11, tier[1].goal.quality: impossible goal '7'"),
        (FLEET, "tier = []", " has no [[tier]]: add one, or leave [fleet] out"),
        (FLEET, "", ": tier: missing key 'tier'"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused_by_its_own_file(
    project: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError) as error:
        load_fleet(project, FLEET.replace(old, new))
    assert str(error.value).startswith(f"{project / 'fleet.toml'}{message}")


# Quantities


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (units.parse_milliseconds, "30 ms", 30.0),
        (units.parse_milliseconds, " 1.5s ", 1500.0),
        (units.parse_milliseconds, "250us", 0.25),
        (units.parse_milliseconds, ".5 µs", 0.0005),
        (units.parse_size, "25 MB", 25e6),
        (units.parse_size, "3 kib", 3072.0),
        (units.parse_size, "1e3 B", 1000.0),
        (units.parse_size, "0.5 GiB", 2.0**29),
        (units.parse_quality, "99% of original", (0.99, None)),
        (units.parse_quality, "99.5 % of the original", (0.995, None)),
        (units.parse_quality, "100% of original", (1.0, None)),
        (units.parse_quality, "0.80", (None, 0.8)),
        (units.parse_quality, "80%", (None, 0.8)),
    ],
)
def test_a_quantity_is_read_as_people_write_it(parse: Callable[[str], Any], text: str, expected: Any) -> None:
    assert parse(text) == pytest.approx(expected)


@given(st.text(max_size=12))
@settings(deadline=None)
def test_any_other_text_is_refused_and_never_a_crash(text: str) -> None:
    for parse in (units.parse_milliseconds, units.parse_size, units.parse_quality):
        try:
            parse(text)
        except InputError as error:
            assert repr(text) in str(error)  # noqa: PT017 - most texts are refused, not all
