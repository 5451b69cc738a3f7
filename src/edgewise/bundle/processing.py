"""Follow the declared steps: raw input → tensors, tensors → answer; the same code in lab and on device."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.steps import Ctc, Image, Labels, PostStep, PreStep, PythonStep, Softmax, Tokenize
from edgewise.errors import InputError, missing_extra

__all__ = ["Answered", "pixels", "postprocessor", "preprocessor"]

Tensors = dict[str, NDArray[Any]]
Raw = Any
Preprocess = Callable[[Raw], Tensors]
Finder = Callable[[str], Path]


class Answered(msgspec.Struct, frozen=True):
    """What post-processing made of the outputs.

    `value` is None where no step names an answer, for a batch of several, and for scores that are not finite.
    """

    value: str | None
    confidence: float | None
    outputs: Tensors


def preprocessor(steps: Sequence[PreStep], find: Finder) -> Preprocess:
    """Return the function from raw input to model inputs; `find` turns a step's `file` into a path.

    Raises InputError when a step's file cannot be read, ToolchainError when its library is missing.
    """
    parts = [_PRE[type(step)](step, find) for step in steps]

    def run(raw: Raw) -> Tensors:
        tensors: Tensors = {}
        for part in parts:
            tensors |= part(raw)
        return tensors

    return run


def postprocessor(steps: Sequence[PostStep], find: Finder) -> Callable[[Tensors], Answered]:
    """Return the function from model outputs to the answer.

    Raises InputError when a step's file cannot be read, or its output is not there or of another width.
    """
    parts = [_POST[type(step)](step, find) for step in steps]

    def run(outputs: Tensors) -> Answered:
        answered = Answered(None, None, outputs)
        for part in parts:
            answered = part(answered)
        return answered

    return run


def _tokenize(step: Tokenize, find: Finder) -> Preprocess:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_extra("tokenizers", "text") from error
    path = find(step.file)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception on any bad file
        raise InputError(f"{path} is not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(step.max_tokens)

    def run(raw: Raw) -> Tensors:
        if not isinstance(raw, str):
            raise InputError(f"expected text, got {type(raw).__name__}")
        encoded = tokenizer.encode(raw)
        tensors = {step.ids: np.array([encoded.ids], np.int64)}
        if step.mask:
            tensors[step.mask] = np.array([encoded.attention_mask], np.int64)
        if step.types:
            tensors[step.types] = np.array([encoded.type_ids], np.int64)
        return tensors

    return run


def _image(step: Image, find: Finder) -> Preprocess:
    try:
        from PIL import Image as PilImage
    except ImportError as error:
        raise missing_extra("pillow", "image") from error
    mean, std = (
        np.array(values, np.float32)[: 1 if step.channels == "L" else 3] for values in (step.mean, step.std)
    )

    def run(raw: Raw) -> Tensors:
        picture = _picture(raw, PilImage).convert("L" if step.channels == "L" else "RGB")
        picture = picture.resize(_size(step, *picture.size), PilImage.Resampling.BILINEAR)
        pixels = np.atleast_3d(np.asarray(picture, np.float32) / 255)
        if step.channels == "BGR":
            pixels = pixels[..., ::-1]
        pixels = _filled(step, (pixels - mean) / std)
        if step.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        return {step.input: np.ascontiguousarray(pixels[np.newaxis], np.float32)}

    return run


def pixels(raw: Raw) -> NDArray[np.uint8]:
    """Decode a picture (file, bytes or array) to uint8 [height, width, 3] RGB. Raises InputError."""
    try:
        from PIL import Image as PilImage
    except ImportError as error:
        raise missing_extra("pillow", "image") from error
    return np.asarray(_picture(raw, PilImage).convert("RGB"))


def _picture(raw: Raw, pictures: Any) -> Any:
    """Open a path, bytes or an H×W(×3) uint8 array as a picture, and decode it."""
    if isinstance(raw, np.ndarray) and (raw.dtype != np.uint8 or raw.ndim not in {2, 3} or not raw.size):
        raise InputError(f"expected a picture (file, bytes or uint8 array), got {raw.dtype} {raw.shape}")
    try:
        if isinstance(raw, np.ndarray):
            return pictures.fromarray(raw)
        picture = pictures.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw)
        picture.load()
    except Exception as error:  # decoders raise nearly anything on a damaged or a hostile file
        raise InputError(f"expected a picture (file, bytes or uint8 array): {error}") from error
    if picture.mode[0] in "IF":  # Pillow would clip them to 255 without a word
        raise InputError(f"expected a picture of 8 bits a channel, got mode {picture.mode}: convert it first")
    return picture


def _size(step: Image, width: int, height: int) -> tuple[int, int]:
    if step.height and step.width:
        return step.width, step.height
    if step.height:
        return max(1, round(width * step.height / height)), step.height
    if step.width:
        return step.width, max(1, round(height * step.width / width))
    return width, height


def _filled(step: Image, pixels: NDArray[Any]) -> NDArray[Any]:
    """Add zeros below and to the right, up to the step's multiple, on a side that it does not fix."""
    missing = [
        0 if fixed else -size % step.multiple
        for fixed, size in zip((step.height, step.width), pixels.shape[:2], strict=True)
    ]
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else pixels


