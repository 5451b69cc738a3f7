"""OpenVINO: runs its own intermediate representation on Intel and AMD CPUs.

OpenVINO and NNCF report through the package `openvino_telemetry`: one class that, unless somebody opted out in
a file under the user's home, writes a client id there and sends events to Google Analytics from a child
process. `import openvino` is such an event, and NNCF's import another, sent before NNCF_CI is looked at: no
environment variable helps. So importing this package replaces every method of the class by one that does
nothing: no file, no process, no socket, and nothing written into the user's home to say so.
"""

import inspect

__all__: list[str] = []


def _nothing(*_: object, **__: object) -> None:
    """Do nothing, for any arguments."""


def _silence() -> None:
    try:
        from openvino_telemetry import Telemetry
    except ImportError:
        return
    for name, member in list(vars(Telemetry).items()):
        if inspect.isfunction(member):
            setattr(Telemetry, name, _nothing)


_silence()
