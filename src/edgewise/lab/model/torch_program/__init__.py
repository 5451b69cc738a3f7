"""A torch program becomes the pivot: `.pt2` or `nn.Module` → ExportedProgram → ONNX, held to the program's own answers.

`tracing` makes the program of a module, `archive` looks at a stranger's file before torch opens it, `convert` writes
ONNX, `proof` compares; `worker` does it in a process of its own, and `bringing` keeps the result by content.
"""

from edgewise.lab.model.torch_program.bringing import bring, is_torch
from edgewise.lab.model.torch_program.exporting import export_torch

__all__ = ["bring", "export_torch", "is_torch"]
