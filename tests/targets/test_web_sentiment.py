"""Raw text in a browser gets the answer it gets in Python: the sentiment demo, its pages included."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from webpage import CACHE, CLIENT, Client, engines

import bundles
from edgewise.bundle.steps import Labels, Softmax, Tokenize
from edgewise.demo.sentiment import make_project
from edgewise.device.runner import Model, open_bundle
from edgewise.targets.browser.server import Server
from edgewise.targets.onnxruntime.quantize import quantize_dynamic
from edgewise.targets.onnxruntime_web.engine import ENGINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SAMPLES = 200


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's project; it is made once into the cache of whoever runs this."""
    return make_project(tmp_path_factory.mktemp("demo") / "project", CACHE / "demo").parent


@pytest.fixture(scope="module")
def bundle(client: Client, project: Path) -> Path:
    """A bundle as the demo's build makes it: MiniLM in int8, text to answer declared."""
    parent = client.folder / "sentiment"
    parent.mkdir()
    quantize_dynamic(project / "model.onnx", parent / "int8.onnx", parent, per_channel=True)
    return bundles.write(
        parent / "bundle",
        onnx.load(parent / "int8.onnx"),
        pre=(Tokenize(file="tokenizer.json", max_tokens=128),),
        post=(Softmax(output="logits"), Labels(output="logits", names=("negative", "positive"))),
        files={"tokenizer.json": project / "tokenizer.json"},
        raw="battery life is great",
    )


@pytest.fixture(scope="module")
def native(bundle: Path) -> Iterator[Model]:
    with open_bundle(bundle) as model:
        yield model


def test_every_sample_gets_the_same_answer(
    client: Client, bundle: Path, native: Model, project: Path
) -> None:
    texts = [str(text) for text in np.load(project / "samples.npz")["text"][:SAMPLES]]
    client.open("sentiment/bundle")
    got = [client.answer(text) for text in texts]
    wanted = [native(text) for text in texts]
    assert len(texts) == SAMPLES
    assert [one["value"] for one in got] == [one.value for one in wanted]
    gaps = [abs(one["confidence"] - (two.confidence or 0)) for one, two in zip(got, wanted, strict=True)]
    assert max(gaps) < 0.1  # int8 kernels of WebAssembly and of this CPU


def test_the_example_page_answers_what_is_typed(client: Client, bundle: Path, native: Model) -> None:
    page = (ROOT / "examples" / "web" / "index.html").read_bytes()
    with engines():
        folders = {"edgewise": CLIENT, "engine": ENGINE.toolchain.path(), "bundle": bundle}
    _type(client, Server(folders, {"index.html": page}), ".value", native)


def test_the_page_of_the_docs_answers_what_is_typed(
    client: Client, bundle: Path, native: Model, tmp_path: Path
) -> None:
    found = re.search(r"```html\n(.*?)```", (ROOT / "docs" / "web.md").read_text(), re.DOTALL)
    assert found
    with engines():
        engine = ENGINE.toolchain.path() / "onnxruntime-web"
    shutil.copytree(engine, tmp_path / "onnxruntime-web")
    folders = {"edgewise": CLIENT, "onnxruntime-web": tmp_path / "onnxruntime-web", "bundle": bundle}
    _type(client, Server(folders, {"index.html": found.group(1).encode()}), "#answer", native)


def _type(client: Client, server: Server, shown: str, native: Model) -> None:
    """Type two sentences into a page, and read what it shows."""
    page = client.new_page()
    page.goto(f"{server.url}index.html")
    page.wait_for_function("text.oninput || (document.querySelector('#tries') && !text.disabled)")
    for text in ("I love this phone", "The worst film of the year"):
        page.fill("#text", text)
        wanted = native(text).value
        page.wait_for_function(
            "([shown, wanted]) => document.querySelector(shown)?.textContent.startsWith(wanted)",
            arg=[shown, wanted],
        )
    page.close()
    server.close()
