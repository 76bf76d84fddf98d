"""Every name of Keras that is not public and that tfdump uses, and what for. No other module imports from `keras.src`.

The names are those of Keras 3.15. Where the next release moves one, that place is tried too.
"""

from keras.src import api_export as api_export  # the class or function behind a public name that a file gives
from keras.src import backend as _backend
from keras.src import layers as layers  # all classes of layers, also those that are not public
from keras.src import models as models
from keras.src import ops as ops  # `softmax` is replaced there too, to see scores of attention
from keras.src.backend.common import global_state as global_state  # counters of names, and the seed of the process
from keras.src.backend.common.keras_tensor import any_symbolic_tensors as any_symbolic_tensors  # no call with values
from keras.src.backend.common.masking import get_keras_mask as get_keras_mask  # what `compute_loss` masks by
from keras.src.backend.common.name_scope import current_path as current_path  # which layer makes a variable
from keras.src.backend.common.symbolic_scope import in_symbolic_scope as in_symbolic_scope  # shapes are inferred only
from keras.src.backend.common.variables import Variable as Variable  # of which every variable is made: to count them
from keras.src.distillation.distillation_loss import DistillationLoss as DistillationLoss  # a kind a file may name
from keras.src.export.tfsm_layer import TFSMLayer as TFSMLayer  # runs a SavedModel: needs trust
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell  # its gates are known
from keras.src.legacy.saving import legacy_h5_format as legacy_h5_format  # loads `.h5` files without `load_model`
from keras.src.legacy.saving import saving_options as saving_options
from keras.src.legacy.saving import saving_utils as saving_utils
from keras.src.legacy.saving import serialization as serialization  # one object that stands in a file twice
from keras.src.losses import ALL_OBJECTS_DICT as ALL_OBJECTS_DICT  # what `--loss NAME` may name
from keras.src.losses import losses as losses
from keras.src.losses.loss import apply_mask as apply_mask  # how a loss masks and shapes its elements
from keras.src.losses.loss import squeeze_or_expand_to_same_rank as squeeze_or_expand_to_same_rank
from keras.src.losses.losses import LossFunctionWrapper as LossFunctionWrapper  # of which every loss is one
from keras.src.models.functional import Functional as Functional  # has a graph; a subclassed model has none
from keras.src.models.functional import unpack_singleton as unpack_singleton  # a list of one output is that output
from keras.src.models.sequential import Sequential as Sequential
from keras.src.ops.symbolic_arguments import SymbolicArguments as SymbolicArguments  # which node a call is of
from keras.src.quantizers.quantization_config import QuantizationConfig as QuantizationConfig  # a kind of object
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR as GLOBAL_SEED_GENERATOR  # its key in the state
from keras.src.random.seed_generator import global_seed_generator as global_seed_generator
from keras.src.saving import object_registration as object_registration  # the classes that the user registered
from keras.src.saving import serialization_lib as serialization_lib  # safe mode for one load, and losses of a file
from keras.src.saving.keras_saveable import KerasSaveable as KerasSaveable  # a kind of object that a file may name
from keras.src.saving.serialization_lib import BUILTIN_MODULES as BUILTIN_MODULES  # whose functions a file may name
from keras.src.trainers import trainer as _trainer
from keras.src.trainers.compile_utils import CompileLoss as CompileLoss  # the losses of a compiled model
from keras.src.utils import python_utils as python_utils  # builds the code of Lambda layers again
from keras.src.utils.jax_layer import FlaxLayer as FlaxLayer  # run code of a file: need trust
from keras.src.utils.jax_layer import JaxLayer as JaxLayer
from keras.src.utils.naming import to_snake_case as to_snake_case  # what weights are called by in an archive
from keras.src.utils.torch_utils import TorchModuleWrapper as TorchModuleWrapper

try:  # the operations of the TensorFlow backend: `map`, name scopes; `softmax`, fused attention, logits
    from keras.src.backend.tensorflow import core as core
    from keras.src.backend.tensorflow import nn as nn
except ImportError:  # Keras 3.16
    from keras.src.backend.tensorflow.ops import core as core
    from keras.src.backend.tensorflow.ops import nn as nn

compute_output_spec = _backend.compute_output_spec
"""What a function gives for symbolic tensors; that of an operation hides why it fails."""

Trainer = _trainer.Trainer if hasattr(_trainer, "Trainer") else _trainer.BaseTrainer
"""What a model trains by, where its class has no way of its own; `BaseTrainer` from Keras 3.16 on."""

loops = _backend if callable(_backend.rnn) else _backend.rnn
"""Where recurrent layers look up the loop, `rnn`, when they are called; a module of its own from Keras 3.16 on."""

GET_LOGITS = "_get_logits"
"""The function of `nn` that looks for the logits behind probabilities."""
