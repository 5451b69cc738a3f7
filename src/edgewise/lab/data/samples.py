"""What the user's data looks like once read: samples in their natural shapes, with labels and groups.

Sources: `samples.npz`; a folder of `.npy` files (one per key); `file.py:function` that yields samples.
Keys: one per model input (stacked along a first axis), or `text` / `raw` where pre-processing is declared;
`labels`, `groups` (samples that share a source) and `split` (calibration, search or test) are optional.
A function yields `inputs`, `(inputs, label)` or `(inputs, label, group)`; `inputs` is a dict of tensors or a
raw value.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.manifest import TensorSpec
from edgewise.bundle.processing import load_function
from edgewise.errors import EdgewiseError, InputError

__all__ = ["MINIMUM", "Dataset", "Sample", "load"]

MINIMUM = 20  # fewer samples cannot fill three splits that say anything
RAW_KEYS = ("text", "raw")
RESERVED = frozenset({"labels", "groups", "split"})

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: tensors as the model takes them, and the raw input they came from if there was one."""

    inputs: Tensors
    raw: Any = None
    label: Any = None
    group: Any = None
    split: str | None = None

    def digest(self) -> str:
        """Content of the inputs alone: equal for duplicates, whatever their labels."""
        hasher = hashlib.sha256()
        for name in sorted(self.inputs):
            array = self.inputs[name]
            hasher.update(f"{name}{array.dtype}{array.shape}".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """All samples, and where they came from (for messages)."""

    samples: tuple[Sample, ...]
    origin: str

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return all(sample.label is not None for sample in self.samples)


def load(
    reference: str,
    base: Path,
    specs: Sequence[TensorSpec],
    preprocess: Callable[[Any], Tensors] | None = None,
) -> Dataset:
    """Read and check the data that `reference` (relative to `base`) names.

    Raises InputError naming the sample and input that does not fit the model, holds NaN or infinity, or has no
    label where others have one; and when there are fewer than `MINIMUM` samples.
    """
    if ".py:" in reference:
        rows: Iterable[Sample] = _from_function(reference, base)
    else:
        raw_keys = [key for key in RAW_KEYS if preprocess or key not in {spec.name for spec in specs}]
        rows = _from_arrays(_read_arrays(base / reference), reference, specs, raw_keys)
    samples = tuple(_checked(row, i, specs, preprocess, reference) for i, row in enumerate(rows))
    _check_whole(samples, reference)
    return Dataset(samples, reference)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise InputError(
            f"data {path} does not exist: set [data] samples to an .npz, a folder of .npy or file.py:function"
        )
    try:
        if path.is_dir():
            return {file.stem: np.load(file, allow_pickle=False) for file in sorted(path.glob("*.npy"))}
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything on a damaged file
        raise InputError(
            f"data {path} cannot be read as .npz (pickled objects are refused): {error}"
        ) from error
    if other := next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None):
        raise InputError(f"data {path} cannot be read as .npz: {other!r} in it is not an array")
    return arrays


def _from_arrays(
    arrays: Mapping[str, NDArray[Any]], origin: str, specs: Sequence[TensorSpec], raw_keys: Sequence[str]
) -> list[Sample]:
    raw = next((arrays[key] for key in raw_keys if key in arrays), None)
    tensors = {name: array for name, array in arrays.items() if name not in {*RESERVED, *raw_keys}}
    unknown = sorted(tensors.keys() - {spec.name for spec in specs})
    if unknown:
        wanted = ", ".join(spec.name for spec in specs)
        raise InputError(f"{origin}: {unknown[0]!r} is no input of the model; its inputs are {wanted}")
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not lengths or (raw is None and not tensors):
        raise InputError(
            f"{origin} holds no samples: give one array per model input, or 'text' with [[pre]] steps"
        )
    count = lengths[next(name for name in (*raw_keys, *tensors) if name in arrays)]
    other = next((name for name, length in lengths.items() if length != count), None)
    if other:
        raise InputError(
            f"{origin}: {other!r} has {lengths[other]} entries for {count} samples: they must be equal"
        )
    ranks = {spec.name: len(spec.shape) for spec in specs}
    return [
        Sample(
            inputs={
                name: array[i, ...] if array.ndim > ranks[name] else array[i : i + 1]
                for name, array in tensors.items()
            },
            raw=None if raw is None else _scalar(raw[i]),
            label=_optional(arrays, "labels", i),
            group=_optional(arrays, "groups", i),
            split=_optional(arrays, "split", i),
        )
        for i in range(count)
    ]


