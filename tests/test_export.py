"""The hand-over: what a tier gets, as files an app can use, with code that says how, and a check by ONNX Runtime."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

import bundles
import edgewise
from conftest import Command
from edgewise.bundle import store
from edgewise.bundle.canonical import digest_file
from edgewise.errors import InputError, ToolchainError, TrustError
from edgewise.handover import Exported, export
from edgewise.handover.play import lint
from edgewise.handover.snippets import Language
from models import tiny_mlp


def text(folder: Path, platform: str = "android-arm64", variant: str | None = "onnxruntime") -> Path:
    """Write the bundle that tells positive words from negative ones, for one tier, "phone"."""
    return retold(bundles.text(folder / "source"), folder / "bundle", platform=platform, variant=variant)


def retold(
    source: Path,
    folder: Path,
    *,
    platform: str = "android-arm64",
    variant: str | None = "onnxruntime",
    artifact: tuple[str, Mapping[str, bytes]] | None = None,
) -> Path:
    """Write a bundle again for one tier, its variant's artifact replaced by `artifact`: a format and its files."""
    read = store.read(source)
    known = {
        digest: {file.name: read.folder(digest) / file.name for file in one.files}
        for digest, one in read.manifest.artifacts.items()
    }
    artifacts, model = dict(read.manifest.artifacts), read.model
    if artifact:
        kind, contents = artifact
        made = {name: folder.parent / "made" / name for name in contents}
        for name, path in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
        one = store.artifact_of(kind, made.items())
        artifacts[one.digest], known[one.digest] = one, made
        replaced = msgspec.structs.replace(model.variants[0], artifact=one.digest)
        model = msgspec.structs.replace(model, variants=(replaced,))
    tiers = (bundles.tier("phone", variant, platform),)
    manifest = msgspec.structs.replace(read.manifest, artifacts=artifacts, models=(model,), tiers=tiers)
    folder.mkdir()
    store.write(folder, manifest, known)
    return folder


def handed(
    bundle: Path, folder: Path, language: Language | None = None, *, package: bool = False
) -> tuple[Path, Exported]:
    out = folder / "out"
    return out, export(bundle, "phone", out, language=language, package=package)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# What is handed over


@pytest.mark.parametrize(
    ("platform", "snippet"),
    [("android-arm64", "Model.kt"), ("ios-arm64", "Model.swift"), ("linux-x86_64", "predict.py"), ("web", "predict.mjs")],
)  # fmt: skip
def test_a_platform_gets_code_in_its_apps_language(platform: str, snippet: str, tmp_path: Path) -> None:
    out, done = handed(text(tmp_path, platform), tmp_path)
    assert snippet in done.files
    assert (out / snippet).is_file()


def test_a_phone_gets_the_model_the_files_of_steps_and_the_golden_cases(tmp_path: Path) -> None:
    bundle = text(tmp_path)
    out, done = handed(bundle, tmp_path)
    assert files(out) == {*done.files, "README.md", "handover.json"}
    assert set(done.files) == {
        "Model.kt",
        "files/labels.txt",
        "files/tokenizer.json",
        "golden.npz",
        "model/model.onnx",
    }
    read = store.read(bundle)
    variant = read.model.variants[0]
    assert digest_file(out / "model/model.onnx") == digest_file(read.main_file(variant.artifact))
    assert (out / "files/labels.txt").read_text() == "negative\npositive\n"


def test_the_record_lists_the_digest_of_every_other_file(tmp_path: Path) -> None:
    out, _ = handed(text(tmp_path), tmp_path)
    record = json.loads((out / "handover.json").read_text())
    assert set(record["files"]) == files(out) - {"handover.json"}
    assert all(digest_file(out / name) == digest for name, digest in record["files"].items())
    assert record["inputs"][0] | {"name": "input_ids", "dtype": "int64"} == record["inputs"][0]
    assert [step["op"] for step in (*record["pre"], *record["post"])] == ["tokenize", "labels"]


