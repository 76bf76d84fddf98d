"""The private symbols of Keras that tfdump uses on TensorFlow (docs/keras-internals.md).

The names are those of Keras 3.15. Where the next release moves one, the new place is tried too. Those that every
backend has are in `any_backend_internals`; no further module imports from `keras.src`.
"""

from keras.src import backend as _backend
from keras.src import ops as ops  # where layers of attention look up `softmax`
from keras.src.backend.common import global_state as global_state  # counters of names, and the global seed generator
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell  # a cell with the gates of an LSTM
from keras.src.legacy.saving import legacy_h5_format as legacy_h5_format  # the weights of legacy files
from keras.src.legacy.saving import saving_options as saving_options  # the legacy form of configurations
from keras.src.legacy.saving import saving_utils as saving_utils  # builds a model from a legacy configuration
from keras.src.legacy.saving import serialization as serialization  # one object that occurs twice in a file
from keras.src.losses import ALL_OBJECTS_DICT as ALL_OBJECTS_DICT  # the losses by name
from keras.src.losses import losses as losses  # the module that defines the losses
from keras.src.losses.loss import apply_mask as apply_mask  # combines sample weights and mask
from keras.src.losses.loss import squeeze_or_expand_to_same_rank as squeeze_or_expand_to_same_rank
from keras.src.losses.losses import LossFunctionWrapper as LossFunctionWrapper  # makes a loss of a function
from keras.src.models.functional import unpack_singleton as unpack_singleton  # turns a list of one output into it
from keras.src.random.seed_generator import (
    GLOBAL_SEED_GENERATOR as GLOBAL_SEED_GENERATOR,
)  # its key in the global state
from keras.src.saving import saving_lib as _saving_lib
from keras.src.saving.saving_lib import H5IOStore as H5IOStore  # the file to which a model is saved
from keras.src.saving.saving_lib import load_weights_only as load_weights_only
from keras.src.trainers import trainer as _trainer
from keras.src.trainers.compile_utils import CompileLoss as CompileLoss  # the losses of a compiled model
from keras.src.utils.naming import to_snake_case as to_snake_case  # names of classes in archives of Keras 2

try:
    from keras.src.backend.tensorflow import core as core  # `map`, and name scopes
    from keras.src.backend.tensorflow import nn as nn  # `softmax`, fused attention, and the search for logits
except ImportError:  # Keras 3.16
    from keras.src.backend.tensorflow.ops import core as core
    from keras.src.backend.tensorflow.ops import nn as nn

compute_output_spec = _backend.compute_output_spec
"""Calls a function with symbolic tensors; `Operation.compute_output_spec` hides why that fails."""

save_state = _saving_lib._save_state
"""Visits the weights of a model in the order of a file, and saves them."""

Trainer = _trainer.Trainer if hasattr(_trainer, "Trainer") else _trainer.BaseTrainer
"""The base class of models that defines how they train; it is called `BaseTrainer` from Keras 3.16 on."""

GET_LOGITS = "_get_logits"
"""The function of `nn` that finds the logits behind probabilities."""
