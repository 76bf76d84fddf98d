"""Which rewrites of a graph TensorFlow may make."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

_OFF = ("remapping", "arithmetic_optimization")


@contextmanager
def values_untouched() -> Iterator[None]:
    """While the body runs, let no rewrite depend on which tensors are asked for.

    TensorFlow otherwise fuses a convolution with its activation, or reorders sums, where nobody asks for what lies
    between, and the last bits of everything behind it change. Asking for more would change the numbers.
    """
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(dict.fromkeys(_OFF, False))
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before.get(name, True) for name in _OFF})
