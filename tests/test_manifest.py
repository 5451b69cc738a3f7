import copy
import json
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle import store
from edgewise.bundle.canonical import canonical_json, digest_document
from edgewise.bundle.manifest import FORMATS, Artifact, FileRef, Format
from edgewise.bundle.store import parse_manifest
from edgewise.errors import InputError, TrustError

ORIGIN = Path("bundle")
MODEL = [{"name": "model.onnx", "sha256": "a" * 64, "size": 3}]
GOLDEN = [{"name": "golden.npz", "sha256": "b" * 64, "size": 5}]
OTHER = "c" * 64


def document() -> dict[str, Any]:
    """A small valid manifest: one model, one variant, one tier."""
    model, golden = digest_document(MODEL), digest_document(GOLDEN)
    return {
        "schema": "1.0",
        "producer": "edgewise 0.1.0",
        "name": "sentiment",
        "licence": {"model": "Apache-2.0"},
        "artifacts": {
            model: {"format": "onnx", "files": copy.deepcopy(MODEL)},
            golden: {"format": "npz", "files": copy.deepcopy(GOLDEN)},
        },
        "models": [
            {
                "name": "sentiment",
                "task": "text-classification",
                "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}],
                "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 2]}],
                "original": OTHER,
                "golden": golden,
                "variants": [
                    {
                        "id": "onnxruntime/fp16",
                        "artifact": model,
                        "runtime": "onnxruntime",
                        "runtime_version": "1.24.0",
                        "precision": "fp16",
                        "recipe": {"method": "fp16", "version": 1},
                        "figures": {"p50": {"evidence": "measured", "unit": "ms", "value": 1.5}},
                        "verification": {"max_abs": 0.001},
                        "golden_tolerance": 0.01,
                    }
                ],
            }
        ],
        "tiers": [
            {
                "name": "phone",
                "share": 1.0,
                "platform": "linux-aarch64",
                "runtimes": ["onnxruntime"],
                "variant": "onnxruntime/fp16",
                "reason": "the smallest that meets the floor",
                "verdicts": {"quality": "met", "latency_p95": "not assessed"},
            }
        ],
    }


def refuse(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(TrustError, match=match):
        parse_manifest(changed, ORIGIN)


def with_file(**changes: Any) -> dict[str, Any]:
    """The manifest with the model's file changed, under the digest that fits the change."""
    changed = document()
    files = [MODEL[0] | changes]
    changed["artifacts"][digest_document(files)] = {"format": "onnx", "files": files}
    return changed


def test_a_valid_manifest_is_read() -> None:
    assert parse_manifest(document(), ORIGIN).models[0].variants[0].figures["p50"].value == 1.5


def test_a_manifest_reads_back_as_it_was_written() -> None:
    manifest = parse_manifest(document(), ORIGIN)
    assert parse_manifest(json.loads(canonical_json(manifest)), ORIGIN) == manifest


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "", "x", "1a.0"])
def test_another_major_version_is_refused(version: str) -> None:
    refuse(document() | {"schema": version}, r"this edgewise reads 1\.x: upgrade it")


def test_another_major_version_is_refused_before_its_fields_are_looked_at() -> None:
    refuse({"schema": "2.0", "parts": []}, r"bundle schema 2\.0")


def test_a_manifest_without_a_version_is_refused() -> None:
    refuse({}, r"bundle schema \(none\)")


def test_a_newer_minor_version_is_read() -> None:
    assert parse_manifest(document() | {"schema": "1.7"}, ORIGIN).schema == "1.7"


def test_unknown_fields_are_kept_in_the_document(tmp_path: Path) -> None:
    changed = document() | {"schema": "1.7", "carbon": {"grams": 3}}
    changed["models"][0]["variants"][0]["energy"] = 5
    (tmp_path / "manifest.json").write_bytes(canonical_json(changed))
    assert store.read(tmp_path).document == changed


def test_an_unknown_option_of_a_step_is_refused_because_ignoring_it_changes_the_answer() -> None:
    changed = document()
    changed["models"][0]["pre"] = [{"op": "image", "input": "x", "crop": "centre"}]
    refuse(changed, "crop")


def test_an_unknown_step_is_refused() -> None:
    changed = document()
    changed["models"][0]["pre"] = [{"op": "fourier"}]
    refuse(changed, "fourier")


HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/../x",
    "a/..",
    "./x",
    "/abs",
    "//host/x",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "C:x",
    "C:/x",
    "~/x",
    ".hidden",
    "a/.hidden",
    "x\n",
    "x\0",
    "a b",
    "é",
    "x" * 201,
    "a/" * 2000 + "x",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:20]))
def test_a_hostile_file_name_is_refused(name: str) -> None:
    refuse(with_file(name=name), "name")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:20]))
def test_a_hostile_file_name_is_not_written_either(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").write_bytes(b"abc")
    with pytest.raises(InputError, match="name"):
        store.artifact_of("onnx", [(name, tmp_path / "model")])


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "nested/weights_1-b+c.bin", "x" * 200])
def test_a_plain_relative_name_is_accepted(name: str) -> None:
    assert parse_manifest(with_file(name=name), ORIGIN)


@given(st.text(st.sampled_from("aZ0_.-+/\\~: \n\0é"), max_size=12) | st.text(max_size=12))
@settings(deadline=None, max_examples=500)
def test_no_accepted_name_leaves_its_folder(name: str) -> None:
    try:
        msgspec.convert({"name": name, "sha256": "a" * 64, "size": 0}, FileRef)
    except msgspec.ValidationError:
        return
    path = PurePosixPath(name)
    assert str(path) == name
    assert not path.is_absolute()
    assert all(part[0] not in ".~" for part in path.parts)
    assert name.isascii()
    assert name.isprintable()
    assert not set("\\: ") & set(name)


@pytest.mark.parametrize(
    "digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "../" + "a" * 61]
)
def test_what_is_not_a_sha_256_in_lower_case_hex_is_refused(digest: str) -> None:
    refuse(with_file(sha256=digest), "sha256")


def test_an_artifact_is_not_listed_under_a_path() -> None:
    changed = document()
    changed["artifacts"]["../../etc"] = {"format": "onnx", "files": MODEL}
    refuse(changed, "artifacts")


@pytest.mark.parametrize("size", [-1, 1.5, "3", None])
def test_a_size_is_a_number_of_bytes(size: Any) -> None:
    refuse(with_file(size=size), "size")


@pytest.mark.parametrize("kind", ["pickle", "pt", "joblib", "ONNX", ""])
def test_a_format_outside_the_list_is_refused(kind: str) -> None:
    changed = document()
    changed["artifacts"][digest_document(MODEL)]["format"] = kind
    refuse(changed, "format")


def test_a_format_outside_the_list_is_not_written_either(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"abc")
    with pytest.raises(InputError, match="pickle"):
        store.artifact_of("pickle", [("model.pkl", tmp_path / "model.pkl")])


def test_the_list_of_formats_and_their_type_agree() -> None:
    assert get_args(Format) == FORMATS


def test_an_artifact_without_files_is_refused() -> None:
    changed = document()
    changed["artifacts"][digest_document([])] = {"format": "onnx", "files": []}
    refuse(changed, "files")


def test_two_files_of_one_name_are_refused() -> None:
    changed = document()
    files = [*MODEL, MODEL[0] | {"sha256": OTHER}]
    changed["artifacts"][digest_document(files)] = {"format": "onnx", "files": files}
    refuse(changed, r"two of one name among files model\.onnx, model\.onnx")


def test_two_variants_of_one_id_are_refused() -> None:
    changed = document()
    changed["models"][0]["variants"] *= 2
    refuse(changed, "two of one name among variants")


def test_two_models_of_one_name_are_refused() -> None:
    changed = document()
    changed["models"] *= 2
    refuse(changed, "two of one name among models")


def test_two_tiers_of_one_name_are_refused() -> None:
    changed = document()
    changed["tiers"] *= 2
    refuse(changed, "two of one name among tiers")


def test_a_bundle_without_a_model_is_refused() -> None:
    refuse(document() | {"models": [], "tiers": []}, "holds no model")


def test_a_variant_of_an_unlisted_artifact_is_refused() -> None:
    changed = document()
    changed["models"][0]["variants"][0]["artifact"] = OTHER
    refuse(changed, "artifact cccccccccccc is used but not listed")


def test_unlisted_golden_cases_are_refused() -> None:
    changed = document()
    changed["models"][0]["golden"] = OTHER
    refuse(changed, "artifact cccccccccccc is used but not listed")


