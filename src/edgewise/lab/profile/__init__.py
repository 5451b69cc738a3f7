"""What one run of a model costs, read from its file: MACs by kind, parameters, activations, operators.

`support` says which of its operators a target's accelerators take, before anything is built.
"""

from edgewise.lab.profile.accelerators import support
from edgewise.lab.profile.inspection import profile
from edgewise.lab.profile.result import KINDS, Kind, Layer, Profile

__all__ = ["KINDS", "Kind", "Layer", "Profile", "profile", "support"]