def _optional(arrays: Mapping[str, NDArray[Any]], key: str, index: int) -> Any:
    return _scalar(arrays[key][index]) if key in arrays else None


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _from_function(reference: str, base: Path) -> Iterable[Sample]:
    file, _, name = reference.rpartition(":")
    function = load_function(base / file, name)
    try:
        for item in function():
            inputs, label, group = _parts(item, reference)
            tensors = inputs if isinstance(inputs, dict) else {}
            yield Sample(dict(tensors), None if tensors else inputs, label, _scalar(group))
    except EdgewiseError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{reference} raised {type(error).__name__}: {error}") from error


def _parts(item: Any, reference: str) -> tuple[Any, Any, Any]:
    parts = item if isinstance(item, tuple) else (item,)
    if not 1 <= len(parts) <= 3:
        raise InputError(
            f"{reference} yields {len(parts)} things: yield inputs, (inputs, label) or (inputs, label, group)"
        )
    inputs, label, group = (*parts, None, None)[:3]
    return inputs, label, group


def _checked(
    sample: Sample,
    index: int,
    specs: Sequence[TensorSpec],
    preprocess: Callable[[Any], Tensors] | None,
    origin: str,
) -> Sample:
    where = f"{origin}: sample {index}"
    if sample.raw is not None:
        if preprocess is None:
            raise InputError(
                f"{where} is raw input, but no [[pre]] steps are declared: declare them or give tensors"
            )
        try:
            sample = replace(sample, inputs=preprocess(sample.raw))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    for spec in specs:
        if spec.name not in sample.inputs:
            got = ", ".join(map(str, sample.inputs)) or "none"
            raise InputError(f"{where} has no input {spec.name!r} (it has: {got})")
        _check_tensor(sample.inputs[spec.name], spec, where)
    extra = [name for name in sample.inputs if name not in {spec.name for spec in specs}]
    if extra:
        raise InputError(f"{where}: {extra[0]!r} is no input of the model")
    for key, value in (("group", sample.group), ("split", sample.split)):
        if isinstance(value, np.ndarray | list | dict | set):
            raise InputError(f"{where}: its {key} is {type(value).__name__}: give one number or text")
    return replace(sample, label=_label(sample.label, where))


def _label(label: Any, where: str) -> Any:
    """Return a label as workers read it back: a number, a text or an array."""
    if label is None:
        return None
    try:
        array = np.asarray(label)
    except ValueError:  # lists of unequal length
        array = np.array(None)
    if array.dtype.kind not in "biufSU":
        raise InputError(f"{where}: its label is {type(label).__name__}: give a number, a text or an array")
    if array.dtype.kind == "f" and array.ndim == 0 and not np.isfinite(array):
        raise InputError(f"{where}: its label is {array}: remove or correct it")
    return array.item() if array.ndim == 0 else array


def _check_tensor(array: Any, spec: TensorSpec, where: str) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{where}: input {spec.name!r} is {type(array).__name__}, expected a numpy array")
    if array.dtype.kind != "U" if spec.dtype == "str" else array.dtype != np.dtype(spec.dtype):
        raise InputError(
            f"{where}: input {spec.name!r} is {array.dtype}, the model takes {spec.dtype}: convert it"
        )
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"{where}: input {spec.name!r} has shape {list(array.shape)}, the model takes {list(spec.shape)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        kind = "NaN" if np.isnan(array).any() else "infinity"
        raise InputError(f"{where}: input {spec.name!r} holds {kind}: remove or repair the sample")


def _check_whole(samples: Sequence[Sample], origin: str) -> None:
    if not samples:
        raise InputError(f"{origin} is empty: edgewise needs at least {MINIMUM} samples")
    if len(samples) < MINIMUM:
        raise InputError(
            f"{origin} has {len(samples)} samples: edgewise needs at least {MINIMUM}, some hundreds to claim quality"
        )
    missing = [i for i, sample in enumerate(samples) if sample.label is None]
    if missing and len(missing) < len(samples):
        raise InputError(f"{origin}: sample {missing[0]} has no label while others have: label all or none")


def natural_shapes(samples: Iterable[Sample]) -> int:
    """Count the distinct shapes among samples (1 means a fixed size)."""
    return len({tuple(array.shape for array in s.inputs.values()) for s in itertools.islice(samples, 1000)})
