"""`steps` is full-batch training: the losses and weights of `model.fit`, step by step, and the gradients there."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.gradient_routes import assert_gradients, assert_near, taped_by_keras, weights_by_address
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

X, Y = floats(6, 4), floats(6, 2, seed=1)


def regularized() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(5, activation="tanh", kernel_regularizer="l2", name="hidden")(x)
    return keras.Model(x, layers.Dense(2, kernel_constraint="non_neg", name="last")(hidden))


def frozen_and_unused() -> keras.Model:
    """A frozen layer, and one that the loss does not reach."""
    keras.utils.set_random_seed(2)
    x = keras.Input((4,), name="x")
    frozen, last = layers.Dense(4, trainable=False, name="frozen"), layers.Dense(2, name="last")
    model = Aside(keras.Model(x, last(frozen(x)), name="inner"), name="aside")
    model.build((None, 4))
    return model


class Aside(keras.Model):
    def __init__(self, inner: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner, self.unused = inner, layers.Dense(2, name="unused")

    def build(self, shape: Any) -> None:
        self.unused.build((None, 2))
        self.built = True

    def call(self, x: Any) -> Any:
        y = self.inner(x)
        self.unused(y)
        return y


def normalized() -> keras.Model:
    keras.utils.set_random_seed(3)
    x = keras.Input((4,), name="x")
    norm = layers.BatchNormalization(name="norm")
    return keras.Model(x, layers.Dense(2, name="last")(norm(layers.Dense(3, use_bias=False, name="first")(x))))


def embedded() -> keras.Model:
    keras.utils.set_random_seed(4)
    x = keras.Input((4,), dtype="int32", name="x")
    flat = layers.Flatten(name="flat")(layers.Embedding(5, 2, name="table")(x))
    return keras.Model(x, layers.Dense(2, name="last")(flat))


class Weights(keras.callbacks.Callback):
    """The weights before each epoch."""

    def __init__(self, addresses: list[str]) -> None:
        super().__init__()
        self.values: dict[str, list[Any]] = {address: [] for address in addresses}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for address, variable in weights_by_address(self.model).items():
            self.values[address].append(variable.numpy())


@pytest.mark.parametrize(
    ("build", "optimizer", "rate"),
    [
        (regularized, "SGD", 0.1),
        (regularized, "Adam", 0.05),
        (regularized, "RMSprop", 0.01),
        (frozen_and_unused, "Adam", 0.05),
        (normalized, "SGD", 0.1),
        (normalized, "Adam", 0.05),
        (embedded, "SGD", 0.1),
        (embedded, "Adam", 0.05),
        (embedded, "RMSprop", 0.01),
    ],
)
def test_steps_equal_fit_with_full_batches(build: Callable[[], keras.Model], optimizer: str, rate: float) -> None:
    x = (np.abs(X) * 2).astype("int32") % 5 if build is embedded else X
    trained, training = build(), build is normalized
    trained.compile(getattr(keras.optimizers, optimizer)(rate), "mse")
    before = Weights(list(weights_by_address(trained)))
    history = trained.fit(x, Y, batch_size=6, epochs=4, shuffle=False, verbose=0, callbacks=[before])
    model = build()
    model.compile("sgd", "mse")
    gradients = tfdump.gradients(
        model, x, Y, steps=4, learning_rate=rate, optimizer=optimizer, save_weights=True, training=training
    )
    assert_near(gradients.loss, history.history["loss"], 1e-4)
    reached = {address: values for address, values in before.values.items() if "unused" not in address}
    assert_gradients(gradients.step_weights, {address: np.stack(values) for address, values in reached.items()}, 1e-4)
    assert [a for a, gradient in gradients.weights.items() if gradient is None] == [
        address for address in before.values if "unused" in address
    ]
    for address, gradient in gradients.weights.items():
        assert gradient is None or len(gradient) == 4, address


@pytest.mark.parametrize("batch_size", [2, 6])
def test_each_step_has_the_gradients_at_its_weights(batch_size: int) -> None:
    model = regularized()
    model.compile("sgd", "mse")
    gradients = tfdump.gradients(
        model, X, Y, steps=3, learning_rate=0.5, save_weights=True, batch_size=batch_size,
        wrt=("weights", "activations", "inputs"),
    )  # fmt: skip
    assert gradients.loss.shape == (3,)
    for step in range(3):
        for address, variable in weights_by_address(model).items():
            variable.assign(gradients.step_weights[address][step])
        value, expected = taped_by_keras(model, X, Y)
        assert_near(gradients.loss[step], value)
        assert_gradients({address: gradient[step] for address, gradient in gradients.weights.items()}, expected)
        there = tfdump.gradients(model, X, Y, wrt=("activations", "inputs"))
        assert_gradients({a: gradient[step] for a, gradient in gradients.activations.items()}, there.activations)
        assert_near(gradients.inputs["x"][step], there.inputs["x"])


def test_a_selection_does_not_change_the_descent() -> None:
    """All weights move; the selected ones are given."""
    model = regularized()
    model.compile("sgd", "mse")
    whole = tfdump.gradients(model, X, Y, steps=3, learning_rate=0.1)
    part = tfdump.gradients(model, X, Y, steps=3, learning_rate=0.1, layers="last")
    assert set(part.weights) == {"last.kernel", "last.bias"}
    assert_near(part.loss, whole.loss, 1e-7)
    assert_near(part.weights["last.kernel"], whole.weights["last.kernel"], 1e-7)


def test_one_step_of_norms() -> None:
    model = regularized()
    model.compile("sgd", "mse")
    whole = tfdump.gradients(model, X, Y, steps=2, learning_rate=0.1)
    norms = tfdump.gradients(model, X, Y, steps=2, learning_rate=0.1, norms_only=True)
    for address, gradient in whole.weights.items():
        assert_near(norms.weights[address], np.linalg.norm(gradient.reshape(2, -1), axis=1))


def test_one_step_is_the_gradient_with_a_step_axis() -> None:
    model = regularized()
    model.compile("sgd", "mse")
    plain = tfdump.gradients(model, X, Y)
    gradients = tfdump.gradients(model, X, Y, steps=1, learning_rate=0.1)
    assert_near(gradients.loss, [plain.loss])
    assert_gradients(gradients.weights, {address: gradient[None] for address, gradient in plain.weights.items()})
