"""`recipe.json`: what was built is built again, byte for byte, and what has changed since is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import numpy_helper

import edgewise
from conftest import Command
from edgewise import report
from edgewise.bundle import store
from edgewise.errors import InputError
from edgewise.facade import Build
from edgewise.lab import config, recorded
from edgewise.lab.choose.choice import choose
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets.building import NncfPtq, Original, WeightInt8
from edgewise.targets.onnxruntime.build import DynamicInt8
from projects import Project

PROTECTED = Candidate(NncfPtq(protected=("scores",)), "onnxruntime")
TRIED = (
    Candidate(Original(), "onnxruntime"),
    Candidate(DynamicInt8(), "onnxruntime"),
    Candidate(WeightInt8(), "openvino"),
    PROTECTED,
)
Document = dict[str, Any]


@pytest.fixture(scope="module")
def small(digits_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, asking for small files."""
    project = digits_project.copy(tmp_path_factory.mktemp("small") / "project")
    project.set('size = "1 MB"', 'size = "1 MB"\nprefer = "size"')
    project.set("rounds = 6", "rounds = 1")
    return project


@pytest.fixture(scope="module")
def first(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build that searched, among four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgewise.lab.search.ladder.first_rungs", lambda *_, **__: TRIED)
        return edgewise.build(small.config, tmp_path_factory.mktemp("first") / "out")


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whoever searches."""
    monkeypatch.setattr("edgewise.lab.pipeline._searched", lambda *_, **__: pytest.fail("it searched"))


@pytest.fixture(scope="module")
def again(first: Build, small: Project, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The same from its recipe, with an empty cache, and no way to search."""
    folder = tmp_path_factory.mktemp("again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgewise.lab.pipeline._searched", lambda *_, **__: pytest.fail("it searched"))
        return edgewise.build(small.config, folder / "out", cache=folder / "cache", recipe=recipe_of(first))


def recipe_of(built: Build) -> Path:
    return built.report.parent / "recipe.json"


def read(built: Build) -> Document:
    document: Document = json.loads(recipe_of(built).read_bytes())
    return document


def artifacts(built: Build) -> dict[str, str]:
    return {variant.id: variant.artifact for variant in store.read(built.path).model.variants}


@pytest.mark.slow
def test_a_build_records_what_each_tier_got_and_what_it_was_made_from(first: Build) -> None:
    document = read(first)
    got = {tier: one["id"] for one in document["variants"] for tier in one["tiers"]}
    assert got == {tier.name: tier.chosen for tier in first.result.tiers}
    assert document["made_from"].keys() >= {"model", "samples", "seed", "machine", "toolchains", "threads"}
    for one in document["variants"]:
        row = first.result.row(one["id"])
        assert (one["artifact"], one["size"]) == (row.artifact, row.figures["size"].value)


@pytest.mark.slow
def test_a_rebuild_with_another_cache_has_the_same_bytes_and_says_so(first: Build, again: Build) -> None:
    assert artifacts(again) == artifacts(first)
    for name, digest in artifacts(first).items():
        assert f"{name}: the bytes equal the recorded {digest[:12]}" in again.result.notes


@pytest.mark.slow
def test_a_rebuild_gives_each_tier_what_it_had_and_says_why_then(first: Build, again: Build) -> None:
    for then, now in zip(first.result.tiers, again.result.tiers, strict=True):
        assert now.chosen == then.chosen
        assert now.reason == f"taken from recipe.json, where it was the choice: {then.reason}"


@pytest.mark.slow
def test_a_rebuild_judges_and_claims_nothing_but_what_the_recipe_names_and_the_original(
    first: Build, again: Build
) -> None:
    assert {row.id for row in again.result.candidates} == {"original", *artifacts(first)}
    assert {claim.quality.split for claim in again.result.claims} == {"test"}
    assert again.result.exit_code == first.result.exit_code
    assert again.result.command.endswith("--recipe recipe.json")


@pytest.mark.slow
def test_the_recipe_of_a_rebuild_is_the_recipe_itself(first: Build, again: Build) -> None:
    for one, other in zip(read(first)["variants"], read(again)["variants"], strict=True):
        assert one.keys() == other.keys()
        assert {k: v for k, v in one.items() if k != "tiers"} == {
            k: v for k, v in other.items() if k != "tiers"
        }


@pytest.mark.slow
def test_the_recorded_rows_and_nothing_else_give_the_choice_again(first: Build, small: Project) -> None:
    asked = config.load(small.config)
    rows = report.read(first.report.with_name("report.json")).candidates
    holds = {row.id: row.holds_floor for row in rows}  # both tiers have one floor
    for tier, then in zip(asked.tiers, first.result.tiers, strict=True):
        for order in (rows, rows[::-1]):
            made = choose(order, dict(holds), tier, asked.goals[tier.name])
            assert (made.candidate, made.reason) == (then.chosen, then.reason)


@pytest.mark.slow
@pytest.mark.usefixtures("searching")
def test_a_row_of_a_report_is_a_recipe_and_protected_layers_come_back_byte_for_byte(
    first: Build, small: Project, tmp_path: Path
) -> None:
    row = msgspec.to_builtins(first.result.row(PROTECTED.id))
    assert row["recipe"]["protected"] == ["scores"]
    (tmp_path / "row.json").write_text(json.dumps(row))
    built = edgewise.build(
        small.config, tmp_path / "out", cache=tmp_path / "cache", recipe=tmp_path / "row.json"
    )
    assert f"{PROTECTED.id}: the bytes equal the recorded {row['artifact'][:12]}" in built.result.notes
    assert {tier.chosen for tier in built.result.tiers} == {PROTECTED.id}


@pytest.mark.slow
@pytest.mark.usefixtures("searching")
def test_a_changed_byte_of_the_model_and_another_calibration_set_are_noticed(
    first: Build, small: Project, tmp_path: Path
) -> None:
    project = small.copy(tmp_path / "project")
    proto = onnx.load(project.model)
    bias = next(one for one in proto.graph.initializer if one.name == "b2")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * 1.01, "b2"))
    onnx.save(proto, project.model)
    project.set("[goal]", "seed = 1\n[goal]")
    built = edgewise.build(project.config, tmp_path / "out", recipe=recipe_of(first))
    said = "\n".join(built.result.notes)
    assert "since then changed: the model, the calibration data, the search data, the test data" in said
    for name, digest in artifacts(first).items():
        assert f"{name}: the bytes differ from the recorded {digest[:12]}" in said