def test_the_original_need_not_be_shipped() -> None:
    assert parse_manifest(document(), ORIGIN).models[0].original == OTHER


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("pre", {"op": "tokenize", "file": OTHER}),
        ("post", {"op": "ctc", "output": "y", "file": "../../etc/passwd"}),
        ("state", {"output": "y", "input": "x", "initial": OTHER}),
    ],
)
def test_a_step_or_state_needs_a_listed_artifact(field: str, entry: dict[str, str]) -> None:
    changed = document()
    changed["models"][0][field] = [entry]
    refuse(changed, "is used but not listed")


def test_a_bundle_that_carries_python_code_to_run_is_refused() -> None:
    changed = document()
    changed["models"][0]["pre"] = [{"op": "python", "function": f"{digest_document(MODEL)}:run"}]
    refuse(changed, "would run Python code from the bundle")


def test_a_tier_that_names_an_unknown_variant_is_refused() -> None:
    changed = document()
    changed["tiers"][0]["variant"] = "openvino/fp16"
    refuse(changed, "tier phone names an unknown variant openvino/fp16")


def test_a_tier_may_have_no_variant() -> None:
    changed = document()
    changed["tiers"][0]["variant"] = None
    assert parse_manifest(changed, ORIGIN).tiers[0].variant is None


def test_a_figure_in_a_manifest_needs_its_evidence() -> None:
    changed = document()
    del changed["models"][0]["variants"][0]["figures"]["p50"]["evidence"]
    refuse(changed, "evidence")


def test_a_verdict_outside_the_contract_is_refused() -> None:
    changed = document()
    changed["tiers"][0]["verdicts"]["quality"] = "passed"
    refuse(changed, "passed")


def test_a_refusal_names_the_place_in_the_manifest() -> None:
    changed = document()
    changed["models"][0]["task"] = 3
    refuse(changed, r"models\[0\]\.task")


def test_the_digest_of_an_artifact_covers_names_contents_and_sizes() -> None:
    def digest(**changes: Any) -> str:
        return Artifact("onnx", (msgspec.convert(MODEL[0] | changes, FileRef),)).digest

    assert len({digest(), digest(name="other.onnx"), digest(sha256=OTHER), digest(size=4)}) == 4


def test_the_size_of_an_artifact_is_that_of_all_its_files() -> None:
    files = (FileRef("model.onnx", "a" * 64, 3), FileRef("model.onnx.data", "b" * 64, 40))
    assert Artifact("onnx", files).size == 43


BAD_JSON = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{", id="truncated"),
    pytest.param(b"[]", id="list"),
    pytest.param(b'{"schema":"1.0","schema":"1.0"}', id="key there twice"),
    pytest.param(b'{"schema":NaN}', id="NaN"),
    pytest.param(b'{"schema":"\xff"}', id="not UTF-8"),
    pytest.param('{"schema":"1.0"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, id="nested beyond reason"),
]


@pytest.mark.parametrize("data", BAD_JSON)
def test_what_is_not_plain_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(TrustError, match=r"manifest\.json is not (JSON|a JSON object)"):
        store.read(tmp_path)


def test_the_example_in_the_documentation_is_a_valid_manifest() -> None:
    page = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text(encoding="utf-8")
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    manifest = parse_manifest(example, ORIGIN)
    assert {digest: a.digest for digest, a in manifest.artifacts.items()} == {
        digest: digest for digest in example["artifacts"]
    }


def test_the_documentation_names_every_format() -> None:
    page = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in page] == []


@pytest.mark.parametrize("dtype", ["foo", "object", "O", "bfloat16", "datetime64", "", "float32\n"])
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_type_of_tensor_that_no_runtime_takes_is_refused(side: str, dtype: str) -> None:
    changed = document()
    changed["models"][0][side][0]["dtype"] = dtype
    refuse(changed, rf"models\[0\]\.{side}\[0\]\.dtype")


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64", "str"])
def test_numpys_types_of_tensor_are_read(dtype: str) -> None:
    changed = document()
    changed["models"][0]["inputs"][0]["dtype"] = dtype
    assert parse_manifest(changed, ORIGIN).models[0].inputs[0].dtype == dtype


@pytest.mark.parametrize("tolerance", [-1, -1e-9, 1001, float("inf")])
def test_a_tolerance_that_nothing_or_anything_meets_is_refused(tolerance: float) -> None:
    changed = document()
    changed["models"][0]["variants"][0]["golden_tolerance"] = tolerance
    refuse(changed, "golden_tolerance")
