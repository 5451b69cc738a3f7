"""Recorded speech in −1..1 at 16 kHz, one channel, from ordinary packages.

pocketsphinx   the recordings in its tests: read aloud for LibriVox, and spoken for CMU Sphinx
asterisk       568 announcements of a telephone system by one speaker, 8 kHz, which are brought to 16 kHz here
"""

from __future__ import annotations

import tempfile
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.packages import Deb, fetch
from edgewise.demo import packages
from edgewise.demo.packages import Package
from edgewise.lab.places import debian

__all__ = ["RATE", "announcements", "recording"]

POCKETSPHINX = Package(
    "pocketsphinx",
    "5.1.1",
    "pocketsphinx-5.1.1.tar.gz",
    "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
)
RECORDINGS = "pocketsphinx-5.1.1/test/data/"
ASTERISK = Deb(
    "asterisk-core-sounds-en-wav",
    "1.6.1-1",
    "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
)
RATE = 16_000

Speech = NDArray[np.float32]


def recording(name: str, cache: Path) -> Speech:
    """Return one recording of pocketsphinx, such as `cards/001.wav` or `numbers.raw`."""
    content = packages.read(packages.fetch(POCKETSPHINX, cache / "packages"), RECORDINGS + name)
    return _samples(content) if name.endswith(".wav") else _scaled(content)


def announcements(cache: Path) -> dict[str, Speech]:
    """Return the announcements of asterisk by name, in the order of their names."""
    from scipy.signal import resample_poly

    with tempfile.TemporaryDirectory() as folder:
        debian.unpack(fetch(ASTERISK, cache / "packages"), Path(folder))
        files = {path.stem: path.read_bytes() for path in sorted(Path(folder).rglob("*.wav"))}
    return {name: resample_poly(_samples(files[name]), 2, 1).astype(np.float32) for name in sorted(files)}


def _samples(content: bytes) -> Speech:
    with wave.open(BytesIO(content)) as file:
        return _scaled(file.readframes(file.getnframes()))


def _scaled(content: bytes) -> Speech:
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
