"""Mixed precision: the gradients of float16 and bfloat16 models, and the scale that rescues what underflows."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.gradient_routes import assert_near, weights_by_address
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

ROUNDING = {"mixed_float16": 4e-3, "mixed_bfloat16": 3e-2}
X, Y = floats(6, 8), floats(6, 2, seed=1)


def model_of(policy: str, shrink: float = 1.0) -> keras.Model:
    """Two layers whose weights depend on nothing but the seed; `shrink` divides the gradients of the first one."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8,), name="x")
    hidden = layers.Dense(4, activation="tanh", dtype=policy, name="first")(x)
    middle = layers.Rescaling(1.0 / shrink, dtype=policy, name="shrink")(hidden)
    last = layers.Dense(2, dtype=policy, name="middle")(middle)
    return keras.Model(x, layers.Activation("linear", dtype="float32", name="last")(last))


@pytest.mark.parametrize("policy", ROUNDING)
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_half_precision_gradients_are_those_of_float32_up_to_rounding(policy: str, scale: float) -> None:
    wrt = ("weights", "activations", "inputs")
    full = tfdump.gradients(model_of("float32"), X, Y, loss="mse", wrt=wrt)
    half = tfdump.gradients(model_of(policy), X, Y, loss="mse", wrt=wrt, loss_scale=scale, batch_size=4)
    assert_near(half.loss, full.loss, 3 * ROUNDING[policy])
    assert set(half) == set(full)
    for address in full:
        assert_near(np.asarray(half[address], "float32"), full[address], 5 * ROUNDING[policy], address)


@pytest.mark.parametrize("policy", ROUNDING)
def test_half_precision_gradients_equal_a_tape_by_hand(policy: str) -> None:
    model = model_of(policy)
    weights = weights_by_address(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(X) - Y))
    expected = tape.gradient(loss, [variable.value for variable in weights.values()])
    gradients = tfdump.gradients(model, X, Y, loss="mse")
    assert_near(gradients.loss, loss, ROUNDING[policy])
    for address, gradient in zip(weights, expected, strict=True):
        assert gradient.dtype == gradients.weights[address].dtype == "float32"
        assert_near(gradients.weights[address], gradient, ROUNDING[policy], address)


def test_loss_scale_rescues_what_underflows_in_float16() -> None:
    shrink = 2e5
    expected = tfdump.gradients(model_of("float32", shrink), X, Y, loss="mse").weights["first.kernel"]
    assert 1e-10 < np.abs(expected).max() < 1e-5
    lost = tfdump.gradients(model_of("mixed_float16", shrink), X, 1e-3 * Y, loss="mse")
    assert not lost.weights["first.kernel"].any()
    expected = tfdump.gradients(model_of("float32", shrink), X, 1e-3 * Y, loss="mse").weights["first.kernel"]
    rescued = tfdump.gradients(model_of("mixed_float16", shrink), X, 1e-3 * Y, loss="mse", loss_scale=2.0**20)
    assert_near(rescued.weights["first.kernel"], expected, 0.05)


def test_underflow_is_told() -> None:
    with pytest.warns(tfdump.TfdumpWarning, match=r"passed through float16 are zero, .*: .*first.kernel"):
        tfdump.gradients(model_of("mixed_float16", 2e5), X, 1e-3 * Y, loss="mse")


def test_loss_scale_changes_nothing_in_float32() -> None:
    plain = tfdump.gradients(model_of("float32"), X, Y, loss="mse", wrt=("weights", "inputs"))
    scaled = tfdump.gradients(model_of("float32"), X, Y, loss="mse", wrt=("weights", "inputs"), loss_scale=1024.0)
    assert scaled.loss == plain.loss
    for address in plain:
        assert_near(scaled[address], plain[address], 1e-6, address)


def test_a_loss_scale_that_overflows_is_told() -> None:
    with pytest.warns(tfdump.TfdumpWarning, match=r"loss is finite.*first\.kernel.*loss_scale 1e\+30 may"):
        gradients = tfdump.gradients(model_of("mixed_float16"), X, Y, loss="mse", loss_scale=1e30)
    assert np.isfinite(gradients.loss)
    assert not np.isfinite(gradients.weights["first.kernel"]).all()


def test_loss_scale_leaves_the_regularization_alone() -> None:
    model = model_of("float32")
    model.get_layer("first").kernel.regularizer = keras.regularizers.L2(0.1)
    model.compile("sgd", "mse")
    plain = tfdump.gradients(model, X, Y)
    scaled = tfdump.gradients(model, X, Y, loss_scale=512.0)
    assert_near(scaled.loss, plain.loss, 1e-7)
    assert_near(scaled.weights["first.kernel"], plain.weights["first.kernel"], 1e-6)


def test_loss_scale_reaches_sparse_gradients() -> None:
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    model = keras.Model(tokens, layers.Embedding(5, 2, name="table")(tokens))
    x, y = np.array([[1, 2, 1], [3, 3, 3]], "int32"), floats(2, 3, 2)
    plain: Any = tfdump.gradients(model, x, y, loss="mse", sparse=True)["table.embeddings"]
    scaled: Any = tfdump.gradients(model, x, y, loss="mse", sparse=True, loss_scale=64.0)["table.embeddings"]
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    assert_near(scaled.values, plain.values, 1e-6)
