"""The six models of the target matrix, each as its file, its samples and what it should answer.

    cnn           plain convolutions; trained here on scikit-learn's digits         (zoo_trained.py)
    depthwise     MobileNetV3 style: depthwise, squeeze-excite, ReLU6, hard-swish   (zoo_trained.py)
    transformer   pre-LN encoder over a changing number of tokens, additive mask    (zoo_trained.py)
    minilm        the sentence classifier of `edgewise demo`                        (zoo_found.py)
    ppocr         the text recogniser of `edgewise demo ocr`, in several widths     (zoo_found.py)
    silero        silero-vad: an LSTM, and an `If` on the sampling rate             (zoo_found.py)

    PYTHONPATH=. python tests/targets/zoo.py FOLDER [NAME …]   makes FOLDER/NAME/, once

A model's folder holds `model.onnx`, `calibration.npz` and `eval.npz` with one array `<i>/<input>` for each input of
each sample in its natural shape, and `about.json` (the struct `About`). Its decisions are those that
`edgewise.bundle.golden.compare` counts: the highest of the last axis of the first float output (the class; for
ppocr the character of every step), or where that axis has one entry (silero), whether it is at least one half.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgewise.bundle.atomic import replace_directory
from edgewise.cache import default_folder
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.targets.building import Samples

__all__ = ["NAMES", "About", "Made", "Ready", "make"]

MODULES = {
    "cnn": "zoo_trained",
    "depthwise": "zoo_trained",
    "transformer": "zoo_trained",
    "minilm": "zoo_found",
    "ppocr": "zoo_found",
    "silero": "zoo_found",
}
NAMES = tuple(MODULES)


@dataclass(frozen=True, slots=True)
class Made:
    """What a maker returns: a serialised ONNX model, its samples, and the labels of those that are evaluated."""

    about: str
    model: bytes
    calibration: Samples
    evaluation: Samples
    labels: Sequence[int | str] | None = None


class About(msgspec.Struct, frozen=True):
    """What `about.json` holds; `labels` has one entry per evaluation sample."""

    about: str
    calibration: int
    evaluation: int
    labels: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A model's finished folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The original."""
        return self.folder / "model.onnx"

    @property
    def calibration(self) -> Path:
        """Samples for quantizers; none of them is evaluated."""
        return self.folder / "calibration.npz"

    @property
    def evaluation(self) -> Path:
        """Samples on which artifacts are compared with the original."""
        return self.folder / "eval.npz"

    @property
    def about(self) -> About:
        """What it is."""
        return msgspec.json.decode((self.folder / "about.json").read_bytes(), type=About)


def make(name: str, folder: Path) -> Ready:
    """Return `folder/name`, made on the first call. Raises InputError for an unknown name."""
    if name not in MODULES:
        raise InputError(f"no model {name!r} in the zoo: known are {', '.join(NAMES)}")
    ready = Ready(folder / name)
    if not ready.folder.exists():
        made: Made = _maker(name)(default_folder())
        with replace_directory(ready.folder, marker="about.json") as staging:
            _write(made, Ready(staging))
    return ready


def _maker(name: str) -> Callable[[Path], Made]:
    try:
        module = importlib.import_module(MODULES[name])
    except ImportError as error:
        command = "pip install -r tests/targets/requirements.txt"
        raise ToolchainError(f"{error.name} is not installed. Run: {command}") from error
    maker: Callable[[Path], Made] = getattr(module, name)
    return maker


def _write(made: Made, into: Ready) -> None:
    into.model.write_bytes(made.model)
    store.write(into.calibration, [Sample(dict(inputs)) for inputs in made.calibration])
    store.write(into.evaluation, [Sample(dict(inputs)) for inputs in made.evaluation])
    labels = None if made.labels is None else tuple(made.labels)
    about = About(made.about, len(made.calibration), len(made.evaluation), labels)
    (into.folder / "about.json").write_bytes(msgspec.json.format(msgspec.json.encode(about)))


if __name__ == "__main__":
    for wanted in sys.argv[2:] or NAMES:
        done = make(wanted, Path(sys.argv[1]))
        sys.stdout.write(f"{done.folder}: {done.about.about}\n")
