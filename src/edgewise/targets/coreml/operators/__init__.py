"""MIL's operators in numpy. Importing this package fills `OPERATORS`."""

from edgewise.targets.coreml.operators import (
    activation,
    convolution,
    elementwise,
    gathering,
    linear,
    lists,
    making,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resizing,
    sampling,
    shaping,
    suppression,
)
from edgewise.targets.coreml.operators.registry import OPERATORS, REQUIRED, Operator

__all__ = [
    "OPERATORS",
    "REQUIRED",
    "Operator",
    "activation",
    "convolution",
    "elementwise",
    "gathering",
    "linear",
    "lists",
    "making",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "resizing",
    "sampling",
    "shaping",
    "suppression",
]
