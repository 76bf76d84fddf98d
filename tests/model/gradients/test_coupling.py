"""Losses and models that couple the examples of a batch: right in one batch, refused in several."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.gradient_routes import assert_gradients, assert_near, taped, taped_by_keras, weights_by_address
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

X, Y = floats(6, 4), floats(6, 3, seed=1)


class Centered(layers.Layer):
    """Takes the mean over the batch away."""

    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0, keepdims=True)


class AddsLoss(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(0.3 * ops.mean(x**2))
        return x


class AddsSquareOfMean(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(x) ** 2)
        return ops.tanh(x)


def chain(*middle: layers.Layer, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    x = value = keras.Input((4,), name="x")
    first = layers.Dense(3, name="first", **options)
    for layer in (first, *middle, layers.Dense(3, activation="sigmoid", name="last")):
        value = layer(value)
    return keras.Model(x, value)


def of_the_mean(y: Any, prediction: Any) -> Any:
    return ops.square(ops.mean(y - prediction))


def pairwise(y: Any, prediction: Any) -> Any:
    """One value an example, which compares it with the others."""
    return ops.mean(ops.square(prediction - y - ops.mean(prediction, axis=0, keepdims=True)), axis=-1)


CLASSES = np.array([0, 1, 0, 2, 1, 2])
BITS = (Y > 0).astype("float32")
COUPLED: dict[str, tuple[Callable[[], keras.Model], Any, np.ndarray, str]] = {
    "add_loss": (lambda: chain(AddsLoss()), "mse", Y, "add_loss"),
    "add_loss of a mean": (lambda: chain(AddsSquareOfMean()), "mse", Y, "add_loss"),
    "activity_regularizer": (lambda: chain(activity_regularizer="l2"), "mse", Y, "activity_regularizer"),
    "loss of the mean": (chain, of_the_mean, Y, "one number"),
    "loss with a value an example": (chain, pairwise, Y, "batch"),
    "Dice": (chain, keras.losses.Dice(), BITS, "one number"),
    "Tversky": (chain, keras.losses.Tversky(), BITS, "one number"),
    "Circle": (chain, keras.losses.Circle(), CLASSES, "compares"),
    "model": (lambda: chain(Centered()), "mse", Y, "depends on the other examples"),
}


def compiled(name: str) -> keras.Model:
    build, loss, _, _ = COUPLED[name]
    model = build()
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_one_batch_gives_what_keras_gives(name: str, batch_size: int | None) -> None:
    y = COUPLED[name][2]
    value, expected = taped_by_keras(compiled(name), X, y)
    gradients = tfdump.gradients(compiled(name), X, y, batch_size=batch_size)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected, 1e-4)


@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_several_batches_are_refused_with_the_reason(name: str, batch_size: int) -> None:
    with pytest.raises(tfdump.TfdumpError, match=f"(?s)couples.*{COUPLED[name][3]}"):
        tfdump.gradients(compiled(name), X, COUPLED[name][2], batch_size=batch_size)


@pytest.mark.parametrize("loss", [of_the_mean, pairwise], ids=["one value", "a value each"])
def test_a_coupling_loss_by_itself_is_refused_too(loss: Any) -> None:
    with pytest.raises(tfdump.TfdumpError, match="couples"):
        tfdump.gradients(chain(), X, Y, loss=loss, batch_size=2)


def fixed(*middle: layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(1)
    x = value = keras.Input(batch_shape=(3, 4), name="x")
    for layer in (layers.Dense(3, name="first"), *middle, layers.Dense(3, name="last")):
        value = layer(value)
    return keras.Model(x, value)


@pytest.mark.parametrize("loss", [of_the_mean, pairwise], ids=["one value", "a value each"])
def test_a_fixed_batch_size_does_not_hide_a_coupling_loss(loss: Any) -> None:
    with pytest.raises(tfdump.TfdumpError, match="couples"):
        tfdump.gradients(fixed(), X, Y, loss=loss)


def test_a_fixed_batch_size_does_not_hide_a_coupling_model() -> None:
    with pytest.raises(tfdump.TfdumpError, match="couples"):
        tfdump.gradients(fixed(Centered()), X, Y, loss="mse")


def test_losses_that_give_one_number_are_not_divided_again() -> None:
    def scalar(y: Any, prediction: Any) -> Any:
        return ops.mean(ops.square(y - prediction))

    model = chain()
    value, expected = taped(lambda: tf.reduce_mean(tf.square(model(X) - Y)), weights_by_address(model))
    for reduction in (None, "sum"):
        gradients = tfdump.gradients(model, X, Y, loss=scalar, reduction=reduction)
        assert_near(gradients.loss, value)
        assert_gradients(gradients.weights, expected)


def test_activity_regularization_belongs_to_the_gradient_of_its_activation() -> None:
    """The scalar of a compiled model contains it, so the activation that it reads has its part."""
    model = chain(activity_regularizer=keras.regularizers.L2(0.5))
    model.compile("sgd", "mse")
    kernel, bias = model.get_layer("last").get_weights()
    hidden = X @ model.get_layer("first").get_weights()[0] + model.get_layer("first").get_weights()[1]
    with tf.GradientTape() as tape:
        value = tf.constant(hidden)
        tape.watch(value)
        errors = tf.reduce_mean(tf.square(tf.sigmoid(value @ kernel + bias) - Y))
        loss = errors + 0.5 * tf.reduce_sum(value**2) / _regularized_by(model)
    gradients = tfdump.gradients(model, X, Y, wrt=("weights", "activations"))
    assert_near(gradients.loss, loss)
    assert_near(gradients.activations["first"], tape.gradient(loss, value))


def _regularized_by(model: keras.Model) -> float:
    """What Keras divides an activity regularization by."""
    model(X)
    first = model.get_layer("first")
    return float(0.5 * np.sum(np.asarray(first(X)) ** 2) / float(ops.sum(model.losses[0])))


def test_centered_activations_are_right_in_one_batch() -> None:
    model = chain(Centered(name="centered"))
    gradients = tfdump.gradients(model, X, Y, loss="mse", wrt=("activations", "inputs"))
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        loss = tf.reduce_mean(tf.square(model(x) - Y))
    assert_near(gradients.inputs["x"], tape.gradient(loss, x))


class Over(layers.Layer):
    """A function over the rows of a batch."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


