"""The private symbols of Keras that tfdump uses on every backend, from Keras 3.8 on (docs/keras-internals.md).

Nothing here needs TensorFlow: the program that runs a model on another backend imports this module too.
"""

from keras.src import api_export as api_export  # the object behind a public name in a file
from keras.src import backend as _backend
from keras.src import layers as layers  # all classes of layers, also those that are not public
from keras.src import models as models  # all classes of models
from keras.src.backend.common.keras_tensor import any_symbolic_tensors as any_symbolic_tensors  # a call without values
from keras.src.backend.common.masking import get_keras_mask as get_keras_mask  # the mask on a tensor
from keras.src.backend.common.masking import set_keras_mask as set_keras_mask  # puts a mask on a copy of a tensor
from keras.src.backend.common.name_scope import current_path as current_path  # which layer creates a variable
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as in_symbolic_scope,
)  # whether shapes are inferred
from keras.src.backend.common.variables import Variable as Variable  # the base of all variables, which are counted
from keras.src.models.functional import Functional as Functional  # a model with a graph
from keras.src.ops.symbolic_arguments import SymbolicArguments as SymbolicArguments  # the arguments of a node
from keras.src.random.seed_generator import (
    global_seed_generator as global_seed_generator,
)  # for layers without a generator of their own
from keras.src.saving import serialization_lib as serialization_lib  # safe mode for one load, and losses of a file
from keras.src.saving.keras_saveable import KerasSaveable as KerasSaveable  # the base of what a file may name
from keras.src.saving.serialization_lib import BUILTIN_MODULES as BUILTIN_MODULES  # whose functions a file may name
from keras.src.utils import python_utils as python_utils  # builds the code of Lambda layers

loops = _backend if callable(_backend.rnn) else _backend.rnn
"""The module in which recurrent layers look up the loop `rnn`; it is a separate module from Keras 3.16 on."""

maps = _backend.core if hasattr(_backend, "core") else _backend.ops.core
"""The module of `map` and other functions that call one function many times; it is `ops.core` from Keras 3.16 on."""