def test_what_one_library_does_to_the_bytes_is_named_with_both_versions() -> None:
    from edgewise.lab.replay import _differences

    then = recorded.MadeFrom(
        model="a", samples={"test": "b"}, seed=0, machine={"nncf": "3.3.0"}, toolchains={}, threads=1
    )
    now = msgspec.structs.replace(then, machine={"nncf": "3.4.0"})
    assert list(_differences(then, now)) == ["nncf 3.3.0 → 3.4.0"]


# What is refused


WHOLE: Document = {
    "schema": "1.0",
    "producer": "edgewise 0.1.0",
    "made_from": {
        "model": "a",
        "samples": {},
        "seed": 0,
        "machine": {},
        "toolchains": {},
        "threads": 1,
    },
    "variants": [{"target": "onnxruntime", "recipe": {"method": "fp16", "version": 1}}],
}


def changed(**more: Any) -> str:
    return json.dumps(WHOLE | more)


def variant(**more: Any) -> str:
    return changed(variants=[WHOLE["variants"][0] | more])


BAD: dict[str, tuple[str, list[str]]] = {
    "no JSON": ("{", ["is not JSON"]),
    "a list": ("[]", ["holds no recipe but list"]),
    "a whole report": ('{"candidates": []}', ["is a whole report", "one entry of its candidates"]),
    "no schema": (json.dumps({k: v for k, v in WHOLE.items() if k != "schema"}), ["schema: it is None"]),
    "a newer schema": (
        changed(schema="2.0"),
        ["schema", "reads 1.0, the file has 2.0", "use a newer edgewise"],
    ),
    "no variants": (changed(variants=[]), ["variants: it lists none"]),
    "no target": (changed(variants=[{"recipe": {}}]), ["variants[0]", "`target`"]),
    "a recipe that is text": (variant(recipe="fp16"), ["variants[0].recipe", "object"]),
    "an unknown target": (variant(target="abacus"), ["variants[0].target", "unknown runtime 'abacus'"]),
    "an unknown method": (variant(recipe={"method": "magic"}), ["variants[0].recipe", "magic"]),
    "an unknown option": (
        variant(recipe={"method": "fp16", "version": 1, "speed": 9}),
        ["variants[0].recipe", "speed"],
    ),
    "a size that is text": (variant(size="big"), ["variants[0].size", "int"]),
    "a row of an unknown target": (
        json.dumps({"target": "abacus", "recipe": {"method": "fp16"}}),
        ["bad.json: target", "abacus"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_refused_naming_file_and_key(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError) as raised:
        recorded.read(tmp_path / "bad.json")
    assert all(part in str(raised.value) for part in ("bad.json", *said)), raised.value


def test_a_newer_minor_schema_with_unknown_fields_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(changed(schema="1.7", mood="good"))
    assert [one.id for one in recorded.read(tmp_path / "recipe.json").candidates] == ["onnxruntime/fp16"]


@pytest.mark.usefixtures("tidy")
def test_the_command_line_ends_with_2_on_a_recipe_that_is_not_there(
    project: Project, command: Command
) -> None:
    said = command("build", project.config, "--recipe", project.folder / "none.json")
    assert said.code == 2
    assert "cannot read the recipe" in said.err
    assert not (project.folder / "edgewise-out").exists()
