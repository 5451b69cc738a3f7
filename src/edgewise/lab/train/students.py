"""Students: nets that may answer in the original's place, as data; the type of one selects the code that makes it.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, ClassVar

import msgspec

__all__ = ["AnyStudent", "Aware", "FewerLayers", "Named", "Pruned", "StaticEmbedding", "Student"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Student(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True, forbid_unknown_fields=True):
    """Base of all students. `version` changes when the same options give another net.

    The original, the training samples, the options and the seed give the same bytes again.
    """

    rate: ClassVar[float]
    """The highest learning rate where the user gives none."""
    version: int = 1

    @property
    def name(self) -> str:
        """Short name, for the id of a candidate."""
        raise NotImplementedError


class Pruned(Student, frozen=True, tag="pruned", kw_only=True):
    """The original with whole channels cut out, until `share` of its multiplications are gone.

    Channel counts stay multiples of `align`: kernels of runtimes work on groups of 8 or 16.
    """

    rate: ClassVar[float] = 5e-3
    share: Share = 0.5
    align: Count = 8

    @property
    def name(self) -> str:
        """As in `pruned-50`."""
        return f"pruned-{100 * self.share:g}" + (f"-by-{self.align}" if self.align != 8 else "")


class FewerLayers(Student, frozen=True, tag="fewer-layers", kw_only=True):
    """The original with the first `keep` of the layers that it repeats."""

    rate: ClassVar[float] = 1e-4
    keep: Count

    @property
    def name(self) -> str:
        """As in `layers-3`."""
        return f"layers-{self.keep}"


class StaticEmbedding(Student, frozen=True, tag="static-embedding", kw_only=True):
    """One vector of `size` for each token, from what the original makes of the token alone; their mean; a small head.

    `ids` and `mask` are the names of inputs, as in `op = "tokenize"`; `mask = ""` where the model takes none.
    """

    rate: ClassVar[float] = 1e-3
    size: Count = 256
    ids: str = "input_ids"
    mask: str = "attention_mask"

    @property
    def name(self) -> str:
        """As in `static-256`."""
        return f"static-{self.size}"


class Named(Student, frozen=True, tag="named", kw_only=True):
    """A net of the user's: `function = "file.py:name"` returns an nn.Module that takes the original's inputs in order."""

    rate: ClassVar[float] = 1e-3
    function: str

    @property
    def name(self) -> str:
        """As in `named-net-make`."""
        file, _, function = self.function.rpartition(":")
        return f"named-{PurePath(file).stem}-{function}"


class Aware(Student, frozen=True, tag="aware", kw_only=True):
    """The original, trained further while its weights are rounded to `bits` and its activations to 8."""

    rate: ClassVar[float] = 3e-4
    bits: Annotated[int, msgspec.Meta(ge=2, le=8)] = 8

    @property
    def name(self) -> str:
        """As in `aware-8`."""
        return f"aware-{self.bits}"


AnyStudent = Pruned | FewerLayers | StaticEmbedding | Named | Aware
