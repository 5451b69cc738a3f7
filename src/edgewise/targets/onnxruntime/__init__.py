"""ONNX Runtime: runs ONNX files on the CPU, everywhere."""
