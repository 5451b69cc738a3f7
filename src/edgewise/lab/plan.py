"""Everything a build needs to know before it tries anything: read, checked and split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle.processing import preprocessor
from edgewise.cache import Cache
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import settings
from edgewise.lab.config import Config
from edgewise.lab.data import calibration, metrics, samples, splits
from edgewise.lab.data.metrics import Metric
from edgewise.lab.data.samples import Dataset
from edgewise.lab.data.splits import Splits
from edgewise.lab.model.base import Model
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.model.take import take
from edgewise.lab.train import data
from edgewise.lab.train.data import Training
from edgewise.targets.status import Status, status

__all__ = ["Plan", "prepare"]

UNLABELLED = "agreement"


@dataclass(frozen=True, slots=True)
class Plan:
    """The checked inputs of a build; `training` where there are samples to train students with."""

    config: Config
    model: Model
    metric: Metric
    metric_name: str
    classes: int | None
    splits: Splits
    targets: tuple[str, ...]
    notes: tuple[str, ...]
    training: Training | None = None


def prepare(config: Config, cache: Cache | None = None) -> Plan:
    """Read model and data, and check that they fit each other. Raises InputError."""
    model = take(config.model, cache)
    dataset = _dataset(config, model)
    classes = _classes(model)
    name, notes = _metric_name(config, labelled=dataset.labelled)
    metric = metrics.find(name, config.base, classes)
    if metric.needs_labels:
        for index, sample in enumerate(dataset.samples):
            try:
                metric.check(sample.label, classes)
            except InputError as error:
                raise InputError(f"{dataset.origin}: sample {index}: {error}") from error
    sizes = {key: getattr(config.data, key) for key in splits.NAMES}
    parts = splits.split(dataset, sizes, config.data.seed)
    able, lacking = _targets(config, model)
    doubts = calibration.notes(parts, model.inputs)
    made = (model.origin.note,) if isinstance(model, OnnxModel) and model.origin else ()
    training = _training(config, model, metric, classes, parts)
    said = (*made, *notes, *parts.notes, *doubts, *lacking, *(training.notes if training else ()))
    return Plan(config, model, metric, name, classes, parts, able, said, training)


def _training(
    config: Config, model: Model, metric: Metric, classes: int | None, parts: Splits
) -> Training | None:
    """Read the samples that students are trained on, where there are any."""
    if config.train is None:
        return None
    if not isinstance(model, OnnxModel):
        where = settings.where(config.path, "train")
        raise InputError(f"{where}: students are trained from ONNX, and the model is a .{model.format}")
    preprocess = preprocessor(config.pre, config.find) if config.pre else None
    return data.load(
        config.train, config.base, model.inputs, preprocess, metric=metric, classes=classes, splits=parts
    )


def _dataset(config: Config, model: Model) -> Dataset:
    preprocess = preprocessor(config.pre, config.find) if config.pre else None
    try:
        return samples.load(config.data.samples, config.base, model.inputs, preprocess)
    except InputError as error:
        origin = model.origin if isinstance(model, OnnxModel) else None
        if origin is None or "the model takes" not in str(error):
            raise
        raise InputError(
            f"{error}. These are the sizes and types that {Path(origin.path).name} was exported with: change its "
            "example inputs, or name the axes that may differ in its dynamic shapes"
        ) from error


def _targets(config: Config, model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the targets of the fleet that can be built and run here, and what the others lack.

    The model's own runtime is always among them: everything is compared with what the original answers there.
    """
    wanted = sorted({name for tier in config.tiers for name in tier.runtimes} | {model.runtime})
    missing = {name: _lacking(status(name), model) for name in wanted}
    if missing[model.runtime]:
        raise ToolchainError(f"{model.path} runs in {model.runtime}: {'; '.join(missing[model.runtime])}")
    notes = (f"{name} was not tried: {'; '.join(why)}" for name, why in missing.items() if why)
    return tuple(name for name in wanted if not missing[name]), tuple(notes)


def _lacking(target: Status, model: Model) -> tuple[str, ...]:
    """Return what keeps a target from being built: every target starts from ONNX, or from its own format."""
    if target.missing or isinstance(model, OnnxModel) or target.format == model.format:
        return target.missing
    return (f"it is built from ONNX, and the model is a .{model.format}",)


def _classes(model: Model) -> int | None:
    """Return the number of classes where the outputs tell: the last, fixed axis of the first float output."""
    for spec in model.outputs:
        if spec.dtype.startswith("float") and spec.shape:
            last = spec.shape[-1]
            return last if isinstance(last, int) and last > 1 else None
    return None


def _metric_name(config: Config, *, labelled: bool) -> tuple[str, tuple[str, ...]]:
    asked = config.data.metric
    if labelled:
        if asked is None:
            raise InputError(
                f"{config.path}: [data] metric is missing: known are {', '.join(metrics.names())}"
            )
        return asked, ()
    if asked in (None, "agreement", "cosine"):
        return asked or UNLABELLED, (
            "the data has no labels: only agreement with the original is judged, not quality",
        )
    raise InputError(
        f"{config.path}: metric {asked!r} needs labels, and {config.data.samples} has none: add 'labels'"
    )
