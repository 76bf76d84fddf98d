"""What a process shares: random states and the counters of automatic names, put back after the body."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

_NAMES = "object_name_uids"
"""Where Keras counts the objects of each name, for `dense_1` after `dense`."""

_OWN_SEED = 0x7F_D0_3B
"""Seeds TensorFlow's eager operations inside the body: with the seed outside, they would use up its kernels' state."""


@contextmanager
def surroundings_untouched() -> Iterator[None]:
    """Run the body, then put back what it drew and counted.

    That is the random state of Python, of NumPy's global generator and of TensorFlow (the eager seed, and the global
    `tf.random.Generator`), Keras's names, and Keras's global seed generator where there was none before. What belongs
    to a model is put back by `tfdump.model.state`.
    """
    running = context.context()
    python, numpy = random.getstate(), np.random.get_state()
    seed, drawn = running._seed, getattr(running, "_rng", None)
    generator = stateful_random_ops.global_generator
    state = None if generator is None else generator.state.numpy()
    names = copy.copy(global_state.get_global_attribute(_NAMES))
    keras_generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    if seed is not None:
        running._seed, running._rng = _OWN_SEED, random.Random(_OWN_SEED)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if seed is not None:
            running._seed, running._rng = seed, drawn
        stateful_random_ops.global_generator = generator
        if generator is not None:
            generator.state.assign(state)
        global_state.set_global_attribute(_NAMES, names)  # None is what Keras takes for absent
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, keras_generator)
