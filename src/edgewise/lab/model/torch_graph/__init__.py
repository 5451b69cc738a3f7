"""ONNX → torch: `to_torch` makes a module of plain torch operators out of an ONNX graph.

For those who bring only ONNX, and want to prune, distil or fine-tune, or build for a target that starts from torch.

    proto      functions inlined, inputs fixed, constants in one place
    translate  node by node into a torch.fx graph; registry and ops say how each operator is computed, tree where
               its weights live, host and trial keep sizes symbolic so that torch.export sees through them
    verify     ONNX Runtime and the module answer the same requests, or the import is refused
"""

from edgewise.lab.model.torch_graph.importing import dynamic_shapes, to_torch

__all__ = ["dynamic_shapes", "to_torch"]
