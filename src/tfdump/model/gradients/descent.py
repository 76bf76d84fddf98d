"""Gradient descent from the saved weights, which are restored afterwards, and the gradient of the regularization."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Layer

from tfdump.errors import ModelError, near
from tfdump.model.error_text import first_line
from tfdump.model.losses.compiled import regularization
from tfdump.tensors import Array, Sparse, Value

_NO_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")
"""The base class, and the optimizers that wrap other ones."""


class Regularization:
    """The sum of the regularization losses of the weights, and its gradients."""

    def __init__(self, model: Layer) -> None:
        self._model = model

    @property
    def loss(self) -> float | None:
        """The sum, or None where no weight has a regularizer."""
        loss = regularization(self._model)
        return None if loss is None else float(loss)

    def run(self, weights: Sequence[keras.Variable]) -> tuple[float, list[Array | None]]:
        """Return the sum, and its gradient with respect to each weight, None where the sum does not depend on it."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weight.value for weight in weights])
            loss = regularization(self._model)
        if loss is None:
            return 0.0, [None] * len(weights)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        return float(loss), [
            None if gradient is None else np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients
        ]


class Descent:
    """An optimizer of Keras for some weights; `close` restores the weights.

    `takes_rows` tells whether the gradient of a table must be passed row by row. Only plain SGD gives the same result
    for the sum of repeated rows.
    """

    def __init__(self, name: str, learning_rate: float, weights: Sequence[keras.Variable]) -> None:
        self._weights = list(weights)
        self._saved = [np.array(weight.value.numpy()) for weight in weights]
        self._optimizer = make_optimizer(name, learning_rate)
        self._optimizer.build(self._weights)
        self.takes_rows = type(self._optimizer) is not keras.optimizers.SGD

    def apply(self, gradients: Sequence[Value]) -> None:
        """Take one step; `gradients` are in the order of the weights, and sparse ones hold rows of a table."""
        self._optimizer.apply([_as_keras(gradient) for gradient in gradients], self._weights)

    def close(self) -> None:
        """Restore the weights."""
        for weight, value in zip(self._weights, self._saved, strict=True):
            weight.assign(value)


def _as_keras(gradient: Value) -> Any:
    """Return a gradient in the form that a tape returns it to an optimizer of Keras."""
    if isinstance(gradient, Sparse):
        shape = tf.constant(gradient.dense_shape, tf.int64)
        return tf.IndexedSlices(tf.constant(gradient.values), tf.constant(gradient.indices[:, 0]), shape)
    return tf.constant(gradient)


def make_optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """Return an optimizer of Keras; raises ModelError for an unknown name."""
    keras_name = keras_optimizer_name(name)
    try:
        return getattr(keras.optimizers, keras_name)(learning_rate=learning_rate)
    except Exception as cause:  # Keras raises several classes of error for bad options
        raise ModelError(f"--optimizer {name}: {first_line(cause)}") from cause


def keras_optimizer_name(name: str) -> str:
    """Return the name of an optimizer as Keras spells it; raises ModelError for an unknown name."""
    known = [item for item in dir(keras.optimizers) if item[0].isupper() and item not in _NO_OPTIMIZERS]
    spelling = next((item for item in known if item.lower() == name.lower()), None)
    if spelling is None:
        text = name or "''"
        raise ModelError(f"--optimizer {text}: Keras has no such optimizer{near(name, known)} (for example Adam)")
    return spelling


def changes_statistics(model: Layer) -> str | None:
    """Return the name of a layer whose output for one example depends on the others in training, or None."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return str(layer.name)
    return None
