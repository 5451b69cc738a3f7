"""The tools' own calls, as their documentation has them; imported and run in a process of each peer's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import olive
from edgewise.bundle.processing import Answered, postprocessor
from edgewise.lab.plan import Plan
from edgewise.targets.litert import session as litert
from edgewise.targets.onnxruntime import session as onnxruntime

__all__ = ["TOOLS", "Given"]

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Given:
    """What a tool gets: the model's file, the samples, and an empty folder for what it makes."""

    source: Path
    folder: Path
    work: Path
    plan: Plan
    olive: str

    @property
    def calibration(self) -> list[Tensors]:
        """The inputs of the calibration split."""
        return [dict(sample.inputs) for sample in self.plan.splits.calibration]


def _ort_dynamic(given: Given) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(given.source, given.folder / "model.onnx")


def _ort_static(given: Given) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        samples = iter(given.calibration)

        def get_next(self) -> Tensors | None:
            return next(self.samples, None)

    ready = given.work / "ready.onnx"
    quant_pre_process(given.source, ready)
    quantize_static(ready, given.folder / "model.onnx", Reader())


def _nncf_onnx(given: Given, *, transformer: bool = False) -> None:
    import nncf
    import onnx

    kind = nncf.ModelType.TRANSFORMER if transformer else None
    made = nncf.quantize(onnx.load(given.source), nncf.Dataset(given.calibration), model_type=kind)
    onnx.save(made, given.folder / "model.onnx")


def _nncf_openvino(given: Given, *, transformer: bool = False) -> None:
    import nncf
    import openvino

    kind = nncf.ModelType.TRANSFORMER if transformer else None
    model = openvino.Core().read_model(given.source)
    made = nncf.quantize(model, nncf.Dataset(given.calibration), model_type=kind)
    openvino.save_model(made, given.folder / "model.xml")


def _nncf_accuracy(given: Given) -> None:
    import nncf
    import openvino

    reference = onnxruntime.load(given.source, given.plan.model.outputs)
    samples = [(sample, reference.run(sample.inputs)) for sample in given.plan.splits.search]
    made = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(given.source),
        nncf.Dataset(given.calibration),
        nncf.Dataset(samples, lambda pair: pair[0].inputs),
        partial(_quality, given.plan),
    )
    openvino.save_model(made, given.folder / "model.xml")


def _quality(plan: Plan, compiled: Any, samples: Iterable[Any]) -> tuple[float, None]:
    """Return the project's metric, higher is better, as NNCF asks for it."""
    post = postprocessor(plan.config.post, plan.config.find)
    rows = []
    for sample, own in samples:
        answers = compiled(sample.inputs)
        outputs = {spec.name: answers[spec.name] for spec in plan.model.outputs}
        found = post(outputs)
        answer = Answered(found.value, found.confidence, outputs)
        rows.append(plan.metric.statistics(answer, sample.label, own))
    value = float(plan.metric.value(np.sum(rows, axis=0)))
    return (value if plan.metric.higher_is_better else -value), None


def _aeq(given: Given, recipe: str) -> None:
    """Quantize with a recipe of the tool; inputs and outputs stay float, as a caller that feeds floats needs them."""
    from ai_edge_quantizer import quantizer, recipe_manager
    from ai_edge_quantizer import recipe as recipes

    leave = recipe_manager.AlgorithmName.NO_QUANTIZE
    ends = [
        {"regex": ".*", "operation": name, "algorithm_key": leave, "op_config": {}}
        for name in ("INPUT", "OUTPUT")
    ]
    tool = quantizer.Quantizer(str(given.source), [*getattr(recipes, recipe)(), *ends])
    ranges = None
    if tool.need_calibration:
        key, feeds = litert.feeds(given.source, given.calibration)
        ranges = tool.calibrate({key: feeds})
    (given.folder / "model.tflite").write_bytes(bytes(tool.quantize(ranges).quantized_model))
    for io in given.source.parent.glob("io.json"):
        shutil.copy(io, given.folder)


def _olive(given: Given) -> None:
    made = olive.auto_opt(given.olive, given.source, given.work / "olive")
    for file in made:
        shutil.copy(file, given.folder)


TOOLS: Mapping[str, Callable[[Given], None]] = {
    "ort-dynamic": _ort_dynamic,
    "ort-static": _ort_static,
    "nncf-onnx": _nncf_onnx,
    "nncf-onnx-transformer": partial(_nncf_onnx, transformer=True),
    "nncf-openvino": _nncf_openvino,
    "nncf-openvino-transformer": partial(_nncf_openvino, transformer=True),
    "nncf-accuracy": _nncf_accuracy,
    "aeq-dynamic": partial(_aeq, recipe="dynamic_wi8_afp32"),
    "aeq-static": partial(_aeq, recipe="static_wi8_ai8"),
    "olive": _olive,
}
