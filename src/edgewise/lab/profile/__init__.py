"""What one run of a model costs, read from its file: MACs by kind, parameters, activations, operators."""

from edgewise.lab.profile.inspection import profile
from edgewise.lab.profile.result import KINDS, Kind, Layer, Profile

__all__ = ["KINDS", "Kind", "Layer", "Profile", "profile"]
