"""What ONNX Runtime Web runs on WebGPU; all else it runs in WebAssembly."""

from edgewise.targets.browser.webgpu import partitionings

__all__ = ["partitionings"]
