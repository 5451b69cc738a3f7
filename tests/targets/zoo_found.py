"""Three published models with real samples: the two of the demos, and silero-vad on recorded speech.

Weights and recordings come out of ordinary packages, pinned by digest (edgewise.demo.packages): the recordings are
those in the tests of pocketsphinx (read aloud for LibriVox, and recorded for CMU Sphinx), 16 kHz, one channel.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zoo import Made

from edgewise.demo import ocr, sentiment
from edgewise.demo.packages import Package, fetch, read
from edgewise.lab import config
from edgewise.lab.plan import prepare
from edgewise.lab.quiet import no_telemetry
from edgewise.targets.building import Samples

__all__ = ["minilm", "ppocr", "silero"]

SILERO = Package(
    "silero-vad",
    "6.2.3",
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
)
POCKETSPHINX = Package(
    "pocketsphinx",
    "5.1.1",
    "pocketsphinx-5.1.1.tar.gz",
    "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
)
RECORDINGS = "pocketsphinx-5.1.1/test/data/"
CALIBRATION_SPEECH = ("cards/001.wav", "cards/002.wav", "cards/003.wav", "cards/004.wav", "cards/005.wav")
EVALUATION_SPEECH = (
    "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
    "numbers.raw",
    "librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
    "something.raw",
)
RATE, FRAME, CONTEXT = 16_000, 512, 64


def minilm(cache: Path) -> Made:
    """Sentences of the sentiment demo in their own length; input_ids and attention_mask int64 [1, tokens]."""
    return _demo("MiniLM sentence classifier of `edgewise demo`", sentiment.make_project, cache, 64, 200)


def ppocr(cache: Path) -> Made:
    """Lines of the text recognition demo; x float32 [1, 3, 48, width], the width a multiple of 64."""
    return _demo("PP-OCRv4 recogniser of `edgewise demo ocr`", ocr.make_project, cache, 32, 64)


def silero(cache: Path) -> Made:
    """Frames of speech in their order; input float32 [1, 576], state float32 [2, 1, 128], sr int64 []."""
    model = read(fetch(SILERO, cache / "demo" / "packages"), "silero_vad/data/silero_vad.onnx")
    archive = fetch(POCKETSPHINX, cache / "demo" / "packages")
    calibration, evaluation = (
        [frame for name in names for frame in _followed(model, _speech(archive, name))]
        for names in (CALIBRATION_SPEECH, EVALUATION_SPEECH)
    )
    about = "silero-vad 6.2.3 on frames of recorded speech, 16 kHz, the state carried along by the original"
    return Made(about, model, _spread(calibration, 64), _spread(evaluation, 300))


def _demo(
    about: str, make_project: Callable[[Path, Path], Path], cache: Path, calibration: int, evaluation: int
) -> Made:
    with tempfile.TemporaryDirectory() as folder:
        plan = prepare(config.load(make_project(Path(folder) / "project", cache / "demo")))
        model = plan.model.path.read_bytes()
    given, judged = plan.splits.calibration[:calibration], plan.splits.test[:evaluation]
    labels = [sample.label for sample in judged]
    return Made(about, model, [s.inputs for s in given], [s.inputs for s in judged], labels)


def _speech(archive: Path, name: str) -> NDArray[np.float32]:
    """Return a recording as samples in −1..1."""
    content = read(archive, RECORDINGS + name)
    if name.endswith(".wav"):
        with wave.open(BytesIO(content)) as file:
            content = file.readframes(file.getnframes())
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)


def _followed(model: bytes, speech: NDArray[np.float32]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the requests that a stream makes: each frame after the last samples of the one before, and the state."""
    no_telemetry()
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), np.float32)
    heard = np.concatenate([np.zeros(CONTEXT, np.float32), speech])
    for start in range(0, len(speech) - FRAME + 1, FRAME):
        frame = heard[np.newaxis, start : start + CONTEXT + FRAME]
        inputs = {"input": frame, "state": state, "sr": np.array(RATE, np.int64)}
        yield inputs
        state = session.run(None, inputs)[1]


def _spread(frames: list[dict[str, NDArray[Any]]], count: int) -> Samples:
    """Return `count` of them, evenly spread."""
    return [frames[int(row)] for row in np.linspace(0, len(frames) - 1, min(count, len(frames)))]
