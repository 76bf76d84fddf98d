"""The model is left exactly as it was: after every kind of run, and after an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.backend.tensorflow import nn

import tfdump
from support.gradient_routes import assert_gradients, assert_near
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

X, Y = floats(6, 4), floats(6, 2, seed=1)


@keras.saving.register_keras_serializable(package="state")
class Fails(layers.Layer):
    """Passes its input on, until it is told to fail."""

    fails = False

    def call(self, x: Any) -> Any:
        if self.fails:
            raise RuntimeError("told to")
        return x


def model_with_state() -> keras.Model:
    """Dropout, batch normalization, regularization and losses of its layers; compiled and already called."""
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1", name="first")(x)
    hidden = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="norm")(hidden))
    model = keras.Model(x, layers.Dense(2, name="last")(Fails(name="fails")(hidden)))
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    model(X)
    return model


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Everything that hangs on the model is the same before and after."""

    def state() -> dict[str, Any]:
        held = [*model.variables, *model.optimizer.variables]
        return {f"{number} {variable.path}": variable.numpy() for number, variable in enumerate(held)}

    attributes = {layer: set(vars(layer)) for layer in model._flatten_layers()}
    call, logits, before = keras.Operation.__call__, nn._get_logits, state()
    yield
    after = state()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert keras.Operation.__call__ is call
    assert nn._get_logits is logits
    assert attributes == {layer: set(vars(layer)) for layer in model._flatten_layers()}


RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "training": {"training": True},
    "activations and inputs": {"wrt": ("weights", "activations", "inputs")},
    "eager": {"eager": True, "training": True},
    "steps": {"steps": 3, "learning_rate": 0.5, "optimizer": "Adam"},
    "steps in training": {"steps": 2, "learning_rate": 0.5, "training": True},
    "weights of examples": {"sample_weight": np.arange(6, dtype="float32")},
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_leaves_the_model_as_it_was(run: str) -> None:
    model = model_with_state()
    with unchanged(model):
        tfdump.gradients(model, X, Y, **RUNS[run])
    assert np.isfinite(model.train_on_batch(X, Y))


def losses_of(model: keras.Model) -> list[float]:
    """The values of `model.losses`: those of the layers are of the last call."""
    return [float(ops.sum(loss)) for loss in model.losses]


@pytest.mark.parametrize("run", ["plain", "eager", "steps"])
def test_a_run_leaves_the_losses_of_the_last_call(run: str) -> None:
    model = model_with_state()
    before = losses_of(model)
    tfdump.gradients(model, X, Y, **RUNS[run])
    assert losses_of(model) == before


def test_counting_the_divisor_leaves_no_symbolic_losses_behind() -> None:
    """Where weights decide the divisor, a forward pass of its own is traced."""
    model = model_with_state()
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    tfdump.gradients(model, X, Y, sample_weight=np.arange(6, dtype="float32"))
    assert all(hasattr(loss, "numpy") for loss in model.losses)  # values, not tensors of a graph that is gone


def test_a_failing_model_is_left_as_it_was() -> None:
    model = model_with_state()
    model.get_layer("fails").fails = True
    with unchanged(model), pytest.raises(tfdump.TfdumpError, match="told to"):
        tfdump.gradients(model, X, Y, training=True)
    model.get_layer("fails").fails = False
    tfdump.gradients(model, X, Y)


def test_a_failing_loss_leaves_the_model_as_it_was() -> None:
    def fails(y: Any, prediction: Any) -> Any:
        raise RuntimeError("told to")

    model = model_with_state()
    with unchanged(model), pytest.raises(tfdump.TfdumpError, match="told to"):
        tfdump.gradients(model, X, Y, loss=fails, training=True)


@pytest.mark.parametrize(
    "options", [{"layers": "nothing"}, {"loss": "no_such"}, {"objective": "last[7]"}, {"batch_size": 2}]
)
def test_a_refused_run_leaves_the_model_as_it_was(options: dict[str, Any]) -> None:
    model = model_with_state()
    y = None if "objective" in options else Y
    with unchanged(model), pytest.raises(tfdump.TfdumpError):
        tfdump.gradients(model, X, y, **options)


def test_the_same_seed_gives_the_same_dropout() -> None:
    model = model_with_state()
    one, again = (tfdump.gradients(model, X, Y, loss="mse", training=True, seed=3) for _ in range(2))
    other = tfdump.gradients(model, X, Y, loss="mse", training=True, seed=4)
    assert_gradients(again.weights, one.weights, 0)
    assert again.loss == one.loss
    assert other.loss != one.loss


def test_dropout_in_training_has_the_gradient_of_its_own_mask() -> None:
    """The mask shows in the gradients of the layer's input and output: zero or doubled."""
    x = keras.Input((50,), name="x")
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(layers.Dense(50, name="dense")(x)))
    gradients = tfdump.gradients(model, floats(4, 50), objective="sum", wrt="activations", training=True)
    assert (gradients.activations["drop"] == 1).all()
    assert set(np.unique(gradients.activations["dense"])) == {0, 2}
    assert 0.3 < (gradients.activations["dense"] == 0).mean() < 0.7


def test_batch_normalization_in_training_equals_a_tape_over_the_batch() -> None:
    import tensorflow as tf

    x = keras.Input((4,), name="x")
    first, norm, last = layers.Dense(3, name="first"), layers.BatchNormalization(name="norm"), layers.Dense(2, name="z")
    model = keras.Model(x, last(norm(first(x))))
    weights = {f"{layer.name}.{v.name}": v for layer in (first, norm, last) for v in layer.trainable_variables}
    gradients = tfdump.gradients(model, X, Y, loss="mse", training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(X, training=True) - Y))
    expected = tape.gradient(loss, [variable.value for variable in weights.values()])
    assert_near(gradients.loss, loss)
    largest = max(np.abs(gradient).max() for gradient in expected)
    for address, gradient in zip(weights, expected, strict=True):
        np.testing.assert_allclose(gradients.weights[address], gradient, rtol=0, atol=1e-5 * largest, err_msg=address)
