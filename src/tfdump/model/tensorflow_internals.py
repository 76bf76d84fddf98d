"""Every name of TensorFlow that is not public and that tfdump uses, and what for; no other module imports them.

Those of TFLite are in `tflite_internals`, since they take long to import.
"""

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef as GraphDef  # a graph in a SavedModel
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig as RewriterConfig  # which rewrites are off
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModel  # a SavedModel as bytes, not run
from tensorflow.python.eager import context as context  # the options of calls, the device and the seed of a thread
from tensorflow.python.framework import op_def_registry as op_def_registry  # which operations have side effects
from tensorflow.python.framework.composite_tensor import CompositeTensor as CompositeTensor  # tensors made of several
from tensorflow.python.framework.function_def_to_graph import (  # what is inside of a function of a SavedModel
    function_def_to_graph_def as function_def_to_graph_def,
)
from tensorflow.python.ops import stateful_random_ops as stateful_random_ops  # the generator of the process
from tensorflow.python.ops.parallel_for import pfor as _pfor

CONVERTERS = _pfor._pfor_converter_registry
"""How `tf.vectorized_map` converts each operation; that of convolution filters is replaced by a faster one."""

vectorized_value = _pfor.wrap
"""Makes what such a conversion returns."""

EagerTensor = tf.__internal__.EagerTensor
"""A tensor that has values, and belongs to no graph."""
