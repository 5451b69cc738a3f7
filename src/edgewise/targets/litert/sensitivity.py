"""Which layers cost most when their weights become int8: each is tried alone, on a few calibration samples.

Errors of single layers add up like independent noise, as squares. The layers that make up three quarters of the
sum are spared, which halves the error of the whole; but no more than one layer in four, to keep the file small.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edgewise.bundle.atomic import write_file
from edgewise.bundle.golden import compare
from edgewise.cache import staging_prefix
from edgewise.targets.building import Samples
from edgewise.targets.litert import flatbuffer, session

__all__ = ["Layer", "layers", "spared"]

SHARE = 0.75  # of the summed squares that the spared layers make up
MOST = 0.25  # of all layers
_TRIED = 8  # samples
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}  # where the quantizer's word is not the schema's


class Layer(NamedTuple):
    """A layer as the quantizer names it: its operator, a pattern for its output, and its inputs per output."""

    operator: str
    scope: str
    inputs: int


def layers(source: Path) -> Iterator[Layer]:
    """Yield the convolutions and dense layers of a file, in its order."""
    model = flatbuffer.read(source)
    builtin = flatbuffer.schema().BuiltinOperator
    wanted = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
    kinds = {getattr(builtin, name): _NAMES.get(name, name) for name in wanted}
    for graph in model.subgraphs:
        for operator in graph.operators:
            if name := kinds.get(flatbuffer.kind(model, operator)):
                output = graph.tensors[operator.outputs[0]].name.decode()
                shape = graph.tensors[operator.inputs[1]].shape
                yield Layer(name, f"^{re.escape(output)};", int(shape[-1]))


def spared(
    source: Path, calibration: Samples, kept: Path, quantized: Callable[[Layer, Path], None]
) -> list[Layer]:
    """Return the layers to leave in float; `quantized(layer, path)` writes the file with that one in int8.

    What was found is taken from the folder `kept` if it is there, and kept there if not.
    """
    every = list(layers(source))
    path = kept / "litert-sensitivity.json"
    if not path.exists():
        write_file(path, json.dumps(_errors(source, calibration, kept, every, quantized)).encode())
    errors: list[float] = json.loads(path.read_bytes())
    order = sorted(range(len(every)), key=lambda index: -errors[index])
    left, chosen = sum(errors), []
    for index in order[: int(MOST * len(every))]:
        if left <= (1 - SHARE) * sum(errors):
            break
        left -= errors[index]
        chosen.append(every[index])
    return chosen


def _errors(
    source: Path,
    calibration: Samples,
    kept: Path,
    every: list[Layer],
    quantized: Callable[[Layer, Path], None],
) -> list[float]:
    """Return the mean square of each layer's error, over that of the answers."""
    samples = calibration[:_TRIED]
    whole = session.load(source, (), threads=1)
    reference = [whole.run(sample) for sample in samples]
    whole.close()
    found = []
    with tempfile.TemporaryDirectory(dir=kept, prefix=staging_prefix()) as work:
        alone = Path(work) / "model.tflite"
        for layer in every:
            quantized(layer, alone)
            one = session.load(alone, (), threads=1)
            found.append(compare(reference, [one.run(sample) for sample in samples]).rms ** 2)
            one.close()
    return found
