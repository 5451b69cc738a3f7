"""What a profile says, as plain data: `msgspec.to_builtins` turns it into JSON's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgewise.bundle.manifest import TensorSpec

__all__ = ["KINDS", "Kind", "Layer", "Profile"]

Kind = Literal[
    "conv 1x1",
    "conv 3x3",
    "conv other",
    "conv depthwise",
    "conv grouped",
    "conv transposed",
    "fully connected",
    "attention",
    "recurrent",
    "other",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""`fully connected` multiplies by stored weights, `attention` two activations; `other` has no MACs."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator with multiply-accumulates or parameters, in file order.

    `macs` is for one run with the profile's dimensions. `output` is the shape of the first output, empty
    when it is unknown. Weights that several layers share count in each of them.
    """

    name: str
    op: str
    kind: Kind
    macs: int
    parameters: int
    output: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What one run of a model costs, computed from its graph; nothing here was timed.

    One MAC is one multiply and one add; element-wise operators, norms and pooling are not counted.
    `parameters` counts stored weights, without quantization scales, shapes and scalars. `weight_bytes` is of
    all stored tensors by stored type. `activation_bytes` adds up every tensor computed from the inputs;
    `peak_activation_bytes` is the most alive at once, in file order, when every operator that can work in
    place does: a lower bound for a runtime that runs one operator at a time. `operators` counts nodes,
    nested ones included, Constant left out. `dims` are the values used for dynamic dimensions, and
    `assumptions` says in sentences what was not in the file.
    """

    macs: int
    macs_by_kind: dict[Kind, int]
    parameters: int
    weight_bytes: dict[str, int]
    activation_bytes: int
    peak_activation_bytes: int
    operators: dict[str, int]
    opsets: dict[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dims: dict[str, int]
    layers: tuple[Layer, ...]
    assumptions: tuple[str, ...]