def test_the_readme_says_inputs_outputs_and_steps(tmp_path: Path) -> None:
    out, _ = handed(text(tmp_path), tmp_path)
    page = (out / "README.md").read_text()
    assert "| input_ids | int64 | [batch, length] |" in page
    assert "| probabilities | float32 | [batch, 2] |" in page
    assert "cut at 512 tokens: `input_ids`, int64 [1, tokens]" in page
    assert "the name, in labels.txt, of the highest score of `probabilities`" in page


def test_the_same_bundle_is_handed_over_in_the_same_bytes(tmp_path: Path) -> None:
    bundle = text(tmp_path)
    first, _ = handed(bundle, tmp_path)
    before = {name: (first / name).read_bytes() for name in files(first)}
    again, _ = handed(bundle, tmp_path)  # in place of the first
    assert {name: (again / name).read_bytes() for name in files(again)} == before


# Code


@pytest.mark.parametrize("language", ["swift", "kotlin", "javascript"])
def test_code_that_was_not_executed_says_so_in_its_first_line(language: Language, tmp_path: Path) -> None:
    out, done = handed(text(tmp_path), tmp_path, language)
    name = next(name for name in done.files if name.startswith(("Model", "predict")))
    assert (out / name).read_text().splitlines()[0].startswith("// Not executed by edgewise")


