"""The ONNX operators the importer knows, a file per family; importing this package registers them all."""

from edgewise.lab.model.torch_graph.ops import (
    activation,
    arithmetic,
    attention,
    convolution,
    indexing,
    linear,
    logic,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shape,
    slicing,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "convolution",
    "indexing",
    "linear",
    "logic",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "shape",
    "slicing",
]
