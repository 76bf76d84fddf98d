"""`steps` on embeddings whose ids repeat: Keras's optimizers see the rows of a lookup one by one, as in `fit`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.gradient_routes import assert_gradients, assert_near, weights_by_address
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

OPTIMIZERS = [
    name
    for name in dir(keras.optimizers)
    if name[0].isupper() and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")
]
IDS = np.array([[1, 1, 2, 1], [2, 2, 2, 3], [0, 1, 0, 1], [3, 3, 1, 1], [2, 0, 2, 0]], np.int32)
Y = floats(5, 2, seed=1)


def looked_up(**options: Any) -> keras.Model:
    x = keras.Input((4,), dtype="int32", name="x")
    flat = layers.Flatten()(layers.Embedding(6, 3, name="table", **options)(x))
    return keras.Model(x, layers.Dense(2, name="last")(flat))


def regularized() -> keras.Model:
    """The regularization makes the gradient of the table dense."""
    return looked_up(embeddings_regularizer="l2")


def looked_up_twice() -> keras.Model:
    x = keras.Input((4,), dtype="int32", name="x")
    table = layers.Embedding(6, 3, name="table")
    both = layers.Add()([table(x), layers.Activation("tanh")(table(ops.flip(x, axis=1)))])
    return keras.Model(x, layers.Dense(2, name="last")(layers.Flatten()(both)))


class Tied(keras.Model):
    """The table is looked up, and multiplied with: its gradient is dense."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = layers.Embedding(6, 3, name="table"), layers.Dense(2, name="last")

    def call(self, x: Any) -> Any:
        rows = self.table(x)
        return self.last(ops.matmul(ops.mean(rows, axis=1), ops.transpose(self.table.embeddings)))


def tied() -> keras.Model:
    model = Tied()
    model(IDS)
    return model


def by_hand(model: keras.Model, optimizer: Any, steps: int) -> tuple[list[float], dict[str, Any]]:
    """Losses and gradients of a loop written out by hand, each at the weights of its step."""
    weights = weights_by_address(model)
    variables = list(weights.values())
    optimizer.build(variables)
    losses, gradients_by_address = [], {address: [] for address in weights}
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(IDS) - Y))
            loss += sum(ops.sum(term) for term in model.losses)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        losses.append(float(loss))
        for address, gradient in zip(weights, gradients, strict=True):
            gradients_by_address[address].append(tf.convert_to_tensor(gradient).numpy())
        optimizer.apply(gradients, variables)
    return losses, {address: np.stack(values) for address, values in gradients_by_address.items()}


def seeded(build: Callable[[], keras.Model], loss: str = "mse") -> keras.Model:
    keras.utils.set_random_seed(5)
    model = build()
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [2, 5])
def test_every_optimizer_goes_as_a_loop_by_hand(optimizer: str, batch_size: int) -> None:
    losses, gradients = by_hand(seeded(looked_up), getattr(keras.optimizers, optimizer)(0.05), 4)
    computed = tfdump.gradients(
        seeded(looked_up), IDS, Y, steps=4, learning_rate=0.05, optimizer=optimizer, batch_size=batch_size
    )
    assert_near(computed.loss, losses, 1e-4)
    assert_gradients(computed.weights, gradients, 2e-4)


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "Adagrad", "SGD"])
@pytest.mark.parametrize("build", [regularized, looked_up_twice, tied])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_other_ways_to_a_table(optimizer: str, build: Callable[[], keras.Model], batch_size: int) -> None:
    losses, gradients = by_hand(seeded(build), getattr(keras.optimizers, optimizer)(0.05), 3)
    computed = tfdump.gradients(
        seeded(build), IDS, Y, steps=3, learning_rate=0.05, optimizer=optimizer, batch_size=batch_size
    )
    assert_near(computed.loss, losses, 1e-4)
    assert_gradients(computed.weights, gradients, 2e-4)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lamb"])
def test_the_losses_are_those_of_fit(optimizer: str) -> None:
    trained = seeded(looked_up)
    trained.compile(getattr(keras.optimizers, optimizer)(0.05), "mse")
    history = trained.fit(IDS, Y, batch_size=5, epochs=4, shuffle=False, verbose=0)
    model = seeded(looked_up)
    gradients = tfdump.gradients(model, IDS, Y, steps=4, learning_rate=0.05, optimizer=optimizer, batch_size=3)
    assert_near(gradients.loss, history.history["loss"], 1e-4)


def test_rows_that_are_too_many_are_summed_and_named() -> None:
    """The optimizer then gets one row for each id, which is what Adam makes of a dense gradient."""
    model, dense = seeded(looked_up), seeded(looked_up)
    weights = list(weights_by_address(dense).values())
    adam = keras.optimizers.Adam(0.05)
    adam.build(weights)
    losses = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(dense(IDS) - Y))
        losses.append(float(loss))
        gradients = tape.gradient(loss, [variable.value for variable in weights])
        adam.apply([tf.convert_to_tensor(gradient) for gradient in gradients], weights)
    note = r"applied the rows of table\.embeddings summed by id, .* take 400 B \(raise memory"
    with pytest.warns(tfdump.TfdumpWarning, match=note):
        computed = tfdump.gradients(
            model, IDS, Y, steps=3, learning_rate=0.05, optimizer="Adam", batch_size=2, memory=200
        )
    assert_near(computed.loss, losses, 1e-4)
