"""`[train]` in edgewise.toml: the samples to train with, and how long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgewise.lab.train.students import AnyStudent, Named

__all__ = ["TrainSection", "files", "wrong"]


class TrainSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[train]`; whatever is left out is chosen from the model and the number of samples.

    `seconds` bounds the training of one student: it then makes fewer steps, and a note says so. `labels`: learn from
    labels too, where the metric is one of classes; False: from the original's answers alone. `students` are tried
    in place of those that edgewise proposes.
    """

    samples: str
    epochs: int | None = None
    learning_rate: float | None = None
    batch: int = 32
    seconds: float = 600.0
    labels: bool | None = None
    students: tuple[AnyStudent, ...] = ()


def wrong(section: TrainSection) -> Iterator[tuple[str, str]]:
    """Yield each key whose value cannot be meant, and why."""
    rate, epochs = section.learning_rate, section.epochs
    for key, right, wanted in (
        ("epochs", epochs is None or epochs >= 1, "1 or more"),
        ("learning_rate", rate is None or 0 < rate < math.inf, "a finite number above 0"),
        ("batch", section.batch >= 1, "1 or more"),
        ("seconds", 0 < section.seconds < math.inf, "a finite number above 0"),
    ):
        if not right:
            yield f"train.{key}", f"{getattr(section, key)} must be {wanted}"
    names = [student.name for student in section.students]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"train.students[{index}]", f"{name} is there twice"


def files(section: TrainSection) -> Iterator[tuple[str, str]]:
    """Yield each key that names a file of the user's, and the file."""
    for index, student in enumerate(section.students):
        if isinstance(student, Named):
            yield f"train.students[{index}].function", Path(student.function.rpartition(":")[0]).as_posix()
