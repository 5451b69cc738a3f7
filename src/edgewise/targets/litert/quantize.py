"""Quantizes a float .tflite with ai-edge-quantizer; inputs and outputs stay float, whatever happens inside.

Ranges of activations are the smallest and largest values that the calibration samples show. LiteRT's profiler
finds them: the quantizer's own way needs tensors that files with free dimensions do not have.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from edgewise.cache import staging_prefix
from edgewise.errors import ToolchainError, missing_extra
from edgewise.targets.building import Samples
from edgewise.targets.litert import flatbuffer, sensitivity, session
from edgewise.targets.litert.sensitivity import Layer

__all__ = ["dynamic", "half", "int4", "sensitive", "static", "weights"]

Scope = Literal["all", "layers"]
LAYERS = ("CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
TABLE = "EMBEDDING_LOOKUP"


def half(source: Path, destination: Path) -> None:
    """Store weights in float16; they are widened as the file is loaded."""
    recipe = _Recipe()
    for operator in (*LAYERS, TABLE):
        recipe.add("weight_only", operator, num_bits=16, algorithm_key="float_casting")
    _write(source, recipe, destination)


def dynamic(source: Path, destination: Path, spared: Sequence[Layer] = ()) -> None:
    """Store weights in int8, per channel; activations are quantized as they come (the tool's default).

    Layers that are `spared` stay float.
    """
    recipe = _Recipe()
    recipe.add("dynamic", "*", num_bits=8)
    recipe.leave(spared)
    _write(source, recipe, destination)


def weights(source: Path, destination: Path, spared: Sequence[Layer] = ()) -> None:
    """Store weights in int8, per channel; activations and arithmetic stay float. Layers that are `spared` do, too."""
    recipe = _Recipe()
    recipe.add("weight_only", "*", num_bits=8)
    recipe.add("dynamic", TABLE, num_bits=8)  # reads the rows it needs; the other would widen the whole table
    recipe.leave(spared)
    _write(source, recipe, destination)


def sensitive(source: Path, calibration: Samples, kept: Path) -> list[Layer]:
    """Return the layers that cost most when their weights become int8. Raises ToolchainError where none stands out."""

    def alone(layer: Layer, path: Path) -> None:
        recipe = _Recipe()
        recipe.add("weight_only", layer.operator, scope=layer.scope, num_bits=8)
        path.write_bytes(_quantized(source, recipe))

    found = sensitivity.spared(source, calibration, kept, alone)
    if not found:
        raise ToolchainError("nothing to spare: too few layers, or none that int8 harms")
    return found


def int4(source: Path, destination: Path, *, block: Literal[0, 32]) -> None:
    """Store dense layers and embeddings in int4, per channel or in blocks of 32 inputs, and the rest in int8."""
    recipe = _Recipe()
    recipe.add("dynamic", "*", num_bits=8)
    size = {"granularity": f"BLOCKWISE_{block}"} if block else {}
    for operator in ("FULLY_CONNECTED", TABLE):
        recipe.add("dynamic", operator, num_bits=4, **size)
    for layer in sensitivity.layers(source) if block else ():
        if layer.operator == "FULLY_CONNECTED" and layer.inputs % block:
            recipe.add("dynamic", layer.operator, scope=layer.scope, num_bits=8)
    _write(source, recipe, destination)
    if not _has_int4(destination):
        destination.unlink()
        blocks = f" with inputs in whole blocks of {block}" if block else ""
        raise ToolchainError(f"nothing became int4: this model has no dense layer or embedding{blocks}")


def static(
    source: Path, destination: Path, calibration: Samples, kept: Path, *, bits: Literal[8, 16], scope: Scope
) -> None:
    """Store weights in int8, and activations in `bits` with ranges from the calibration samples.

    `layers`: only operators with weights compute in integers; attention, masks and normalisation stay float.
    """
    recipe = _Recipe()
    for operator in ("*",) if scope == "all" else LAYERS:
        recipe.add("static", operator, activation_num_bits=bits, weight_num_bits=8)
    recipe.leave([Layer("INPUT", ".*", 0), Layer("OUTPUT", ".*", 0)])
    recipe.add("dynamic", TABLE, num_bits=8)
    _write(source, recipe, destination, _ranges(source, calibration, kept))


class _Recipe:
    """ai-edge-quantizer's recipe; of two entries for an operator the later holds."""

    def __init__(self) -> None:
        recipe_manager = _quantizer("recipe_manager")
        self._names = _quantizer("qtyping").TFLOperationName
        self._manager = recipe_manager.RecipeManager()
        self._none = recipe_manager.AlgorithmName.NO_QUANTIZE

    def add(self, mode: str, operator: str, *, scope: str = ".*", **options: Any) -> None:
        getattr(self._manager, f"add_{mode}_config")(scope, self._names(operator), **options)

    def leave(self, layers: Sequence[Layer]) -> None:
        for layer in layers:
            name = self._names(layer.operator)
            self._manager.add_quantization_config(layer.scope, name, algorithm_key=self._none)

    def entries(self) -> Any:
        return self._manager.get_quantization_recipe()


def _quantizer(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"ai_edge_quantizer.{module}")
    except ImportError as error:
        raise missing_extra("ai-edge-quantizer", "litert-lab") from error


def _quantized(source: Path, recipe: _Recipe, ranges: Any = None) -> bytes:
    quantizer = _quantizer("quantizer").Quantizer(str(source))
    quantizer.load_quantization_recipe(recipe.entries())
    made = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(made.quantized_model)


def _write(source: Path, recipe: _Recipe, destination: Path, ranges: Any = None) -> None:
    made, before = _quantized(source, recipe, ranges), source.stat().st_size
    if len(made) >= before:
        raise ToolchainError(f"quantizing changed nothing: {before:,} bytes before, {len(made):,} after")
    destination.write_bytes(made)


def _ranges(source: Path, calibration: Samples, kept: Path) -> Any:
    """Return the ranges of all tensors: from the folder `kept` if they are there, and kept there if not."""
    calibrator = _quantizer("calibrator")
    path = kept / "litert-ranges.json"
    found = calibrator.Calibrator(
        source.read_bytes(),
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=_quantizer("utils.qsv_utils").min_max_update,
    )
    if not path.exists():
        key, feeds = session.feeds(source, calibration)
        found.calibrate({key: feeds}, None)
        with tempfile.TemporaryDirectory(dir=kept, prefix=staging_prefix()) as work:
            found.save_calibration_result(str(Path(work) / path.name))
            (Path(work) / path.name).replace(path)
    found.load_model_qsvs(str(path))
    return found.get_model_qsvs()


def _has_int4(path: Path) -> bool:
    kinds = flatbuffer.schema().TensorType
    graphs = flatbuffer.read(path).subgraphs
    return any(tensor.type == kinds.INT4 for graph in graphs for tensor in graph.tensors)
