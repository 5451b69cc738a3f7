"""Activation ranges for static quantization, found one sample at a time.

ONNX Runtime's calibrators keep the outputs of every operator for every sample in memory, and stack them for
their histograms, which fails as soon as two samples differ in length. Fed sample by sample instead, their
histograms would grow without bound: the bins are as wide as the first sample suggests. So the data is read
twice, first for the smallest and largest value of every tensor, then to count into histograms that span them.
The result is what ONNX Runtime finds in one call over samples of equal shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgewise.cache import staging_prefix
from edgewise.targets.onnxruntime import cuts

__all__ = ["find"]

_ENTROPY_BINS = 256
"""Bins of the histogram over [-T, T]: cuts from T / 2 upwards are compared.

With ONNX Runtime's default, 128 for 128 quantized ones, T itself is the only cut and the result that of minmax;
the time its search takes grows with the square.
"""

Samples = Sequence[Mapping[str, NDArray[Any]]]
Method = Literal["minmax", "percentile", "entropy", "mse"]


def find(model: Path, calibration: Samples, method: Method, kept: Path, *, large: bool = False) -> Path:
    """Return the file with the ranges of all float tensors: the calibration cache of `quantize_static`.

    It is taken from the folder `kept` if it is there, and kept there if not: a range depends on neither the
    type of the weights nor their channels. `large`: the model is too large for one file. Raises ValueError for
    a histogram of infinite values.
    """
    from onnxruntime.quantization.calibrate import save_tensors_data

    path = kept / f"{method}.json"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=kept, prefix=staging_prefix()) as work:
            found = _found(model, calibration, method, kept, Path(work), large)
            save_tensors_data(found, Path(work) / path.name)
            (Path(work) / path.name).replace(path)
    return path


def _found(model: Path, calibration: Samples, method: Method, kept: Path, work: Path, large: bool) -> Any:
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import load_tensors_data

    if method == "minmax":
        return _collected(_calibrator(model, CalibrationMethod.MinMax, work, large), calibration)
    kinds = {"percentile": CalibrationMethod.Percentile}
    bins = {"entropy": _ENTROPY_BINS, "mse": cuts.BINS}.get(method)
    calibrator = _calibrator(model, kinds.get(method, CalibrationMethod.Entropy), work, large, bins)
    spans = load_tensors_data(find(model, calibration, "minmax", kept, large=large))
    calibrator.collector = _collector(calibrator, spans)
    if method == "mse":
        calibrator.collector.compute_collection_result = partial(_least_error, calibrator.collector)
    return _collected(calibrator, calibration)


def _least_error(collector: Any) -> dict[str, Any]:
    from onnxruntime.quantization.calibrate import TensorData

    found = {}
    for name, (counts, edges, low, high) in collector.histogram_dict.items():
        lower, upper = cuts.best(counts, edges, float(low), float(high))
        found[name] = TensorData(lowest=low.dtype.type(lower), highest=high.dtype.type(upper))
    return found


class _One:
    """A calibration data reader of one sample."""

    def __init__(self, sample: Mapping[str, NDArray[Any]]) -> None:
        self._sample: dict[str, NDArray[Any]] | None = dict(sample)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        sample, self._sample = self._sample, None
        return sample


def _calibrator(model: Path, method: Any, work: Path, large: bool, bins: int | None = None) -> Any:
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    # The operators that `quantize_static` quantizes unless told otherwise: all that it can.
    operators = sorted({*QLinearOpsRegistry, *QDQRegistry})
    augmented = str(work / "augmented.onnx")
    return create_calibrator(
        model,
        operators,
        augmented,
        method,
        use_external_data_format=large,
        extra_options={"num_bins": bins} if bins else {},
    )


def _collected(calibrator: Any, calibration: Samples) -> Any:
    for sample in calibration:
        calibrator.collect_data(_One(sample))
    return calibrator.compute_data()


def _collector(calibrator: Any, spans: Any) -> Any:
    """Return a collector of histograms as wide as the data: T is the largest magnitude of a tensor.

    The percentile method counts magnitudes over [0, T]; entropy and mse count values over [-T, T].
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    class Spanned(HistogramCollector):  # type: ignore[misc]  # onnxruntime has no types
        def collect(self, arrays: Mapping[str, Sequence[NDArray[Any]]]) -> None:
            for name, (array,) in arrays.items():
                counts, edges, *rest = self.histogram_dict[name]
                values = np.abs(array) if self.symmetric else array
                counts = counts + np.histogram(values, counts.size, range=(edges[0], edges[-1]))[0]
                self.histogram_dict[name] = (counts, edges, *rest)

    collector = Spanned(
        method=calibrator.method,
        symmetric=calibrator.symmetric,
        num_bins=calibrator.num_bins,
        num_quantized_bins=calibrator.num_quantized_bins,
        percentile=calibrator.percentile,
        scenario=calibrator.scenario,
    )
    for name in sorted(calibrator.tensors_to_calibrate):
        low, high = (np.asarray(value).reshape(-1)[0] for value in spans[name].range_value)
        if not np.isfinite([low, high]).all():
            raise ValueError(f"tensor {name!r} reaches {low} … {high}: its histogram cannot be drawn")
        most = np.maximum(np.abs(low), np.abs(high))
        least = low.dtype.type(0) if calibrator.symmetric else -most
        counts, edges = np.histogram(np.array([], low.dtype), calibrator.num_bins, range=(least, most))
        collector.histogram_dict[name] = (counts, edges, low, high)
    return collector
