"""How much of what the decoder writes stays the same: 1 − edits / tokens of the longer text.

The decoder (decoder.onnx, fp32) always takes the likeliest token. It is shown the original's text as a guess, and
keeps of it what it would have written itself: the same tokens as one by one, in a few runs instead of one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

START, END = (50257, 50362), 50256  # "start of transcript", "no timestamps"; "end of text"
MOST = 40


def token_agreement(outputs: dict[str, NDArray[Any]], label: NDArray[Any]) -> float:
    """Return the agreement of one sample; `label` holds the original's tokens, negative after the last."""
    from rapidfuzz.distance import Levenshtein

    wanted = [token for token in label.tolist() if token >= 0]
    return float(Levenshtein.normalized_similarity(wanted, decode(outputs["features"], wanted)))


def decode(features: NDArray[np.float32], guess: Sequence[int] = ()) -> list[int]:
    """Return the tokens up to and with END, at most MOST, for features [1, 1500, width]."""
    written: list[int] = []
    while len(written) < MOST and END not in written:
        tried = list(guess[len(written) :])
        best = _next([*START, *written, *tried], features)[len(START) - 1 + len(written) :]
        right = next((i for i, token in enumerate(tried) if token != best[i]), len(tried))
        written += [*tried[:right], best[right]]
    return written[: written.index(END) + 1] if END in written else written[:MOST]


def _next(tokens: Sequence[int], features: NDArray[np.float32]) -> list[int]:
    """Return the likeliest token after each."""
    feeds = {"tokens": np.array([tokens], np.int64), "features": features.astype(np.float32)}
    (scores,) = _decoder().run(None, feeds)
    found: list[int] = scores[0].argmax(axis=-1).tolist()
    return found


@cache
def _decoder() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = str(Path(__file__).with_name("decoder.onnx"))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
