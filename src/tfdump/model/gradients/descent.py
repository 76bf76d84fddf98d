"""Gradient descent from the saved weights, and the gradient of the regularisation; the model gets its weights back."""

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
"""The base class, and those that need other optimizers."""


class Regularization:
    """The sum of the weights' regularisation losses, and its gradients."""

    def __init__(self, model: Layer) -> None:
        self._model = model

    @property
    def loss(self) -> float | None:
        """The sum, or None where no weight has a regularization."""
        loss = regularization(self._model)
        return None if loss is None else float(loss)

    def run(self, weights: Sequence[keras.Variable]) -> tuple[float, list[Array | None]]:
        """Return the loss, and its gradient with respect to each weight, None where it does not depend on it."""
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
    """An optimizer of Keras over some weights; `close` puts the weights back.

    `takes_rows` tells whether it makes a difference that the gradient of a table comes row by row (all optimizers but
    plain SGD, which adds them up).
    """

    def __init__(self, name: str, learning_rate: float, weights: Sequence[keras.Variable]) -> None:
        self._weights = list(weights)
        self._saved = [np.array(weight.value.numpy()) for weight in weights]
        self._optimizer = make_optimizer(name, learning_rate)
        self._optimizer.build(self._weights)
        self.takes_rows = type(self._optimizer) is not keras.optimizers.SGD

    def apply(self, gradients: Sequence[Value]) -> None:
        """Take one step against the gradients, in the order of the weights; sparse ones list rows of a table."""
        self._optimizer.apply([_as_keras(gradient) for gradient in gradients], self._weights)

    def close(self) -> None:
        """Put the weights back."""
        for weight, value in zip(self._weights, self._saved, strict=True):
            weight.assign(value)


def _as_keras(gradient: Value) -> Any:
    """Return a gradient as the tape gives it to Keras's optimizers."""
    if isinstance(gradient, Sparse):
        shape = tf.constant(gradient.dense_shape, tf.int64)
        return tf.IndexedSlices(tf.constant(gradient.values), tf.constant(gradient.indices[:, 0]), shape)
    return tf.constant(gradient)


def make_optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """Return an optimizer of Keras by name; raises ModelError when there is none."""
    keras_name = keras_optimizer_name(name)
    try:
        return getattr(keras.optimizers, keras_name)(learning_rate=learning_rate)
    except Exception as cause:  # Keras raises several classes for bad options
        raise ModelError(f"--optimizer {name}: {first_line(cause)}") from cause


def keras_optimizer_name(name: str) -> str:
    """Return how Keras spells the name of an optimizer; raises ModelError when there is none."""
    known = [item for item in dir(keras.optimizers) if item[0].isupper() and item not in _NO_OPTIMIZERS]
    spelling = next((item for item in known if item.lower() == name.lower()), None)
    if spelling is None:
        text = name or "''"
        raise ModelError(f"--optimizer {text}: Keras has no such optimizer{near(name, known)} (for example Adam)")
    return spelling


def changes_statistics(model: Layer) -> str | None:
    """Return the name of a layer whose result for one example depends on the others in training, or None."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return str(layer.name)
    return None
