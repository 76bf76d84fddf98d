"""The private symbols of TensorFlow that tfdump uses (docs/keras-internals.md); no other module imports them.

Those of TFLite are in `tflite_internals`, because they take long to import.
"""

import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig as RewriterConfig  # turns off graph rewrites
from tensorflow.core.protobuf.saved_model_pb2 import (
    SavedModel as SavedModel,
)  # a SavedModel as data, without running it
from tensorflow.core.protobuf.trackable_object_graph_pb2 import (
    TrackableObjectGraph as TrackableObjectGraph,
)  # which object has which key in a checkpoint
from tensorflow.python.eager import context as context  # call options, device and seed of a thread
from tensorflow.python.framework import op_def_registry as op_def_registry  # which operations have side effects
from tensorflow.python.framework.composite_tensor import CompositeTensor as CompositeTensor  # tensors of several parts
from tensorflow.python.framework.function_def_to_graph import (  # the graph of a function in a SavedModel
    function_def_to_graph_def as function_def_to_graph_def,
)
from tensorflow.python.ops import stateful_random_ops as stateful_random_ops  # the global random generator
from tensorflow.python.ops.parallel_for import pfor as _pfor

CONVERTERS = _pfor._pfor_converter_registry
"""How `tf.vectorized_map` converts each operation; tfdump replaces the converter of convolution filters."""

vectorized_value = _pfor.wrap
"""Creates the result of such a converter."""

EagerTensor = tf.__internal__.EagerTensor
"""A tensor that has values and belongs to no graph."""