HIDING = {
    "sorted": lambda x: ops.sort(x, axis=0),
    "by_first": lambda x: ops.take(x, ops.argsort(x[:, 0]), axis=0),
    "by_largest": lambda x: x / ops.max(x, axis=0),
    "by_least": lambda x: x - ops.min(x, axis=0),
    "cumulated_largest": lambda x: tf.scan(tf.maximum, x),
}


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("descending", [False, True])
def test_a_sorted_first_batch_does_not_hide_a_coupling_model(name: str, descending: bool, size: int | None) -> None:
    if descending and name == "cumulated_largest":
        pytest.skip("every look begins with another example")
    x = value = keras.Input(batch_shape=(size, 3), name="x")
    for layer in (Over(HIDING[name], name=name), layers.Dense(2, name="last")):
        value = layer(value)
    data = np.sort(floats(8, 3, seed=5) + 3, axis=0)
    data = np.ascontiguousarray(data[::-1] if descending else data)
    with pytest.raises(tfdump.TfdumpError, match="couples"):
        tfdump.gradients(keras.Model(x, value), data, floats(8, 2), loss="mse", batch_size=4)


def test_gradients_of_rows_that_are_mixed_without_coupling_the_loss_are_named() -> None:
    """A shift there and back: every example's loss is its own, and the rows between are those of its neighbor."""
    x = keras.Input((3,), name="x")
    there = Over(lambda x: tf.roll(x, 1, 0), name="there")(layers.Rescaling(1.0, name="same")(x))
    back = Over(lambda x: tf.roll(x, -1, 0), name="back")(layers.Rescaling(2.0, name="double")(there))
    data = floats(5, 3)
    with pytest.warns(tfdump.TfdumpWarning) as record:
        gradients = tfdump.gradients(
            keras.Model(x, back**2), data, objective="sum", wrt=("activations", "inputs"), batch_size=5
        )
    messages = [str(item.message) for item in record]
    assert "the gradients depend on the other examples of the batch: there, double" in messages
    np.testing.assert_allclose(gradients.inputs["x"], 8 * data, rtol=1e-5)
    np.testing.assert_allclose(gradients.activations["double"], np.roll(4 * data, 1, axis=0), rtol=1e-5)
