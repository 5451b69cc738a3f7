"""The device side: which variant is opened and why, what a call takes and returns, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from securesystemslib.signer import CryptoSigner

import bundles
import edgewise
from bundles import HERE, tier
from conftest import Command
from edgewise.bundle import store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.signing import Trusted
from edgewise.bundle.steps import PythonStep, Tokenize
from edgewise.device.runner import Answer
from edgewise.device.verify import verify
from edgewise.errors import DeviceError, InputError, ToolchainError, TrustError
from models import tiny_two_in_two_out

BOTH = ("onnxruntime", "openvino")
X = np.ones((1, 8), np.float32)
LOGITS = np.ones((1, 3), np.float32)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of a small network, x (batch, 8) → logits (batch, 3), for ONNX Runtime."""
    return bundles.write(tmp_path / "bundle")


def opened(path: Path, tier: str | None = None) -> tuple[str, str]:
    """Return the variant that is opened here, and the reason."""
    with edgewise.open(path, tier=tier) as model:
        return model.variant.id, model.reason


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """Make libraries look as if they were not installed."""
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)


# Which variant


def test_the_tier_of_this_platform_is_taken(tmp_path: Path) -> None:
    tiers = [tier("phone", "openvino", "android-arm64"), tier("laptop", "onnxruntime", HERE)]
    path = bundles.write(tmp_path / "b", runtimes=BOTH, tiers=tiers)
    assert opened(path) == ("onnxruntime", "variant of tier 'laptop'")


def test_a_tier_of_this_very_platform_comes_before_one_of_any(tmp_path: Path) -> None:
    tiers = [tier("rest", "openvino"), tier("laptop", "onnxruntime", HERE)]
    path = bundles.write(tmp_path / "b", runtimes=BOTH, tiers=tiers)
    assert opened(path) == ("onnxruntime", "variant of tier 'laptop'")


def test_a_tier_may_be_named(tmp_path: Path) -> None:
    tiers = [tier("laptop", "onnxruntime", HERE), tier("phone", "openvino", "android-arm64")]
    path = bundles.write(tmp_path / "b", runtimes=BOTH, tiers=tiers)
    assert opened(path, "phone") == ("openvino", "variant of tier 'phone'")


def test_an_unknown_tier_is_refused_and_the_known_are_named(bundle: Path) -> None:
    with pytest.raises(InputError, match="no tier 'tablet'; its tiers: all"):
        edgewise.open(bundle, tier="tablet")


def test_without_the_runtime_of_the_tier_another_variant_answers_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundles.write(tmp_path / "b", runtimes=BOTH, tiers=[tier("laptop", "openvino", HERE)])
    without(monkeypatch, "openvino")
    why = "the runtime of tier 'laptop', openvino, is not installed; this variant runs here"
    assert opened(path) == ("onnxruntime", why)


