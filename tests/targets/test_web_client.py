"""The JavaScript client, in a real Chromium: it opens, checks, answers as Python does, and refuses what was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from securesystemslib.signer import CryptoSigner
from webpage import Client, PageError

import bundles
from edgewise.bundle.canonical import canonical_json, digest_document
from edgewise.bundle.golden import GoldenCase, compare
from edgewise.bundle.signing import sign
from edgewise.bundle.steps import Labels, Softmax
from edgewise.device.runner import open_bundle
from models import FLOAT, INT64, model, tensor, tiny_mlp, tiny_transformer

pytestmark = pytest.mark.slow

ALICE, BOB = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
FLOAT16, BOOL, STRING = TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.STRING


@pytest.fixture(scope="module")
def text(client: Client) -> Path:
    """A bundle that calls words positive or negative: read it, copy it, leave it as it is."""
    return bundles.text(_new(client, "text"))


@pytest.fixture
def copy(client: Client, text: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of that bundle, to be broken."""
    return Path(shutil.copytree(text, _new(client, request.node.name)))


def _new(client: Client, name: str) -> Path:
    """Return a folder for one bundle, whose parent is its own: the tests' writer leaves files beside it."""
    parent = client.folder / "".join(c if c.isalnum() else "-" for c in name)
    parent.mkdir()
    return parent / "bundle"


def path(bundle: Path) -> str:
    return f"{bundle.parent.name}/{bundle.name}"


