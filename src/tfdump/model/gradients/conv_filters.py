"""The gradients of the filters of a convolution, one per example, as one matrix product.

`tf.vectorized_map` computes them in a loop over the examples. The product of the input's patches and the output's
gradients is the same sum, for all examples at once (Rochette, Manoel and Tramel, "Efficient Per-Example Gradient
Computations in Convolutional Neural Networks", 2019).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tfdump.model.recording.call_stack import WATCHING
from tfdump.model.tensorflow_internals import CONVERTERS, vectorized_value

_OPERATION = "Conv2DBackpropFilter"


@contextmanager
def filter_gradients_at_once() -> Iterator[None]:
    """While the body runs, let `tf.vectorized_map` convert the gradients of filters to a matrix product."""
    with WATCHING:
        original = CONVERTERS[_OPERATION]
        CONVERTERS[_OPERATION] = lambda operation: _converted(operation, original)
        try:
            yield
        finally:
            CONVERTERS[_OPERATION] = original


def _converted(operation: Any, original: Callable[[Any], Any]) -> Any:
    """Convert one operation; TensorFlow converts those with groups or explicit padding."""
    inputs, stacked, _ = operation.input(0)
    sizes = tf.get_static_value(operation.unstacked_input(1))
    plain = operation.get_attr("data_format") == b"NHWC" and operation.get_attr("padding") in (b"SAME", b"VALID")
    if not stacked or not plain or sizes is None or inputs.shape.rank != 5 or inputs.shape[-1] != sizes[2]:
        return original(operation)
    operation.stack_inputs(stack_indices=[2])
    gradients = operation.stacked_input(2)  # (examples, batch, height, width, filters)
    height, width, channels, filters = (int(size) for size in sizes)
    whole = tf.shape(gradients)
    patches = tf.image.extract_patches(
        tf.reshape(inputs, tf.concat([[-1], tf.shape(inputs)[2:]], axis=0)),
        sizes=[1, height, width, 1],
        strides=list(operation.get_attr("strides")),
        rates=list(operation.get_attr("dilations")),
        padding=operation.get_attr("padding").decode(),
    )
    rows = tf.reshape(patches, [whole[0], -1, height * width * channels])
    columns = tf.reshape(gradients, [whole[0], -1, filters])
    product = tf.matmul(rows, columns, transpose_a=True)
    return vectorized_value(tf.reshape(product, [whole[0], height, width, channels, filters]), True)
