"""LiteRT.js: runs .tflite files in a browser, by WebAssembly with threads, or by WebGPU."""
