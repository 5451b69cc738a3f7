"""ONNX → MIL, Core ML's intermediate language, on coremltools' own builder and without torch.

    registry    what a node is, and the function of each operator
    values      looking at MIL values, arithmetic on sizes
    program     the walk over a graph, and what Core ML can hold of its inputs and outputs
    …           the operators by theme

Importing this package imports coremltools.
"""

from edgewise.targets.coreml.mil import (  # noqa: F401 - each registers its operators
    activation,
    casting,
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    logic,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduce,
    resizing,
    shape,
    slicing,
)
