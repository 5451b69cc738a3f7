"""ONNX Runtime: runs ONNX files on the CPU, everywhere.

Its official builds report to Microsoft unless told not to: loading the library creates a device id and an
event store under the user's home, and an uploader. The variable is read once, when the library is loaded,
so it is set here, before this package's modules can import it; the API call comes too late for that.
Source: Privacy.md in the onnxruntime wheel, "Disabling Telemetry".
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
