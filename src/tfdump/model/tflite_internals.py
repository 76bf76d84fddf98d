"""The private symbols of TFLite that tfdump uses (docs/keras-internals.md); no other module imports them."""

from tfdump.model.tflite.runtime import litert_is_installed

if litert_is_installed():
    from ai_edge_litert import schema_py_generated as schema_py_generated  # classes for the structure of a file
else:
    from tensorflow.lite.python import schema_py_generated as schema_py_generated  # the same, of TensorFlow
