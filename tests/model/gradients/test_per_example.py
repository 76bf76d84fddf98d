"""Each example's own gradient: that of a batch of one, as Keras computes it, without the regularization."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support import zoo
from support.gradient_routes import assert_gradients, assert_near, weights_by_address
from support.tiny_models import floats, rng

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


@dataclass(frozen=True)
class Case:
    """A model with data."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray


def of_layers(x: np.ndarray, y: np.ndarray, *chain: layers.Layer) -> Case:
    keras.utils.set_random_seed(1)
    start = value = keras.Input(x.shape[1:], dtype=x.dtype.name, name="x")
    for layer in chain:
        value = layer(value)
    model = keras.Model(start, value)
    model.compile("sgd", "mse")
    return Case(model, x, y)


def dense() -> Case:
    first = layers.Dense(3, activation="tanh", kernel_regularizer="l2", name="first")
    return of_layers(floats(5, 4), floats(5, 2, seed=1), first, layers.Dense(2, name="last"))


def convolution() -> Case:
    conv = layers.Conv2D(3, 2, activation="relu", name="conv")
    chain = (conv, layers.BatchNormalization(name="norm"), layers.MaxPooling2D(name="pool"), layers.Flatten(name="f"))
    return of_layers(floats(4, 5, 5, 2), floats(4, 2, seed=1), *chain, layers.Dense(2, name="last"))


def lstm() -> Case:
    return of_layers(floats(4, 3, 2), floats(4, 2, seed=1), layers.LSTM(3, name="rnn"), layers.Dense(2, name="last"))


