"""Area under the ROC curve over frames, as an average of samples.

The area is the chance that a frame with speech scores higher than one without. A sample's part of it is the share of
frames of the other kind that it is on the right side of; these are frames of their own, with what the original said to
them (reference.npz). So a variant that shifts all its scores loses too, as it does with a fixed threshold.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def frame_auc(outputs: dict[str, NDArray[Any]], label: int) -> float:
    """Return the share of frames without speech (with, where `label` is 0) that this frame's score separates it from."""
    score = float(outputs["output"].ravel()[0])
    others = _reference()["silence" if label else "speech"]
    below = float(np.mean(others < score) + np.mean(others == score) / 2)
    return below if label else 1 - below


@cache
def _reference() -> dict[str, NDArray[np.float64]]:
    with np.load(Path(__file__).with_name("reference.npz"), allow_pickle=False) as scores:
        return dict(scores)
