"""The main job, end to end, on a small real model."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import edgewise
from edgewise.bundle import store
from edgewise.device.verify import verify
from edgewise.errors import InputError, TrustError
from edgewise.facade import Build
from projects import digits


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("digits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = digits(folder)
    return edgewise.build(config, folder / "out", cache=folder / "cache")


def test_every_candidate_is_a_row_and_a_failed_one_says_why(built: Build) -> None:
    assert all(row.status == "ok" or row.reason for row in built.result.candidates)


def test_both_runtimes_were_tried(built: Build) -> None:
    assert {row.target for row in built.result.candidates if row.status == "ok"} == {
        "onnxruntime",
        "openvino",
    }


def test_bundle_and_report_lie_together(built: Build) -> None:
    assert {path.name for path in built.report.parent.iterdir()} == {
        "bundle",
        "report.html",
        "report.json",
        "report.md",
    }


def test_the_bundle_verifies_on_this_machine(built: Build) -> None:
    assert all(check.ran for check in verify(built.path).variants)


def test_a_flipped_weight_bit_is_refused(built: Build, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(built.path, copy)
    bundle = store.read(copy)
    weights = bundle.main_file(bundle.model.variants[0].artifact)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(TrustError, match="SHA-256 differs"):
        edgewise.open(copy)


def test_an_open_bundle_answers_as_the_golden_case_says(built: Build) -> None:
    from edgewise.bundle import golden

    bundle = store.read(built.path)
    case = golden.decode(bundle.main_file(bundle.model.golden))[0]
    with edgewise.open(built.path) as model:
        answer = model(case.inputs)
    wanted = case.outputs["probabilities"]
    np.testing.assert_array_equal(answer.outputs["probabilities"].argmax(), wanted.argmax())


def test_a_wrong_input_type_is_named(built: Build) -> None:
    with edgewise.open(built.path) as model, pytest.raises(InputError, match="must be float32"):
        model({model.bundle.model.inputs[0].name: np.zeros((1, 64))})
