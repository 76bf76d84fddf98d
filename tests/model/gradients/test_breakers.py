"""Models and losses that once gave wrong gradients, or none; against `fit`, and tapes written out by hand."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.gradient_routes import assert_near
from support.tiny_models import floats, rng

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


def descended_by_fit(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The loss, and the gradient as one step of SGD with a learning rate of 1 shows it."""
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(x, y, batch_size=len(x), verbose=0)
    after = [variable.numpy() for variable in model.trainable_variables]
    return history.history["loss"][0], [a - b for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize(
    ("activation", "loss"), [(tf.nn.softmax, "categorical_crossentropy"), (tf.math.sigmoid, "binary_crossentropy")]
)
def test_saturated_probabilities_of_tensorflow_inside_a_submodel(activation: Any, loss: str) -> None:
    keras.utils.set_random_seed(0)
    large = keras.initializers.RandomNormal(stddev=20)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=activation, kernel_initializer=large)])
    model = keras.Sequential([keras.Input((4,)), keras.Sequential([keras.Input((4,)), inner])])
    model.compile(keras.optimizers.SGD(1.0), loss)
    x, y = floats(7, 4), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 0]]
    gradients = tfdump.gradients(model, x, y, batch_size=2)
    value, expected = descended_by_fit(model, x, y)
    assert_near(gradients.loss, value)
    for actual, wanted in zip(gradients.values(), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


class Tripled(keras.losses.Loss):
    """A loss whose call does more than Keras's."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return (y_true - y_pred) ** 2

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return 3 * super().__call__(y_true, y_pred, sample_weight)


class TripledCrossentropy(keras.losses.CategoricalCrossentropy):
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return 3 * super().__call__(y_true, y_pred, sample_weight)


def test_a_crossentropy_with_a_call_of_its_own_takes_the_logits_too() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax", name="end")])
    with pytest.warns(tfdump.TfdumpWarning, match="end .Keras computes the crossentropy from the logits"):
        gradients = tfdump.gradients(
            model, floats(5, 4), np.eye(3)[[0, 1, 2, 0, 1]], loss=TripledCrossentropy(), wrt="activations"
        )
    assert gradients["end"] is None


def test_a_loss_with_a_call_of_its_own() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(1.0), Tripled())
    x, y = floats(5, 4), floats(5, 2, seed=1)
    gradients = tfdump.gradients(model, x, y)
    with pytest.raises(tfdump.TfdumpError, match="__call__"):
        tfdump.gradients(model, x, y, batch_size=2)
    with pytest.raises(tfdump.TfdumpError, match="__call__"):
        tfdump.gradients(model, x, y, reduction="sum")
    value, expected = descended_by_fit(model, x, y)
    assert_near(gradients.loss, value)
    for actual, wanted in zip(gradients.values(), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("examples", [4, 6])
def test_a_stateful_model_carries_its_states_from_batch_to_batch(examples: int) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(2, 5, 3))
    lstm = layers.LSTM(4, stateful=True)
    model = keras.Model(x, layers.Dense(2)(lstm(x)))
    data, y = floats(examples, 5, 3), floats(examples, 2, seed=1)
    gradients = tfdump.gradients(model, data, y, loss="mse")
    lstm.reset_state()
    total = [np.zeros(variable.shape) for variable in model.trainable_variables]
    for start in range(0, examples, 2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((model(data[start : start + 2]) - y[start : start + 2]) ** 2) / (2 * examples)
        parts = tape.gradient(loss, model.trainable_variables)
        total = [a + np.asarray(b) for a, b in zip(total, parts, strict=True)]
    for actual, wanted in zip(gradients.values(), total, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_ctc() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 3)), layers.Dense(5)])
    x, y = floats(4, 6, 3), rng(1).integers(1, 5, (4, 3))
    with tf.GradientTape() as tape:
        loss = keras.losses.CTC()(y, model(x))
    expected = tape.gradient(loss, model.trainable_variables)
    gradients = tfdump.gradients(model, x, y, loss="ctc", batch_size=3)
    assert_near(gradients.loss, float(loss))
    for actual, wanted in zip(gradients.values(), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_every_loss_class_of_keras_has_a_name() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="softmax")])
    x, y = floats(7, 3), np.array([0, 1, 2, 3, 0, 1, 2])
    expected = float(keras.losses.CategoricalGeneralizedCrossEntropy()(y, model(x)))
    assert_near(tfdump.gradients(model, x, y, loss="CategoricalGeneralizedCrossEntropy", batch_size=2).loss, expected)


@pytest.mark.parametrize("name", ["Lamb", "adam"])
def test_optimizers_by_name_descend_as_fit_does(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    cls = next(getattr(keras.optimizers, n) for n in dir(keras.optimizers) if n.lower() == name.lower())
    model.compile(cls(learning_rate=0.1), "mse", jit_compile=False)
    x, y = floats(7, 3), floats(7, 4, seed=1)
    gradients = tfdump.gradients(model, x, y, steps=3, learning_rate=0.1, optimizer=name)
    history = model.fit(x, y, batch_size=7, epochs=3, verbose=0)
    np.testing.assert_allclose(gradients.loss, history.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["Optimizer", "MultiOptimizer", "OptimizerMap"])
def test_what_is_no_optimizer_by_itself_is_refused(name: str) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    with pytest.raises(tfdump.TfdumpError, match="no such optimizer"):
        tfdump.gradients(model, floats(2, 3), floats(2, 4), loss="mse", steps=1, learning_rate=0.1, optimizer=name)
