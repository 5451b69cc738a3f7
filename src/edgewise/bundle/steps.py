"""Declared pre- and post-processing: the way from raw input to tensors, and from tensors to an answer.

A step is data, so any client (Python, browser, Swift) can follow it. Files it needs (tokenizer.json, the
characters of an OCR model) belong to the bundle by digest. `file` holds a path in `edgewise.toml`, and an
artifact digest in a manifest.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Ctc", "Image", "Labels", "PostStep", "PreStep", "PythonStep", "Softmax", "Tokenize", "portable"]


Count = Annotated[int, msgspec.Meta(ge=1)]
Divisor = Annotated[float, msgspec.Meta(gt=0)]


class Step(msgspec.Struct, frozen=True, tag_field="op", kw_only=True, forbid_unknown_fields=True):
    """Base of all steps: the key `op` selects the type."""


class Tokenize(Step, frozen=True, tag="tokenize", kw_only=True):
    """Text → int64 ids and mask, each [1, tokens], by a `tokenizers` tokenizer.json; cut at `max_tokens`."""

    file: str
    max_tokens: Count = 512
    ids: str = "input_ids"
    mask: str | None = "attention_mask"
    types: str | None = None


class Image(Step, frozen=True, tag="image", kw_only=True):
    """Picture → float32 [1, 3, H, W] (or NHWC): resize, scale to 0..1, subtract `mean`, divide by `std`.

    A missing width (or height) keeps the picture's aspect ratio, and is then filled up with zeros to a multiple
    of `multiple`: fewer different shapes, for which a runtime must prepare itself. `mean` and `std` have one number per
    channel, or one for all; "L" uses their first.
    """

    input: str
    height: Count | None = None
    width: Count | None = None
    multiple: Count = 1
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[Divisor, ...] = (1.0, 1.0, 1.0)
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __post_init__(self) -> None:
        if not {len(self.mean), len(self.std)} <= {1, 3}:
            raise ValueError("mean and std take one number, or one for each of 3 channels")


class PythonStep(Step, frozen=True, tag="python", kw_only=True):
    """A user's own function `file.py:name`. Allowed in the lab; never portable to a device."""

    function: str


class Softmax(Step, frozen=True, tag="softmax", kw_only=True):
    """Turn the scores of `output` into probabilities over the last axis."""

    output: str


class Labels(Step, frozen=True, tag="labels", kw_only=True):
    """Name the highest score of `output`: the answer is the name, the score its confidence."""

    output: str
    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Ctc(Step, frozen=True, tag="ctc", kw_only=True):
    """Greedy CTC decoding of `output` [1, T, C]: merge repeats, drop `blank`, join the characters.

    `file` has one character per line, for the classes after the blank; a class past its end is a space.
    """

    output: str
    file: str
    blank: Annotated[int, msgspec.Meta(ge=0)] = 0


PreStep = Tokenize | Image | PythonStep
PostStep = Softmax | Labels | Ctc


def portable(steps: tuple[PreStep, ...]) -> bool:
    """Tell whether a device can follow `steps`."""
    return not any(isinstance(step, PythonStep) for step in steps)
