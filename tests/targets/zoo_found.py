"""Three published models with real samples: the two of the demos, and silero-vad on recorded speech.

Weights and recordings come out of ordinary packages, pinned by digest (edgewise.demo.packages): the recordings are
those in the tests of pocketsphinx (read aloud for LibriVox, and recorded for CMU Sphinx), 16 kHz, one channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zoo import Made

from benchmarks.models import silero as published
from benchmarks.models import speech
from edgewise.demo import ocr, sentiment
from edgewise.lab import config
from edgewise.lab.plan import prepare
from edgewise.targets.building import Samples

__all__ = ["minilm", "ppocr", "silero"]

CALIBRATION_SPEECH = ("cards/001.wav", "cards/002.wav", "cards/003.wav", "cards/004.wav", "cards/005.wav")
EVALUATION_SPEECH = (
    "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
    "numbers.raw",
    "librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
    "something.raw",
)


def minilm(cache: Path) -> Made:
    """Sentences of the sentiment demo in their own length; input_ids and attention_mask int64 [1, tokens]."""
    return _demo("MiniLM sentence classifier of `edgewise demo`", sentiment.make_project, cache, 64, 200)


def ppocr(cache: Path) -> Made:
    """Lines of the text recognition demo; x float32 [1, 3, 48, width], the width a multiple of 64."""
    return _demo("PP-OCRv4 recogniser of `edgewise demo ocr`", ocr.make_project, cache, 32, 64)


def silero(cache: Path) -> Made:
    """Frames of speech in their order; input float32 [1, 576], state float32 [2, 1, 128], sr int64 []."""
    original = published.model(cache / "demo")
    calibration, evaluation = (
        [
            inputs
            for name in names
            for inputs, _ in published.followed(original, speech.recording(name, cache / "demo"))
        ]
        for names in (CALIBRATION_SPEECH, EVALUATION_SPEECH)
    )
    about = "silero-vad 6.2.3 on frames of recorded speech, 16 kHz, the state carried along by the original"
    return Made(about, original, _spread(calibration, 64), _spread(evaluation, 300))


def _demo(
    about: str, make_project: Callable[[Path, Path], Path], cache: Path, calibration: int, evaluation: int
) -> Made:
    with tempfile.TemporaryDirectory() as folder:
        plan = prepare(config.load(make_project(Path(folder) / "project", cache / "demo")))
        model = plan.model.path.read_bytes()
    given, judged = plan.splits.calibration[:calibration], plan.splits.test[:evaluation]
    labels = [sample.label for sample in judged]
    return Made(about, model, [s.inputs for s in given], [s.inputs for s in judged], labels)


def _spread(frames: list[dict[str, NDArray[Any]]], count: int) -> Samples:
    """Return `count` of them, evenly spread."""
    return [frames[int(row)] for row in np.linspace(0, len(frames) - 1, min(count, len(frames)))]
