"""silero-vad: is there speech in these 32 ms?

model       silero-vad 6.2.3 (fp32): an LSTM, and an `If` on the sampling rate
samples     3,000 frames of announcements in noise, 0 to 20 dB below the speech, each with the state in which the original
            was when it heard them. A frame is speech when the clean recording is within 30 dB of its loud frames, and
            none when it is 45 dB below; what lies between is left out

make_project(folder, cache) → folder/edgewise.toml
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import making, speech
from benchmarks.models.speech import RATE
from edgewise.demo.packages import Package, fetch, read
from edgewise.lab.quiet import no_telemetry

__all__ = ["followed", "make_project", "model"]

SILERO = Package(
    "silero-vad",
    "6.2.3",
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
)
FRAME, CONTEXT = 512, 64
PAUSE = RATE // 2
SPEECH_DB, SILENCE_DB, LOUD = -30.0, -45.0, 0.95
PER_CLIP, SAMPLES, REFERENCE, SEED = 4, 3_000, 400, 0

Inputs = dict[str, NDArray[Any]]


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, frame_auc.py with reference.npz, and NOTICE.md."""

    def build(staging: Path) -> None:
        original = model(cache)
        (staging / "model.onnx").write_bytes(original)
        frames, labels, groups, scores = _frames(original, cache)
        rest = slice(SAMPLES, SAMPLES + REFERENCE)
        spoken, said = labels[rest] == 1, scores[rest]
        np.savez(staging / "reference.npz", speech=said[spoken], silence=said[~spoken])
        arrays = {name: np.stack([frame[name] for frame in frames[:SAMPLES]]) for name in frames[0]}
        arrays |= {"labels": labels[:SAMPLES], "groups": groups[:SAMPLES]}
        np.savez_compressed(staging / "samples.npz", **arrays)  # type: ignore[arg-type]

    return making.make(build, folder, cache, code=(__file__, speech.__file__))


def model(cache: Path) -> bytes:
    """Return the model as it is published."""
    return read(fetch(SILERO, cache / "packages"), "silero_vad/data/silero_vad.onnx")


def followed(model: bytes, heard: NDArray[np.float32]) -> Iterator[tuple[Inputs, float]]:
    """Yield the requests that a stream makes, and the answers: each frame after the last samples of the one before.

    The inputs are `input` float32 [1, 576], `state` float32 [2, 1, 128], carried along, and `sr` int64 [].
    """
    no_telemetry()
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), np.float32)
    known = np.concatenate([np.zeros(CONTEXT, np.float32), heard])
    for start in range(0, len(heard) - FRAME + 1, FRAME):
        frame = known[np.newaxis, start : start + CONTEXT + FRAME]
        inputs = {"input": frame, "state": state, "sr": np.array(RATE, np.int64)}
        probability, state = session.run(None, inputs)
        yield inputs, float(probability[0, 0])


def _frames(
    original: bytes, cache: Path
) -> tuple[list[Inputs], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return frames in random order of their announcements: inputs, labels, announcement, and the original's answers."""
    clips = list(speech.announcements(cache).values())
    order = np.random.default_rng(SEED).permutation(len(clips))
    rows = [
        (inputs, label, group, answer)
        for group in order.tolist()
        for inputs, label, answer in _of_clip(original, clips[group], np.random.default_rng([SEED, group]))
    ]
    frames, labels, groups, answers = zip(*rows, strict=True)
    return list(frames), np.array(labels, np.int64), np.array(groups, np.int64), np.array(answers)


def _of_clip(
    original: bytes, clip: NDArray[np.float32], rng: np.random.Generator
) -> Iterator[tuple[Inputs, int, float]]:
    """Yield some frames with speech and some without, from a clip between two pauses, all in noise."""
    clean = np.pad(clip, PAUSE)
    levels = _levels(clean)
    loud = np.quantile(levels[levels > SILENCE_DB + levels.max()], LOUD)
    wanted = {
        int(row): label
        for label, rows in enumerate((levels < loud + SILENCE_DB, levels > loud + SPEECH_DB))
        for row in rng.permutation(np.flatnonzero(rows))[:PER_CLIP]
    }
    for row, (inputs, answer) in enumerate(followed(original, _noisy(clean, loud, rng))):
        if row in wanted:
            yield inputs, wanted[row], answer


def _levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the level of each frame in dB."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    return np.asarray(10 * np.log10(np.square(frames).mean(axis=1) + 1e-12))


def _noisy(clean: NDArray[np.float32], loud: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add noise that falls by 0 to 6 dB per octave, 0 to 20 dB below the loud frames."""
    spectrum = np.fft.rfft(rng.standard_normal(len(clean)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, len(clean))
    level = loud - rng.uniform(0, 20)
    noise *= 10 ** (level / 20) / np.sqrt(np.square(noise).mean())
    return np.clip(clean + noise, -1, 1).astype(np.float32)
