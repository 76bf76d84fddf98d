"""The names of TensorFlow's own TFLite that are not public and that tfdump uses; no other module imports them."""

from tensorflow.lite.python import schema_py_generated as schema_py_generated  # the names of operations in a file
from tensorflow.lite.python.interpreter import OpResolverType as OpResolverType  # runs them without delegates