def test_the_python_snippet_answers(tmp_path: Path) -> None:
    out, _ = handed(text(tmp_path, "linux-x86_64"), tmp_path)
    done = subprocess.run(
        [sys.executable, out / "predict.py", "great battery"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "positive\n"


def test_the_snippet_names_the_tensors_as_the_file_does(tmp_path: Path) -> None:
    out, _ = handed(text(tmp_path), tmp_path)
    code = (out / "Model.kt").read_text()
    assert "fun predict(inputIds: LongArray, inputIdsShape: LongArray)" in code
    assert (
        '"input_ids" to OnnxTensor.createTensor(environment, LongBuffer.wrap(inputIds), inputIdsShape)'
        in code
    )
    assert "@{" not in code


def test_a_fixed_shape_is_written_out(tmp_path: Path) -> None:
    proto = tiny_mlp()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    bundle = retold(bundles.write(tmp_path / "source", proto), tmp_path / "bundle")
    out, _ = handed(bundle, tmp_path)
    assert "FloatBuffer.wrap(x), longArrayOf(1, 8))" in (out / "Model.kt").read_text()


PORTS = {
    "inputs": [
        {
            "name": "input_ids",
            "dtype": "int64",
            "shape": [1, None],
            "feature": "ids",
            "feature_dtype": "int32",
            "feature_shape": [1, None],
        }
    ],
    "outputs": [
        {
            "name": "logits",
            "dtype": "float32",
            "shape": [1, 2],
            "feature": "var_7",
            "feature_dtype": "float32",
            "feature_shape": [1, 2],
        }
    ],
}


def coreml(folder: Path) -> Path:
    contents = {
        "model.mlpackage/Manifest.json": b"{}",
        "model.mlpackage/Data/weight.bin": b"12",
        "io.json": json.dumps(PORTS).encode(),
    }
    return retold(
        bundles.text(folder / "source"),
        folder / "bundle",
        platform="ios-arm64",
        artifact=("mlpackage", contents),
    )


def test_a_core_ml_package_is_asked_by_its_own_features(tmp_path: Path) -> None:
    out, done = handed(coreml(tmp_path), tmp_path)
    code = (out / "Model.swift").read_text()
    assert "import CoreML" in code
    assert '"ids": inputIds' in code
    assert '"logits": answer.featureValue(for: "var_7")!' in code
    assert (out / "model/model.mlpackage/Data/weight.bin").read_bytes() == b"12"
    assert {"model/model.mlpackage", "model/io.json"} <= set(done.files)


def test_the_readme_shows_where_a_files_terms_are_not_the_originals(tmp_path: Path) -> None:
    out, _ = handed(coreml(tmp_path), tmp_path)
    assert "| input_ids | int64 | [1, ?] | ids | int32 | [1, ?] |" in (out / "README.md").read_text()


def test_litert_that_cannot_resize_is_said(tmp_path: Path) -> None:
    source = bundles.text(tmp_path / "source")
    _, done = handed(
        retold(source, tmp_path / "bundle", artifact=("tflite", {"model.tflite": b"TFL3"})), tmp_path
    )
    assert done.language == "kotlin"
    assert any("resizes no input, and input_ids may vary" in note for note in done.notes)


def test_weights_in_a_second_file_are_said(tmp_path: Path) -> None:
    contents = {"model.onnx": b"graph", "model.onnx.data": b"weights"}
    source = bundles.text(tmp_path / "source")
    _, done = handed(retold(source, tmp_path / "bundle", artifact=("onnx", contents)), tmp_path)
    assert done.notes == (
        "model.onnx keeps weights in model.onnx.data: copy both out of the assets, and open it by its path",
    )


def test_a_language_without_a_runtime_for_the_artifact_is_refused(tmp_path: Path) -> None:
    source = bundles.text(tmp_path / "source")
    bundle = retold(source, tmp_path / "bundle", artifact=("tflite", {"model.tflite": b"TFL3"}))
    with pytest.raises(InputError, match="give --language javascript or kotlin or python"):
        handed(bundle, tmp_path, "swift")
    assert not (tmp_path / "out").exists()


def test_a_type_that_the_languages_api_lacks_is_refused(tmp_path: Path) -> None:
    ports = json.loads(json.dumps(PORTS).replace('"int32"', '"int64"'))
    artifact = ("mlpackage", {"model.mlpackage/Manifest.json": b"{}", "io.json": json.dumps(ports).encode()})
    bundle = retold(bundles.text(tmp_path / "source"), tmp_path / "bundle", artifact=artifact)
    with pytest.raises(InputError, match="input_ids is int64, which the swift API"):
        handed(bundle, tmp_path, "swift")


# Part of a bundle


def test_python_gets_the_part_of_the_bundle_that_its_tier_needs(tmp_path: Path) -> None:
    bundle = text(tmp_path, "linux-x86_64")
    out, _ = handed(bundle, tmp_path)
    read = store.read(bundle)
    needed = {read.model.variants[0].artifact, read.model.golden, read.model.pre[0].file}  # type: ignore[union-attr]
    assert {path.name for path in (out / "bundle" / "artifacts").iterdir()} == needed
    with edgewise.open(out / "bundle", tier="phone") as model:
        assert model("awful").value == "negative"


def test_a_page_is_told_under_which_name_the_engine_is_imported(tmp_path: Path) -> None:
    out, _ = handed(text(tmp_path, "web"), tmp_path)
    assert '"imports": {"onnxruntime-web/wasm":' in (out / "README.md").read_text()


def test_a_browser_gets_the_client_or_is_told_that_it_is_missing(tmp_path: Path) -> None:
    _, done = handed(text(tmp_path, "web"), tmp_path)
    told = any("lacks its client for browsers" in note for note in done.notes)
    assert told != ("edgewise/" in done.files)


# A model package


def test_a_model_package_is_opened_by_onnx_runtime_and_answers(tmp_path: Path) -> None:
    out, done = handed(text(tmp_path), tmp_path, package=True)
    assert "golden cases within 0 of the answers' size" in done.notes[0]
    shutil.rmtree(tmp_path / "bundle")  # it stands alone
    package = onnxruntime.ModelPackageContext(str(out))
    assert package.get_variant_names("small") == ["onnxruntime"]
    options = onnxruntime.ModelPackageOptions(onnxruntime.SessionOptions())
    session = package.select_component("small", options).create_session()
    (answer,) = session.run(None, {"input_ids": np.array([[3]], np.int64)})
    assert answer.argmax() == 1
    assert {"small/onnxruntime/tokenizer.json", "golden.npz", "README.md"} <= files(out)


def test_a_package_that_onnx_runtime_refuses_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewise.handover.modelpackage._SCHEMA", "9.0")
    with pytest.raises(ToolchainError, match=r"does not open the package: .*version"):
        handed(text(tmp_path), tmp_path, package=True)
    assert not (tmp_path / "out").exists()


def test_a_package_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    source = bundles.text(tmp_path / "source")
    read = store.read(source)
    other = bundles.text(tmp_path / "other")
    weights = store.read(other).main_file(store.read(other).model.variants[0].artifact).read_bytes()
    swapped = weights.replace(np.float32(9).tobytes(), np.float32(-9).tobytes())
    assert swapped != read.main_file(read.model.variants[0].artifact).read_bytes()
    bundle = retold(source, tmp_path / "bundle", artifact=("onnx", {"model.onnx": swapped}))
    with pytest.raises(ToolchainError, match="answers otherwise"):
        handed(bundle, tmp_path, package=True)


def test_an_onnx_runtime_without_packages_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "ModelPackageContext")
    out, done = handed(text(tmp_path), tmp_path, package=True)
    assert done.notes[0].startswith("not opened")
    assert (out / "manifest.json").is_file()


def test_a_package_holds_onnx_files_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model packages hold ONNX files"):
        handed(coreml(tmp_path), tmp_path, package=True)


# Google Play


def test_play_counts_compressed_bytes(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    assert lint([tmp_path / "zeros"], pack_limit=1_000)[0].kept
    assert not lint([tmp_path / "zeros"], pack_limit=10)[0].kept


def test_play_takes_no_code(tmp_path: Path) -> None:
    for name in ("model.tflite", "libfilter.so"):
        (tmp_path / name).write_bytes(b"1")
    found = {rule.rule: rule for rule in lint(tmp_path.iterdir())}
    assert found["an AI pack holds models only, no code"].found == "libfilter.so"
    assert not found["an AI pack holds models only, no code"].kept


@pytest.mark.parametrize(("platform", "linted"), [("android-arm64", True), ("ios-arm64", False)])
def test_plays_rules_are_for_android(platform: str, linted: bool, tmp_path: Path) -> None:
    out, done = handed(text(tmp_path, platform), tmp_path)
    assert bool(done.lints) == linted
    assert ("## Google Play" in (out / "README.md").read_text()) == linted


# What goes wrong


def test_a_tier_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tier 'watch'; its tiers: phone"):
        export(text(tmp_path), "watch", tmp_path / "out")


def test_a_tier_that_got_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the build chose nothing for tier 'phone'"):
        handed(text(tmp_path, variant=None), tmp_path)


def test_bytes_that_were_changed_are_not_handed_over(tmp_path: Path) -> None:
    bundle = text(tmp_path)
    path = next(bundle.rglob("model.onnx"))
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(TrustError, match="was changed"):
        handed(bundle, tmp_path)
    assert not (tmp_path / "out").exists()


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "out" / "photo.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"dear")
    with pytest.raises(InputError, match="not an edgewise output"):
        handed(text(tmp_path), tmp_path)
    assert mine.read_bytes() == b"dear"


# The verb


def test_export_says_what_it_wrote(command: Command, tmp_path: Path) -> None:
    said = command("export", text(tmp_path), "--tier", "phone", "-o", tmp_path / "out")
    assert said.code == 0
    assert said.out.startswith(f"{tmp_path / 'out'}: onnxruntime, as tier 'phone' gets it\n")
    assert "  model/model.onnx: onnx\n" in said.out


def test_export_as_json_is_the_result(command: Command, tmp_path: Path) -> None:
    bundle = text(tmp_path)
    said = command(
        "export", bundle, "--tier", "phone", "-o", tmp_path / "out", "--as", "modelpackage", "--json"
    )
    assert set(json.loads(said.out)) == set(Exported.__struct_fields__)


def test_a_pack_that_play_would_refuse_is_exit_1(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewise.handover.exporting.lint", lambda paths: lint(paths, pack_limit=10))
    said = command("export", text(tmp_path), "--tier", "phone", "-o", tmp_path / "out")
    assert said.code == 1
    assert "Google Play would refuse it: an AI pack has at most 10 bytes" in said.out


def test_an_unknown_language_is_wrong_usage(command: Command, tmp_path: Path) -> None:
    said: Any = command("export", text(tmp_path), "--tier", "phone", "--language", "cobol")
    assert said.code == 2
    assert "'cobol' is not one of" in said.err
