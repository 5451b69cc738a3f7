"""What the user brings → `Model`: load and check, simplify, export from scikit-learn. ONNX is the pivot; a .tflite stays what it is."""

from edgewise.lab.model.base import Model
from edgewise.lab.model.load import OnnxModel, load
from edgewise.lab.model.simplify import Simplified, simplify
from edgewise.lab.model.sklearn import export_sklearn, from_sklearn
from edgewise.lab.model.take import take

__all__ = ["Model", "OnnxModel", "Simplified", "export_sklearn", "from_sklearn", "load", "simplify", "take"]