def change(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit a manifest."""
    file = bundle / "manifest.json"
    document = json.loads(file.read_bytes())
    edit(document)
    file.write_bytes(canonical_json(document))


def signed(bundle: Path, *signers: Any) -> None:
    payload = (bundle / "manifest.json").read_bytes()
    (bundle / "signatures.json").write_bytes(sign(payload, list(signers), state="release"))


def keys(*signers: Any, threshold: int) -> dict[str, Any]:
    own = {s.public_key.keyid: s.public_key.to_dict() for s in signers}
    return {"trusted": {"keys": own, "threshold": threshold}}


def refused(client: Client, bundle: Path, kind: str, options: dict[str, Any] | None = None) -> str:
    with pytest.raises(PageError) as caught:
        client.open(path(bundle), options)
    assert caught.value.name == kind
    return str(caught.value)


def test_text_gets_the_answer_it_gets_in_python(client: Client, text: Path) -> None:
    client.open(path(text))
    with open_bundle(text) as native:
        for raw in ("battery life great", "awful", "battery awful life", "", "nothing known"):
            wanted, got = native(raw), client.answer(raw)
            assert got["value"] == wanted.value
            assert got["confidence"] == pytest.approx(wanted.confidence, abs=1e-6)


def test_an_answer_says_where_it_came_from(client: Client, text: Path) -> None:
    opened = client.open(path(text))
    answer = client.answer("great")
    assert (answer["variant"], answer["route"], opened["engine"]) == (
        "onnxruntime",
        "device",
        "onnxruntime-web",
    )
    assert "variant of tier 'all'; built and verified for onnxruntime" in answer["reason"]
    assert opened["signing"] == "unsigned"


def test_a_picture_gets_the_answer_it_gets_in_python(client: Client) -> None:
    bundle = bundles.picture(_new(client, "picture"))
    client.open(path(bundle))
    with open_bundle(bundle) as native:
        for level in (40, 127, 128, 220):
            (bundle.parent / "level.png").write_bytes(bundles.png(level))
            got = client.call(
                """async (url) => {
                  const file = await (await fetch(url)).blob();
                  const { value, confidence } = await model(file);
                  return [value, confidence, (await model(new Uint8Array(await file.arrayBuffer()))).value];
                }""",
                f"./bundles/{bundle.parent.name}/level.png",
            )
            wanted = native(bundles.png(level))
            assert got == [wanted.value, pytest.approx(wanted.confidence, abs=1e-6), wanted.value]


def test_nothing_but_the_page_and_the_bundle_is_fetched(client: Client, text: Path) -> None:
    client.requests.clear()
    client.open(path(text))
    client.answer("great")
    strange = [
        url
        for url in client.requests
        if not url.startswith(client.server.url) and not url.startswith("blob:")
    ]
    assert strange == []


@pytest.mark.parametrize(
    ("kind", "numpy", "script"),
    [
        (FLOAT, "float32", "Float32Array.of(0, 1.5, -2)"),
        (INT64, "int64", "BigInt64Array.of(0n, 1n << 40n, -2n)"),
        (BOOL, "bool", "Uint8Array.of(0, 1, 1)"),
        (
            FLOAT16,
            "float16",
            "new (globalThis.Float16Array ?? Uint16Array)(Uint16Array.of(0, 0x3e00, 0xc000).buffer)",
        ),
        (TensorProto.UINT8, "uint8", "Uint8Array.of(0, 200, 2)"),
        (TensorProto.INT32, "int32", "Int32Array.of(0, 7, -2)"),
        (TensorProto.DOUBLE, "float64", "Float64Array.of(0, 1.5, -2)"),
        (STRING, "str", "['', 'é', '日本']"),
    ],
)
def test_tensors_of_every_type_go_in_and_come_out(client: Client, kind: int, numpy: str, script: str) -> None:
    identity = model(
        [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", ["n"], kind)], [tensor("y", ["n"], kind)]
    )
    case = GoldenCase({"x": np.zeros(1, numpy)}, {"y": np.zeros(1, numpy)})
    if numpy == "str":
        case = GoldenCase({"x": np.array(["a"])}, {"y": np.array(["a"])})
    bundle = bundles.write(_new(client, f"type-{numpy}"), identity, cases=[case])
    client.open(path(bundle))
    same = client.call(
        f"""async () => {{
          const data = {script};
          const {{ y }} = (await model({{ x: {{ data, shape: [3] }} }})).outputs;
          return [y.dtype, y.shape, y.data.constructor === data.constructor, Array.from(y.data, String).join() === Array.from(data, String).join()];
        }}"""
    )
    assert same == [numpy, [3], True, True]
    assert client.call("async () => (await model.verify()).difference.rms") == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{}", "inputs are input_ids; got none"),
        ("{ ids: { data: BigInt64Array.of(1n), shape: [1, 1] } }", "got ids"),
        ("{ input_ids: { data: Int32Array.of(1), shape: [1, 1] } }", "must be int64 .* got Int32Array"),
        ("{ input_ids: { data: BigInt64Array.of(1n), shape: [1] } }", "must be int64"),
        ("{ input_ids: { data: BigInt64Array.of(1n), shape: [1, 2] } }", "must be int64"),
        ("7", "expected text, got Number"),
        ("new Blob([])", "expected text, got Blob"),
    ],
)
def test_an_input_that_does_not_fit_is_named(client: Client, text: Path, given: str, message: str) -> None:
    client.open(path(text))
    with pytest.raises(PageError, match=message) as caught:
        client.call(f"() => model({given})")
    assert caught.value.name == "InputError"


def test_a_closed_model_says_so(client: Client, text: Path) -> None:
    client.open(path(text))
    with pytest.raises(PageError, match="closed") as caught:
        client.call("() => { model.close(); model.close(); return model('great'); }")
    assert caught.value.name == "DeviceError"


def test_calls_at_once_are_answered_in_turn(client: Client, text: Path) -> None:
    client.open(path(text))
    words = ["great", "awful"] * 5
    got = client.call("(words) => Promise.all(words.map(async (word) => (await model(word)).value))", words)
    assert got == ["positive", "negative"] * 5


def test_golden_cases_are_run_again(client: Client, text: Path) -> None:
    client.open(path(text))
    found = client.call("() => model.verify()")
    assert found["preprocessing"] == "same tensors as in the lab for 1 raw inputs"
    assert found["difference"]["rms"] <= found["tolerance"] == 1e-3
    assert (found["difference"]["cases"], found["difference"]["agreement"]) == (1, 1)


def test_golden_cases_that_come_out_differently_are_refused(client: Client) -> None:
    case = GoldenCase({"x": np.ones((1, 8), np.float32)}, {"logits": np.ones((1, 3), np.float32)})
    bundle = bundles.write(_new(client, "other-golden"), tiny_mlp(), cases=[case])
    client.open(path(bundle))
    with pytest.raises(PageError, match="answers the golden cases differently here") as caught:
        client.call("() => model.verify()")
    assert caught.value.name == "TrustError"


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(24, dtype=np.int64).reshape(2, 3, 4).T,
        np.array([[True, False]]),
        np.array(2.5),
        np.array(["", "a", "日本 語"]),
        np.array([1.5, -0.25, 65504, 6e-8], np.float16),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_numpy_arrays_are_read_and_written_as_numpy_does(client: Client, array: np.ndarray[Any, Any]) -> None:
    np.save(client.folder / "one.npy", array)
    np.savez_compressed(client.folder / "many.npz", first=array, second=np.arange(3))
    got = client.call(
        """async () => {
          const { readNpy, readNpz, writeNpy } = await module("npy");
          const { numbers } = await module("tensor");
          const bytes = async (name) => new Uint8Array(await (await fetch(`./bundles/${name}`)).arrayBuffer());
          const { tensor, end } = readNpy(await bytes("one.npy"));
          const { first, second } = Object.fromEntries(await readNpz(await bytes("many.npz")));
          const told = (one) => [one.dtype, one.shape, Array.from(one.dtype === "str" ? one.data : numbers(one))];
          return [told(tensor), told(first), told(second), Array.from(writeNpy(tensor)), end];
        }"""
    )
    name = "str" if array.dtype.kind == "U" else array.dtype.name
    wanted = [name, list(array.shape), array.ravel().tolist()]
    assert got[:3] == [wanted, wanted, ["int64", [3], [0, 1, 2]]]
    (client.folder / "back.npy").write_bytes(bytes(got[3]))
    np.testing.assert_array_equal(np.load(client.folder / "back.npy"), array)
    assert got[4] == (client.folder / "one.npy").stat().st_size


def test_differences_are_those_of_python(client: Client) -> None:
    rng = np.random.default_rng(0)
    first = [rng.standard_normal((4, 5)).astype(np.float32) for _ in range(3)]
    second = [one + rng.standard_normal(one.shape).astype(np.float32) for one in first]
    first[0][0] = [np.inf, 1, 2, 3, -np.inf]
    second[0][0] = [np.inf, 1.5, 2, 3, -np.inf]
    wanted = compare(
        [{"a": one, "n": np.arange(3)} for one in first], [{"a": one, "n": np.arange(3)} for one in second]
    )
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        np.savez(client.folder / f"case{number}.npz", one=one, two=two, n=np.arange(3))
    got = client.call(
        """async () => {
          const { readNpz } = await module("npy");
          const { compare } = await module("golden");
          const cases = await Promise.all([0, 1, 2].map(async (i) =>
            readNpz(new Uint8Array(await (await fetch(`./bundles/case${i}.npz`)).arrayBuffer()))));
          return compare(cases.map((own) => ({ a: own.get("one"), n: own.get("n") })), cases.map((own) => ({ a: own.get("two"), n: own.get("n") })));
        }"""
    )
    assert got == pytest.approx({name: getattr(wanted, name) for name in wanted.__struct_fields__})


def test_a_changed_file_is_refused(client: Client, copy: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (file,) = copy.rglob(name)
        kept = file.read_bytes()
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert f"{name} was changed" in refused(client, copy, "TrustError")
        file.write_bytes(kept + b" ")
        assert f"{name} is larger than {len(kept)} bytes" in refused(client, copy, "TrustError")
        file.write_bytes(kept[:-1])
        assert f"{name} was changed" in refused(client, copy, "TrustError")
        file.unlink()
        assert f"{name} is missing" in refused(client, copy, "TrustError")
        file.write_bytes(kept)
    client.open(path(copy))


def test_changed_golden_cases_are_refused_when_they_are_asked_for(client: Client, copy: Path) -> None:
    (file,) = copy.rglob("golden.npz")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    client.open(path(copy))
    with pytest.raises(PageError, match=r"TrustError: .*golden.npz was changed"):
        client.call("() => model.verify()")


def test_an_artifact_under_another_ones_digest_is_refused(client: Client, copy: Path) -> None:
    def swap(document: dict[str, Any]) -> None:
        for artifact in document["artifacts"].values():
            if artifact["format"] == "onnx":
                artifact["files"][0]["size"] += 1

    change(copy, swap)
    assert "is not what its name says" in refused(client, copy, "TrustError")


def _model(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["models"][0]
    return found


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another major version": (lambda d: d.update(schema="2.0"), "bundle schema 2.0"),
    "no version": (lambda d: d.pop("schema"), r"schema \(none\)"),
    "no model": (lambda d: d.update(models=[]), "at least 1"),
    "an unknown format": (
        lambda d: next(iter(d["artifacts"].values())).update(format="pickle"),
        "one of onnx",
    ),
    "a name outside": (
        lambda d: next(iter(d["artifacts"].values()))["files"][0].update(name="../x"),
        "plain file name",
    ),
    "an unknown step": (lambda d: _model(d)["pre"][0].update(op="stem"), "one of tokenize"),
    "an unknown option": (lambda d: _model(d)["pre"][0].update(stem=True), "option of the step tokenize"),
    "a missing option": (lambda d: _model(d)["pre"][0].pop("max_tokens"), "whole number"),
    "an unlisted artifact": (lambda d: _model(d).update(golden="0" * 64), "not listed"),
    "an unlisted variant": (lambda d: d["tiers"][0].update(variant="x"), "not listed"),
    "two of a name": (lambda d: d["tiers"].append(d["tiers"][0]), "there only once"),
    "a tolerance that lets all pass": (
        lambda d: _model(d)["variants"][0].update(golden_tolerance=1e9),
        "golden_tolerance",
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_breaks_the_rules_is_refused(client: Client, copy: Path, name: str) -> None:
    edit, message = MANIFESTS[name]
    change(copy, edit)
    with pytest.raises(PageError, match=message) as caught:
        client.open(path(copy))
    assert caught.value.name == "TrustError"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b"\xff{}",
        b'\xef\xbb\xbf{"schema":"1.0"}',
        b'{"schema":NaN}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
    ],
)
def test_what_is_no_plain_json_is_refused(client: Client, copy: Path, payload: bytes) -> None:
    (copy / "manifest.json").write_bytes(payload)
    assert "manifest.json is not JSON" in refused(client, copy, "TrustError")


def test_fields_of_a_newer_minor_version_are_kept(client: Client, copy: Path) -> None:
    change(copy, lambda d: d.update(schema="1.9", later={"a": [1]}))
    client.open(path(copy))
    assert client.call("() => model.manifest.later") == {"a": [1]}


def test_where_there_is_no_bundle_the_folder_is_named(client: Client, copy: Path) -> None:
    (copy / "manifest.json").unlink()
    assert "is not a bundle" in refused(client, copy, "InputError")


def test_signatures_are_checked_and_their_state_is_said(client: Client, copy: Path) -> None:
    signed(copy, ALICE)
    assert client.open(path(copy))["signing"] == "development"
    signed(copy, ALICE, BOB)
    assert client.open(path(copy), keys(ALICE, BOB, threshold=2))["signing"] == "release"
    assert client.open(path(copy), keys(ALICE, threshold=1))["signing"] == "release"


def test_too_few_trusted_signatures_are_refused(client: Client, copy: Path) -> None:
    trusted = keys(ALICE, BOB, threshold=2)
    assert "the bundle is unsigned" in refused(client, copy, "TrustError", trusted)
    signed(copy, ALICE)
    assert "signed by 1 of the 2 release keys" in refused(client, copy, "TrustError", trusted)


def test_a_signature_over_another_manifest_is_refused(client: Client, copy: Path) -> None:
    signed(copy, ALICE)
    change(copy, lambda d: d.update(name="other"))
    assert "does not fit manifest.json" in refused(client, copy, "TrustError")


def test_a_key_that_only_claims_a_trusted_name_is_refused(client: Client, copy: Path) -> None:
    signed(copy, BOB)
    file = copy / "signatures.json"
    file.write_text(file.read_text().replace(BOB.public_key.keyid, ALICE.public_key.keyid))
    assert client.open(path(copy))["signing"] == "development"
    assert "does not fit manifest.json" in refused(client, copy, "TrustError", keys(ALICE, threshold=1))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"keys":{},"signatures":[],"state":"release"}',
        b'{"keys":{},"signatures":[{"keyid":"a","sig":"00"}]}',
    ],
)
def test_a_damaged_signature_file_is_refused(client: Client, copy: Path, payload: bytes) -> None:
    (copy / "signatures.json").write_bytes(payload)
    assert "signature" in refused(client, copy, "TrustError")


def test_the_tiers_variant_comes_first_then_the_smallest(client: Client) -> None:
    proto = tiny_transformer()
    bundle = bundles.write(
        _new(client, "tiers"),
        proto,
        runtimes=("openvino", "onnxruntime", "onnxruntime-web"),
        tiers=[
            bundles.tier("kiosk", "onnxruntime", "linux-arm64"),
            bundles.tier("page", "onnxruntime-web", "web"),
        ],
    )
    assert client.open(path(bundle))["reason"] == "variant of tier 'page'"
    assert (
        "variant of tier 'kiosk'; built and verified for"
        in client.open(path(bundle), {"tier": "kiosk"})["reason"]
    )
    assert "its tiers: kiosk, page" in refused(client, bundle, "InputError", {"tier": "watch"})
    assert "there is no engine 'tfjs'" in refused(client, bundle, "InputError", {"engine": "tfjs"})
    assert "no variant runs in a browser" in refused(client, bundle, "DeviceError", {"engine": "litert-web"})
    change(bundle, lambda d: d["tiers"].pop())
    assert client.open(path(bundle))["reason"] == "no tier for the web; the smallest variant that runs here"


def test_a_model_that_cannot_be_loaded_is_named(client: Client) -> None:
    odd = model(
        [helper.make_node("Made", ["x"], ["y"], domain="nowhere")],
        [tensor("x", [1])],
        [tensor("y", [1])],
        domains=["nowhere"],
    )
    case = GoldenCase({"x": np.ones(1, np.float32)}, {"y": np.ones(1, np.float32)})
    bundle = bundles.write(_new(client, "odd"), odd, cases=[case])
    assert "onnxruntime-web cannot load model.onnx: " in refused(client, bundle, "DeviceError")


def test_without_preprocessing_a_model_asks_for_tensors(client: Client) -> None:
    bundle = bundles.write(_new(client, "plain"), tiny_mlp())
    client.open(path(bundle))
    with pytest.raises(PageError, match=r"InputError: .* no pre-processing: give an object of tensors \(x\)"):
        client.answer("great")


def test_scores_become_probabilities_and_a_label(client: Client) -> None:
    post = (Softmax(output="logits"), Labels(output="logits", names=("a", "b", "c")))
    bundle = bundles.write(_new(client, "labels"), tiny_mlp(), post=post)
    client.open(path(bundle))
    with open_bundle(bundle) as native:
        for seed in range(5):
            x = np.random.default_rng(seed).standard_normal((1, 8)).astype(np.float32)
            wanted = native({"x": x})
            got = client.call(
                """async (x) => {
                  const { value, confidence, outputs } = await model({ x: { data: Float32Array.from(x), shape: [1, 8] } });
                  return [value, confidence, Array.from(outputs.logits.data)];
                }""",
                x[0].tolist(),
            )
            assert got[0] == wanted.value
            np.testing.assert_allclose(
                [got[1], *got[2]], [wanted.confidence, *wanted.outputs["logits"][0]], atol=1e-6
            )


def test_the_digest_of_an_artifact_is_that_of_python(client: Client, text: Path) -> None:
    for digest, artifact in json.loads((text / "manifest.json").read_bytes())["artifacts"].items():
        assert digest_document(artifact["files"]) == digest
        client.open(path(text))
        assert (
            client.call(
                "async (digest) => (await (await module('bundle')).Bundle.read(`./bundles/${digest[0]}/`)).artifact(digest[1]).then((files) => files.length)",
                [path(text), digest],
            )
            == 1
        )