def test_on_a_platform_that_no_tier_has_some_variant_answers_and_says_so(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", tiers=[tier("watch", "onnxruntime", "wear-arm64")])
    assert opened(path) == ("onnxruntime", f"no tier for {HERE}; this variant runs here")


def test_a_tier_that_was_given_nothing_falls_back_and_says_so(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", tiers=[tier("laptop", None, HERE)])
    why = "the build chose nothing for tier 'laptop'; this variant runs here"
    assert opened(path) == ("onnxruntime", why)


def test_where_nothing_runs_the_command_that_helps_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundles.write(tmp_path / "b", runtimes=["openvino"])
    without(monkeypatch, "openvino")
    with pytest.raises(DeviceError, match=r"pip install 'edgewise\[openvino\]'"):
        edgewise.open(path)


def test_a_runtime_nobody_registered_is_named(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", runtimes=["abacus"])
    with pytest.raises(DeviceError, match="unknown runtime 'abacus'"):
        edgewise.open(path)


# What a call returns


def test_an_answer_says_where_it_came_from_and_why(bundle: Path) -> None:
    with edgewise.open(bundle) as model:
        answer = model({"x": X})
    assert {name: getattr(answer, name) for name in Answer.__struct_fields__ if name != "outputs"} == {
        "route": "device",
        "reason": "variant of tier 'all'",
        "value": None,
        "confidence": None,
        "variant": "onnxruntime",
        "guarantee": None,
    }


def test_outputs_have_the_originals_names(bundle: Path) -> None:
    with edgewise.open(bundle) as model:
        assert {name: array.shape for name, array in model({"x": X}).outputs.items()} == {"logits": (1, 3)}


def test_text_is_answered_with_a_label_and_its_confidence(tmp_path: Path) -> None:
    with edgewise.open(bundles.text(tmp_path / "b")) as model:
        answer = model("great battery life")
    assert answer.value == "positive"
    assert answer.confidence == pytest.approx(1 / (1 + np.exp(-3)))  # mean of 0, 0 and 9 against 0


@pytest.mark.parametrize("kind", [bytes, Path, np.ndarray])
def test_a_picture_may_be_a_file_its_bytes_or_an_array(kind: type, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(bundles.png(255))
    given: Any = {bytes: file.read_bytes(), Path: file, np.ndarray: np.full((9, 9), 255, np.uint8)}[kind]
    with edgewise.open(bundles.picture(tmp_path / "b")) as model:
        assert model(given).value == "bright"


def test_an_array_read_from_a_mapped_file_is_taken(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    with edgewise.open(bundle) as model:
        assert model({"x": np.load(tmp_path / "x.npy", mmap_mode="r")}).route == "device"


# What a call refuses


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "inputs are x; got none"),
        ({"y": X}, "inputs are x; got y"),
        ({"x": X, "y": X}, "inputs are x; got x, y"),
        ({"x": X.astype(np.float64)}, "'x' must be float32 ['batch', 8], got float64 [1, 8]"),
        ({"x": X[:, :7]}, "'x' must be float32 ['batch', 8], got float32 [1, 7]"),
        ({"x": X[0]}, "'x' must be float32 ['batch', 8], got float32 [8]"),
        ({"x": X.tolist()}, "'x' must be float32 ['batch', 8], got list"),
    ],
)
def test_what_does_not_fit_the_model_is_named(inputs: dict[str, Any], said: str, bundle: Path) -> None:
    with edgewise.open(bundle) as model, pytest.raises(InputError) as caught:
        model(inputs)
    assert said in str(caught.value)


def test_raw_input_without_pre_processing_is_refused(bundle: Path) -> None:
    with edgewise.open(bundle) as model, pytest.raises(InputError, match=r"give a dict of tensors \(x\)"):
        model("great battery life")


def test_a_python_function_of_the_builder_is_not_run(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", pre=(PythonStep(function="mine.py:read"),))
    with edgewise.open(path) as model, pytest.raises(InputError, match="Python function of its builder"):
        model("great battery life")


def test_a_library_that_pre_processing_needs_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundles.text(tmp_path / "b")
    without(monkeypatch, "tokenizers")
    with edgewise.open(path) as model, pytest.raises(ToolchainError, match=r"'edgewise\[text\]'"):
        model("great battery life")


def test_a_runtime_that_fails_on_an_input_is_one_line(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", tiny_two_in_two_out())
    inputs = {"left": np.ones((2, 4), np.float32), "right": np.ones((3, 4), np.float32)}
    with (
        edgewise.open(path) as model,
        pytest.raises(DeviceError, match="onnxruntime failed on this input") as e,
    ):
        model(inputs)
    assert "\n" not in str(e.value)


def test_a_closed_model_says_so(bundle: Path) -> None:
    with edgewise.open(bundle) as model:
        pass
    with pytest.raises(DeviceError, match="closed"):
        model({"x": X})


# Trust


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def model_file(bundle: store.Bundle) -> Path:
    return bundle.main_file(bundle.model.variants[0].artifact)


def step_file(bundle: store.Bundle) -> Path:
    (step,) = bundle.model.pre
    assert isinstance(step, Tokenize)
    return bundle.main_file(step.file)


@pytest.mark.parametrize("file", [model_file, step_file])
@pytest.mark.parametrize("verb", ["run", "verify"])
def test_a_changed_file_is_refused_and_named(file: Any, verb: str, tmp_path: Path, command: Command) -> None:
    path = bundles.text(tmp_path / "b")
    changed = file(store.read(path))
    flip(changed)
    said = command(verb, path, *(["-i", "great"] if verb == "run" else []))
    assert said.code == 4
    assert f"{changed} was changed after the bundle was written" in said.err


def test_a_bundle_from_the_future_is_refused(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"schema":"1.0"', b'"schema":"2.0"'))
    with pytest.raises(TrustError, match=r"schema 2\.0; this edgewise reads 1\.x"):
        edgewise.open(bundle)


HOSTILE = {
    "optimized_model_filepath": "victim",
    "enable_profiling": 1,
    "profile_file_prefix": "victim",
    "CACHE_DIR": "victim",
}


@pytest.mark.parametrize("runtime", BOTH)
def test_settings_of_a_runtime_that_a_manifest_carries_write_no_file(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundles.write(tmp_path / "b", runtimes=["onnxruntime"])
    manifest = path / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["models"][0]["variants"][0] |= {"options": HOSTILE, "runtime": runtime}
    manifest.write_text(json.dumps(document))
    work = tmp_path / "work"
    work.mkdir()
    (work / "victim").write_text("mine")
    monkeypatch.chdir(work)
    with edgewise.open(path) as model:
        model({"x": X})
    verify(path)
    assert {file.name: file.read_text() for file in work.iterdir()} == {"victim": "mine"}


def trusted_key() -> Trusted:
    key = CryptoSigner.generate_ed25519().public_key
    return Trusted({key.keyid: key}, threshold=1)


@pytest.mark.parametrize("use", [edgewise.open, verify])
def test_a_reader_with_trusted_keys_takes_only_what_they_signed(use: Any, bundle: Path) -> None:
    with pytest.raises(TrustError, match="the bundle is unsigned, and release keys were asked for"):
        use(bundle, trusted=trusted_key())


@pytest.mark.parametrize("required", ["development", "release"])
def test_verify_refuses_a_bundle_signed_less_than_is_required(
    required: str, bundle: Path, command: Command
) -> None:
    said = command("verify", bundle, "--require", required)
    assert (said.code, said.out) == (4, "")
    assert f"signing is unsigned, and {required} is required" in said.err


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bundle"):
        edgewise.open(tmp_path)


def test_opening_and_running_never_imports_the_lab(tmp_path: Path) -> None:
    path = bundles.text(tmp_path / "b")
    code = f"""
import sys, edgewise
with edgewise.open({str(path)!r}) as model:
    model("great battery life")
heavy = [n for n in sys.modules if n.startswith(("edgewise.lab", "edgewise.report", "edgewise.facade"))]
sys.exit(repr(heavy + [n for n in ("onnx", "nncf", "sklearn", "rich", "jinja2") if n in sys.modules] or ""))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"


# Verification on this machine


def test_verifying_runs_pre_processing_and_every_variant(tmp_path: Path) -> None:
    checked = verify(bundles.text(tmp_path / "b"))
    assert checked.preprocessing == "same tensors as in the lab for 1 raw input"
    assert [check.ran for check in checked.variants] == [True]


def test_pre_processing_that_differs_here_is_refused(tmp_path: Path) -> None:
    path = bundles.picture(tmp_path / "b")
    manifest = path / "manifest.json"  # unsigned: as if a library here computed otherwise
    manifest.write_bytes(manifest.read_bytes().replace(b'"std":[1,1,1]', b'"std":[2,2,2]'))
    with pytest.raises(TrustError, match="pre-processing turns the golden inputs into other tensors"):
        verify(path)


def test_post_processing_that_answers_otherwise_here_is_refused(tmp_path: Path) -> None:
    path = bundles.text(tmp_path / "b")
    manifest = path / "manifest.json"
    manifest.write_bytes(
        manifest.read_bytes().replace(b'["negative","positive"]', b'["positive","negative"]')
    )
    with pytest.raises(TrustError, match="into 'negative' here, in the lab into 'positive'"):
        verify(path)


def test_a_variant_that_cannot_run_here_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundles.write(tmp_path / "b", runtimes=BOTH)
    without(monkeypatch, "openvino")
    assert [(check.ran, check.note) for check in verify(path).variants] == [
        (True, ""),
        (False, "openvino is not installed. Run: pip install 'edgewise[openvino]'"),
    ]


def test_a_variant_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", cases=[GoldenCase({"x": X}, {"logits": LOGITS + 100})])
    with pytest.raises(TrustError, match="onnxruntime answers the golden cases differently here"):
        verify(path)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (GoldenCase({"y": X}, {"logits": LOGITS}), "input 'x' is missing"),
        (GoldenCase({"x": X, "y": X}, {"logits": LOGITS}), "input 'y' is not one of the model"),
        (
            GoldenCase({"x": X[:, :7]}, {"logits": LOGITS}),
            "input 'x' is float32 [1, 7], of the model float32",
        ),
        (GoldenCase({"x": X[0]}, {"logits": LOGITS}), "input 'x' is float32 [8]"),
        (GoldenCase({"x": X.astype("f8")}, {"logits": LOGITS}), "input 'x' is float64 [1, 8]"),
        (GoldenCase({"x": X}, {}), "output 'logits' is missing"),
        (GoldenCase({"x": X}, {"logits": LOGITS.astype("i8")}), "output 'logits' is int64 [1, 3]"),
        (GoldenCase({"x": X}, {"logits": LOGITS[:, :2]}), "output 'logits' is float32 [1, 2]"),
    ],
)
def test_a_golden_case_that_is_no_request_to_the_model_is_refused(
    case: GoldenCase, said: str, tmp_path: Path
) -> None:
    path = bundles.write(tmp_path / "b", cases=[case])
    with pytest.raises(TrustError) as caught:
        verify(path)
    assert f"golden case 0: {said}" in str(caught.value)


def test_a_bundle_without_golden_cases_is_not_verified(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "b", cases=[])
    with pytest.raises(TrustError, match="holds no golden case"):
        verify(path)


def test_a_golden_case_that_a_variant_fails_on_is_one_line(tmp_path: Path) -> None:
    left, right = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    answer = {"sum": left, "logits": left[:, :2]}
    case = GoldenCase({"left": left, "right": right}, answer)
    path = bundles.write(tmp_path / "b", tiny_two_in_two_out(), cases=[case])
    with pytest.raises(DeviceError, match="onnxruntime failed on a golden case") as caught:
        verify(path)
    assert "\n" not in str(caught.value)


def test_verifying_where_no_variant_runs_is_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    path = bundles.write(tmp_path / "b", runtimes=["openvino"])
    without(monkeypatch, "openvino")
    said = command("verify", path)
    assert said.code == 3
    assert "openvino: not run (openvino is not installed" in said.out
    assert "no variant could be run on this machine" in said.err
