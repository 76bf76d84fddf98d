"""ONNX models, on ONNX Runtime alone: neither TensorFlow nor Keras nor the package `onnx` is imported."""