def _python(step: PythonStep, find: Finder) -> Preprocess:
    file, _, name = step.function.partition(":")
    function = load_function(find(file), name)

    def run(raw: Raw) -> Tensors:
        try:
            return dict(function(raw))
        except Exception as error:  # the user's code may raise anything, and return anything
            raise InputError(f"{step.function} failed: {type(error).__name__}: {error}") from error

    return run


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """Import `name` from the user's own Python file. Raises InputError with the user's error as its cause."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: write it as file.py:function, relative to edgewise.toml")
    spec = importlib.util.spec_from_file_location(f"edgewise_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything, and call sys.exit
        del sys.modules[spec.name]
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{path} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def softmax(scores: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities over the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


def _output(answered: Answered, name: str) -> NDArray[Any]:
    if name not in answered.outputs:
        raise InputError(f"no output {name!r} to post-process: the model has {', '.join(answered.outputs)}")
    return answered.outputs[name]


def _softmax(step: Softmax, find: Finder) -> Callable[[Answered], Answered]:
    def run(answered: Answered) -> Answered:
        outputs = answered.outputs | {step.output: softmax(_output(answered, step.output))}
        return Answered(answered.value, answered.confidence, outputs)

    return run


def _labels(step: Labels, find: Finder) -> Callable[[Answered], Answered]:
    def run(answered: Answered) -> Answered:
        scores = np.atleast_1d(_output(answered, step.output))
        if scores.shape[-1] != len(step.names):
            raise InputError(f"{len(step.names)} label names, but {step.output!r} has shape {scores.shape}")
        scores = scores.reshape(-1, len(step.names))
        if len(scores) != 1 or not np.isfinite(scores).all():
            return Answered(None, None, answered.outputs)  # several requests, or none that can be answered
        scores = scores[0]
        best = int(scores.argmax())
        return Answered(step.names[best], float(scores[best]), answered.outputs)

    return run


def _ctc(step: Ctc, find: Finder) -> Callable[[Answered], Answered]:
    path = find(step.file)
    try:
        characters = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a list of characters, one a line, in UTF-8: {error}") from error
    if characters[-1] == "":
        characters.pop()

    def run(answered: Answered) -> Answered:
        scores = _output(answered, step.output)
        if len(scores) != 1 or not np.isfinite(scores).all():
            return Answered(None, None, answered.outputs)
        scores = scores[0]
        best = scores.argmax(axis=-1)
        kept = [i for i, k in enumerate(best) if k != step.blank and (i == 0 or k != best[i - 1])]
        classes = [int(best[i]) - (1 if best[i] > step.blank else 0) for i in kept]
        text = "".join(characters[k] if k < len(characters) else " " for k in classes)
        confidence = float(np.mean([scores[i, best[i]] for i in kept])) if kept else 0.0
        return Answered(text, confidence, answered.outputs)

    return run


_PRE: dict[type, Callable[[Any, Finder], Preprocess]] = {
    Tokenize: _tokenize,
    Image: _image,
    PythonStep: _python,
}
_POST: dict[type, Callable[[Any, Finder], Callable[[Answered], Answered]]] = {
    Softmax: _softmax,
    Labels: _labels,
    Ctc: _ctc,
}
