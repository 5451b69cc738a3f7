"""A look at the graph before anything is tried: it decides which repairs are worth their time.

No labels are needed, and for all but outliers of activations no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgewise.lab.compress.already import is_quantized, quantized_share
from edgewise.lab.compress.enumerate import is_transformer
from edgewise.lab.compress.equalise import spread
from edgewise.lab.compress.outliers import outliers
from edgewise.lab.compress.prepare import prepared
from edgewise.lab.compress.recipe import Repair
from edgewise.lab.model.base import Model
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.search.fragile import fragile
from edgewise.targets.building import Samples
from edgewise.targets.graph import initializers

__all__ = ["Screen", "screen"]

UNLIKE = (
    8.0  # times the median range: from here on, one scale for a tensor costs its other channels three bits
)
OUTLYING = (
    20.0  # times the median channel: what few of a transformer's activations reach, and then lose the others
)
_WEIGHT = 256  # values from which a tensor says something of its distribution


@dataclass(frozen=True, slots=True)
class Screen:
    """What the graph tells of how it will take to few bits.

    `spread`: the widest channel over the median one, in the layer where that is worst of those that can be
    equalised. `kurtosis`: of the weights with the longest tails (3 is normal). `outlying`: the widest channel that a
    dense layer reads over the median one, on calibration samples. `fragile`: results that carry a mask of −10,000
    or less, which would take the whole range of its tensor. `transformer`: it has attention.
    `quantized`: layers that somebody quantized before.
    """

    spread: float = 1.0
    kurtosis: float = 0.0
    outlying: float = 1.0
    fragile: tuple[str, ...] = ()
    transformer: bool = False
    quantized: int = 0

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The repairs that are worth trying, one by one."""
        return ("equalised",) if self.spread >= UNLIKE else ()

    @property
    def smooths(self) -> bool:
        """Whether moving outliers of activations into weights (SmoothQuant) is worth a try."""
        return self.outlying >= OUTLYING

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found, where it changes what is tried."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.quantized:
            yield (
                f"the model is already quantized: {self.quantized} of its layers have 8 bits or fewer; int8 and int4 "
                "were not tried on top: bring the float model to let edgewise choose"
            )
        if self.repairs:
            yield (
                f"one channel is {self.spread:.0f} times as wide as the median one of its layer: "
                "every quantizer was also tried after equalisation"
            )
        if self.smooths:
            yield (
                f"one channel that a dense layer reads is {self.outlying:.0f} times as wide as the median one: "
                "moving such channels into the weights (SmoothQuant) is worth a try"
            )
        if self.fragile:
            yield (
                f"{len(self.fragile)} results carry a mask of −10,000 or less, which takes the whole range of 8 bits: "
                "where a quantizer falls short, they stay in float"
            )


def screen(model: Model, samples: Samples = ()) -> Screen:
    """Look at a model, and at what its dense layers read of a few samples; of what is no ONNX nothing is known."""
    if not isinstance(model, OnnxModel):
        return Screen()
    ready = prepared(model.proto)
    return Screen(
        spread=spread(ready),
        kurtosis=max(map(_kurtosis, _weights(ready)), default=0.0),
        outlying=max(outliers(model.proto, samples).values(), default=1.0),
        fragile=fragile(ready),
        transformer=is_transformer(model.proto),
        quantized=quantized_share(model.proto).quantized if is_quantized(model.proto) else 0,
    )


def _weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [
        tensor
        for tensor in initializers(model.graph)
        if tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) > 1
        and np.prod(tensor.dims) >= _WEIGHT
    ]


def _kurtosis(tensor: onnx.TensorProto) -> float:
    values = numpy_helper.to_array(tensor).astype(np.float64).ravel()
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 if variance else 0.0
