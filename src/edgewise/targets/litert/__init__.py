"""LiteRT (TensorFlow Lite): runs .tflite files on phones, boards and PCs."""
