"""What the user brings → `Model`: load and check, simplify, export from scikit-learn or torch.

ONNX is the pivot: a torch program becomes one at the door, a .tflite stays what it is.
"""

from edgewise.lab.model.base import Model
from edgewise.lab.model.load import OnnxModel, load
from edgewise.lab.model.simplify import Simplified, simplify
from edgewise.lab.model.sklearn import export_sklearn, from_sklearn
from edgewise.lab.model.take import take
from edgewise.lab.model.torch_program import export_torch

__all__ = [
    "Model",
    "OnnxModel",
    "Simplified",
    "export_sklearn",
    "export_torch",
    "from_sklearn",
    "load",
    "simplify",
    "take",
]
