"""The main job, end to end, on a small real model."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import edgewise
import guarded
from edgewise import report
from edgewise.bundle import golden, store
from edgewise.bundle.evidence import Evidence
from edgewise.cache import Cache
from edgewise.device.verify import verify
from edgewise.errors import InputError, TrustError
from edgewise.facade import Build
from edgewise.lab import attempt, config, plan
from edgewise.lab.compress import apply
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.simplify import simplify
from edgewise.lab.result import BuildResult
from edgewise.lab.workshop import Workshop
from edgewise.targets.building import Original
from edgewise.targets.onnxruntime.build import DynamicInt8
from models import model, normal, save, tensor
from projects import Project, digits, digits_as_scikit_learn_exports_them

pytestmark = pytest.mark.slow


def test_every_candidate_is_a_row_and_a_failed_one_says_why(built: Build) -> None:
    assert all(row.status == "ok" or row.reason for row in built.result.candidates)


def test_both_runtimes_were_tried(built: Build) -> None:
    assert {row.target for row in built.result.candidates if row.status == "ok"} == {
        "onnxruntime",
        "openvino",
    }


def test_every_figure_of_a_candidate_that_ran_was_measured(built: Build) -> None:
    rows = [row for row in built.result.candidates if row.status == "ok"]
    assert {figure.evidence for row in rows for figure in row.figures.values()} == {Evidence.MEASURED}


def test_the_thread_count_is_stated_and_equal_for_all(built: Build) -> None:
    rows = [row for row in built.result.candidates if row.status == "ok"]
    assert built.result.threads == 1
    assert all((row.figures["p50"].on or "").endswith(", 1 thread") for row in rows)


def test_claims_are_made_on_the_test_split(built: Build) -> None:
    assert {claim.quality.split for claim in built.result.claims} == {"test"}


def test_bundle_and_report_lie_together(built: Build) -> None:
    assert {path.name for path in built.report.parent.iterdir()} == {
        "bundle",
        "recipe.json",
        "report.html",
        "report.json",
        "report.md",
    }


def test_the_bundle_verifies_on_this_machine(built: Build) -> None:
    assert all(check.ran for check in verify(built.path).variants)


def test_a_flipped_weight_bit_is_refused(built: Build, tmp_path: Path) -> None:
    bundle = store.read(shutil.copytree(built.path, tmp_path / "bundle"))
    weights = bundle.main_file(bundle.model.variants[0].artifact)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(TrustError, match="was changed after the bundle was written"):
        edgewise.open(bundle.path)


def test_an_open_bundle_answers_as_the_golden_case_says(built: Build) -> None:
    bundle = store.read(built.path)
    case = golden.decode(bundle.main_file(bundle.model.golden))[0]
    with edgewise.open(built.path) as model:
        answer = model(case.inputs)
    wanted = case.outputs["probabilities"]
    np.testing.assert_array_equal(answer.outputs["probabilities"].argmax(), wanted.argmax())


def test_a_wrong_input_type_is_named(built: Build) -> None:
    with edgewise.open(built.path) as model, pytest.raises(InputError, match="must be float32"):
        model({"x": np.zeros((1, 64))})


# Recipes


@pytest.mark.parametrize(
    "name",
    [
        "onnxruntime/dynamic-int8",
        "onnxruntime/static-int8-minmax",
        "onnxruntime/nncf-ptq-performance",
        "openvino/fp16",
        "openvino/openvino-ptq-performance",
    ],
)
def test_a_recipe_rebuilds_a_byte_identical_artifact(
    name: str, built: Build, digits_project: Project, tmp_path: Path
) -> None:
    row = built.result.row(name)
    prepared = plan.prepare(config.load(digits_project.config))
    calibration = [sample.inputs for sample in prepared.splits.calibration]
    source = tmp_path / "source.onnx"
    assert isinstance(prepared.model, OnnxModel)
    onnx.save(simplify(prepared.model, calibration[:4]).model, source)
    (tmp_path / "files").mkdir()
    candidate = Candidate.of(row.target, row.recipe)
    again = apply.build(candidate, source, calibration, tmp_path / "files")
    assert again.artifact.digest == row.artifact


@pytest.mark.usefixtures(
    "tidy"
)  # ONNX Runtime writes what it cannot infer the shapes of into the working folder
def test_what_a_tool_writes_into_the_working_folder_is_cleared_up(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", scale=[2.0], offset=[0.0]),
        helper.make_node("MatMul", ["scaled", "w"], ["y"]),
    ]
    weights, x, y = {"w": normal(1, 64, 64)}, tensor("x", ["n", 64]), tensor("y", ["n", 64])
    proto = model(nodes, [x], [y], weights, domains=["ai.onnx.ml"])
    source = save(proto, tmp_path / "source.onnx")
    (tmp_path / "files").mkdir()
    quantized = apply.build(Candidate(DynamicInt8(), "onnxruntime"), source, [], tmp_path / "files")
    assert [file.name for file in quantized.artifact.files] == ["model.onnx"]


# Tiers and goals


def test_speed_on_another_machine_has_the_word_none_and_its_goal_is_not_assessed(built: Build) -> None:
    phone = next(tier for tier in built.result.tiers if tier.name == "phone")
    latency = next(goal for goal in phone.goals if goal.kind == "latency_p95")
    assert (latency.got.evidence, latency.got.value, latency.verdict) == (Evidence.NONE, None, "not assessed")


def test_goals_that_are_assessed_are_met(built: Build) -> None:
    assert {goal.verdict for tier in built.result.tiers for goal in tier.goals} == {"met", "not assessed"}


@dataclass(frozen=True)
class Second:
    """A second build of the same project, with a goal that cannot be reached."""

    code: int
    out: str
    result: BuildResult


@pytest.fixture(scope="module")
def second(built: Build, digits_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Second:
    folder = tmp_path_factory.mktemp("second")
    project = digits_project.copy(folder / "project")
    project.set('size = "1 MB"', 'size = "1 kB"')
    project.set("rounds = 6", "rounds = 1")
    done = subprocess.run(
        [guarded.EDGEWISE, "build", project.config], capture_output=True, text=True, check=False
    )
    out = project.folder / "edgewise-out"
    return Second(done.returncode, done.stdout, report.read(out / "report.json"))


def test_a_goal_out_of_reach_is_exit_1_and_what_can_be_had_is_named(second: Second) -> None:
    smallest = min(second.result.candidates, key=lambda row: row.figures["size"].value or np.inf)
    assert second.code == 1
    assert smallest.id in next(line for line in second.out.splitlines() if "is reachable" in line)


def test_a_goal_out_of_reach_is_missed_for_every_tier(second: Second) -> None:
    sizes = [goal for tier in second.result.tiers for goal in tier.goals if goal.kind == "size"]
    assert [goal.verdict for goal in sizes] == ["missed", "missed"]


def test_a_second_build_takes_its_artifacts_from_the_cache(second: Second, built: Build) -> None:
    built_before = {row.id for row in built.result.candidates if row.artifact and row.id != "original"}
    again = [row for row in second.result.candidates if row.id in built_before]
    assert again
    assert all(row.cached for row in again)
    count = sum(row.cached for row in second.result.candidates)
    assert f"{count} artifacts were taken from the cache of earlier builds" in second.result.notes


def test_a_second_build_finds_the_same_artifacts(second: Second, built: Build) -> None:
    first = {row.id: row.artifact for row in built.result.candidates}
    again = {row.id: row.artifact for row in second.result.candidates if row.id in first}
    assert again.items() <= first.items()


# What cannot be run, and what cannot be judged


def test_a_candidate_that_fails_is_a_row_with_its_reason_and_no_figures(
    tmp_path: Path, only: Callable[..., None]
) -> None:
    only(*(Candidate(Original(), target) for target in ("onnxruntime", "openvino")))
    built = edgewise.build(digits_as_scikit_learn_exports_them(tmp_path / "project"))
    row = built.result.row("openvino/original")
    assert row.status == "failed"
    assert "openvino/original failed" in (row.reason or "")
    assert {figure.evidence for figure in row.figures.values()} == {Evidence.NONE}
    assert built.result.tiers[0].chosen in ("original", "onnxruntime/original")


@pytest.mark.usefixtures("few")
def test_without_labels_only_agreement_is_told_and_never_called_accuracy(project: Project) -> None:
    project.change(labels=lambda _: None)
    project.set('metric = "accuracy"', "")
    built = edgewise.build(project.config)
    told = [path.read_text() for path in built.report.parent.glob("report.*")]
    told.append((built.path / "manifest.json").read_text())
    assert built.result.metric == "agreement"
    assert all("agreement" in text and "accuracy" not in text.lower() for text in told)


def test_a_damaged_artifact_in_the_cache_is_built_again(tmp_path: Path) -> None:
    settings = config.load(digits(tmp_path / "project"))
    shop = Workshop(plan.prepare(settings), Cache(tmp_path / "cache"), tmp_path)
    source, _ = attempt.source_of(shop.plan, shop)
    candidate = Candidate(Original(), "onnxruntime")
    first = shop.build(candidate, source)
    whole = first.main.read_bytes()
    first.main.write_bytes(whole[:-1])
    again = shop.build(candidate, source)
    assert (again.cached, again.main.read_bytes()) == (False, whole)
    assert shop.build(candidate, source).cached


@pytest.mark.parametrize("name", ["measured.json", "scores.npz"])
def test_a_damaged_judgement_in_the_cache_is_made_again(name: str, tmp_path: Path) -> None:
    shop = Workshop(
        plan.prepare(config.load(digits(tmp_path / "project"))), Cache(tmp_path / "cache"), tmp_path
    )
    baseline = attempt.baseline_of(shop.plan, shop)
    first = attempt.judge_baseline(shop, baseline)
    (first.folder / name).write_bytes(b"{}")
    assert np.array_equal(attempt.judge_baseline(shop, baseline).rows, first.rows)