class SelfAttention(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mha = layers.MultiHeadAttention(2, 2, name="mha")

    def call(self, x: Any) -> Any:
        return x + self.mha(x, x)


def attention() -> Case:
    chain = (SelfAttention(name="block"), layers.LayerNormalization(name="norm"), layers.Dense(2, name="last"))
    return of_layers(floats(4, 3, 4), floats(4, 3, 2, seed=1), *chain)


def tokens() -> np.ndarray:
    x = rng(2).integers(1, 6, (4, 3)).astype("int32")
    x[1, 2:] = x[3, 1:] = 0
    return x


def embedding() -> Case:
    chain = (layers.Embedding(6, 3, name="table"), layers.Dense(2, name="last"))
    return of_layers(tokens(), floats(4, 3, 2), *chain)


def masked_embedding() -> Case:
    chain = (layers.Embedding(6, 3, mask_zero=True, name="table"), layers.Dense(2, name="last"))
    return of_layers(tokens(), floats(4, 3, 2), *chain)


def masked_lstm() -> Case:
    rnn = layers.LSTM(2, return_sequences=True, name="rnn")
    chain = (layers.Embedding(6, 3, mask_zero=True, name="table"), rnn, layers.Dense(2, name="last"))
    return of_layers(tokens(), floats(4, 3, 2), *chain)


CASES = [dense, convolution, lstm, attention, embedding, masked_embedding, masked_lstm]


def rows_by_hand(case: Case, weights: dict[str, Any], sample_weight: Any = None) -> tuple[list[float], dict[str, Any]]:
    """The loss and gradients of every example by Keras's loss in a batch of one."""
    values, rows = [], []
    for n in range(len(case.x)):
        one = slice(n, n + 1)
        weight = None if sample_weight is None else sample_weight[one]
        with tf.GradientTape() as tape:
            loss = keras.losses.MeanSquaredError()(case.y[one], case.model(case.x[one]), weight)
        gradients = tape.gradient(loss, [variable.value for variable in weights.values()])
        values.append(float(loss))
        rows.append([tf.convert_to_tensor(gradient).numpy() for gradient in gradients])
    stacked = [np.stack(column) for column in zip(*rows, strict=True)]
    return values, dict(zip(weights, stacked, strict=True))


@pytest.mark.parametrize(
    ("build", "weighted"), [(case, False) for case in CASES] + [(dense, True), (masked_embedding, True)]
)
def test_each_row_is_the_gradient_of_a_batch_of_one(build: Callable[[], Case], weighted: bool) -> None:
    case = build()
    weights = weights_by_address(case.model)
    shape = case.y.shape[:-1]
    sample_weight = rng(5).uniform(0.1, 2, shape).astype("float32") if weighted else None
    values, expected = rows_by_hand(case, weights, sample_weight)
    gradients = tfdump.gradients(
        case.model, case.x, case.y, sample_weight=sample_weight, per_example=True, batch_size=3
    )
    np.testing.assert_allclose(gradients.loss, values, rtol=1e-5)
    assert set(gradients.weights) == set(expected)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for address, gradient in expected.items():
        assert gradients.weights[address].shape == gradient.shape
        np.testing.assert_allclose(gradients.weights[address], gradient, rtol=0, atol=2e-6 * largest, err_msg=address)


@pytest.mark.parametrize("build", [dense, convolution, embedding])
def test_the_mean_of_the_rows_and_the_regularization_is_the_gradient(build: Callable[[], Case]) -> None:
    case = build()
    rows = tfdump.gradients(case.model, case.x, case.y, per_example=True)
    whole = tfdump.gradients(case.model, case.x, case.y)
    variables = weights_by_address(case.model)
    largest = max(np.abs(gradient).max() for gradient in whole.weights.values())
    for address, gradient in whole.weights.items():
        mean = rows.weights[address].mean(axis=0)
        if variables[address].regularizer is not None:
            mean = mean + 0.02 * variables[address].numpy()
        np.testing.assert_allclose(mean, gradient, rtol=0, atol=2e-6 * largest, err_msg=address)


@pytest.mark.parametrize("build", [convolution, masked_embedding])
def test_rows_of_activations_and_inputs_are_those_of_a_batch_of_one(build: Callable[[], Case]) -> None:
    case = build()
    wrt = ("activations",) if case.x.dtype == "int32" else ("activations", "inputs")
    gradients = tfdump.gradients(case.model, case.x, case.y, per_example=True, wrt=wrt, batch_size=3)
    for n in range(len(case.x)):
        alone = tfdump.gradients(case.model, case.x[n : n + 1], case.y[n : n + 1], loss="mse", wrt=wrt)
        assert_gradients({key: gradients[key][n] for key in gradients}, {key: alone[key][0] for key in alone})


def test_per_example_objective() -> None:
    case = dense()
    kernel = case.model.get_layer("last").kernel.numpy()
    hidden = case.model.get_layer("first")(case.x).numpy()
    gradients = tfdump.gradients(case.model, case.x, objective="last[1]", per_example=True, batch_size=2)
    np.testing.assert_allclose(gradients.weights["last.kernel"][:, :, 1], hidden, rtol=1e-6)
    assert not gradients.weights["last.kernel"][:, :, 0].any()
    back = (1 - hidden**2) * kernel[:, 1]
    assert_near(gradients.weights["first.kernel"], case.x[:, :, None] * back[:, None, :])


def test_per_example_norms() -> None:
    case = convolution()
    rows = tfdump.gradients(case.model, case.x, case.y, per_example=True, batch_size=3)
    norms = tfdump.gradients(case.model, case.x, case.y, per_example=True, norms_only=True, batch_size=3)
    for address, gradient in rows.weights.items():
        assert_near(norms.weights[address], np.linalg.norm(gradient.reshape(len(case.x), -1), axis=1))


def test_per_example_without_a_graph() -> None:
    case = dense()
    graph = tfdump.gradients(case.model, case.x, case.y, per_example=True)
    eager = tfdump.gradients(case.model, case.x, case.y, per_example=True, eager=True, batch_size=2)
    assert_near(eager.loss, graph.loss)
    assert_gradients(eager.weights, graph.weights)


def test_batch_normalization_in_training_is_refused() -> None:
    case = convolution()
    with pytest.raises(tfdump.TfdumpError, match="norm"):
        tfdump.gradients(case.model, case.x, case.y, per_example=True, training=True)


def test_per_example_leaves_the_model_as_it_was() -> None:
    case = convolution()
    before = case.model.get_weights()
    tfdump.gradients(case.model, case.x, case.y, per_example=True)
    for old, new in zip(before, case.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("eager", [False, True])
def test_the_regularization_that_is_left_out_is_said(eager: bool, tmp_path: Path) -> None:
    case = dense()
    kernel = case.model.get_layer("first").kernel.numpy().astype("float64")
    expected = 0.01 * np.sum(kernel**2)
    case.model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", case.x)
    np.save(tmp_path / "y.npy", case.y)
    command = ("gradients", tmp_path / "m.keras", tmp_path / "x.npy", tmp_path / "y.npy", "--per-example")
    status, stderr = zoo.command(*command, "-o", tmp_path / "g.h5", *(["--eager"] if eager else []))
    assert status == 0, stderr
    assert f"Note: --per-example leaves the regularization ({expected:.4g}) out of the losses and gradients" in stderr
    with h5py.File(tmp_path / "g.h5") as file:
        assert file["loss"].attrs["regularization_left_out"] == pytest.approx(expected, rel=1e-5)
    status, stderr = zoo.command(*command, "--loss", "mse", "-o", tmp_path / "mse.h5")  # which has none to leave out
    assert (status, "regularization" in stderr) == (0, False)
    with h5py.File(tmp_path / "mse.h5") as file:
        assert "regularization_left_out" not in file["loss"].attrs


def test_nothing_is_said_of_a_model_without_regularization(recwarn: pytest.WarningsRecorder) -> None:
    case = lstm()
    tfdump.gradients(case.model, case.x, case.y, per_example=True)
    said = [str(warning.message) for warning in recwarn if warning.category is tfdump.TfdumpWarning]
    assert not [message for message in said if "regularization" in message]
