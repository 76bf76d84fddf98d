"""The private symbols of TFLite that tfdump uses (docs/keras-internals.md); no other module imports them."""

from tensorflow.lite.python import schema_py_generated as schema_py_generated  # classes for the structure of a file
