"""ONNX Runtime Web: runs ONNX files in a browser, by WebAssembly with threads, or by WebGPU."""
