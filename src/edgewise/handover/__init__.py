"""The hand-over: what a tier gets, as files that an app's developer can put into a project.

bundle → select (tier, variant, its inputs and outputs) → files, snippet, README and handover.json in one folder

It needs a bundle and nothing of the lab. Swift and Kotlin get the artifact itself; Python and the browser, which
have a client that opens bundles, get the part of the bundle that the tier needs.
"""

from edgewise.handover.exporting import Exported, export

__all__ = ["Exported", "export"]
