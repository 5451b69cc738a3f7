"""What the user brings → `Model`: load and check, simplify, export from scikit-learn. ONNX is the pivot."""

from edgewise.lab.model.load import Model, load
from edgewise.lab.model.simplify import Simplified, simplify
from edgewise.lab.model.sklearn import export_sklearn, from_sklearn

__all__ = ["Model", "Simplified", "export_sklearn", "from_sklearn", "load", "simplify"]
