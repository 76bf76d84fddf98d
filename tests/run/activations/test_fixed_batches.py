"""A model of fixed batch size: the rest of the examples is run as it is, and padded only where the model refuses it."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.command import Run
from support.tiny_models import floats, register

pytestmark = pytest.mark.tensorflow

X = floats(5, 3) + 2


def close(actual: object, expected: object, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-5)


MIXED = ("total", "average", "sorted", "centered")


@register
class Over(layers.Layer):
    """A function over the examples of the batch."""

    def __init__(self, function: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return FUNCTIONS[self.function](x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


FUNCTIONS = {
    "total": lambda x: ops.sum(x, axis=0),
    "average": lambda x: ops.mean(x, axis=0),
    "sorted": lambda x: ops.sort(x, axis=0),
    "centered": lambda x: x - ops.mean(x, axis=0),
    "eager": lambda x: x * float(tf.reduce_sum(x) * 0 + 2),
}
BY_HAND = {
    "total": lambda x: x.sum(0),
    "average": lambda x: x.mean(0),
    "sorted": lambda x: np.sort(x, 0),
    "centered": lambda x: x - x.mean(0),
}


def mixing(size: int | None, fixed_inside: bool = False, eager: bool = False) -> keras.Model:
    """Tensors that mix the examples beside one that does not; `fixed_inside` reshapes to the size itself."""
    x = keras.Input(batch_shape=(size, 3), name="x")
    y = layers.Rescaling(2.0, name="double")(x)
    if fixed_inside:
        y = ops.reshape(y, (size, 3))
    outputs = [Over(name, name=name)(y) for name in MIXED]
    if eager:
        outputs.append(Over("eager", name="twice")(y))
    return keras.Model(x, [y, *outputs])


def batches_by_hand(name: str, x: np.ndarray, size: int) -> list[np.ndarray]:
    return [BY_HAND[name](2 * x[start : start + size]) for start in range(0, len(x), size)]


def batches_in(value: Any, count: int, size: int) -> list[np.ndarray]:
    """A stack, or rows of examples, as the batches that they came in."""
    if isinstance(value, list) or len(value) == count:
        return list(value)
    return [value[start : start + size] for start in range(0, len(value), size)]


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(("examples", "size"), [(5, 2), (3, 4), (7, 4)])
def test_what_mixes_examples_is_not_computed_from_padding(examples: int, size: int, eager: bool) -> None:
    x = floats(examples, 3, seed=examples) + 2
    got = tfdump.activations(mixing(size), x, eager=eager)
    close(got["double"], 2 * x)
    for name in MIXED:
        expected = batches_by_hand(name, x, size)
        for batch, value in zip(batches_in(got[name], len(expected), size), expected, strict=True):
            close(batch, value)


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
def test_one_example_is_not_doubled() -> None:
    got = tfdump.activations(mixing(2), X[:1])
    for name in MIXED:
        close(got[name].reshape(-1), BY_HAND[name](2 * X[:1]).reshape(-1))


def test_a_rest_that_the_model_takes_is_not_padded_and_mixing_is_named() -> None:
    with pytest.warns(tfdump.TfdumpWarning) as record:
        tfdump.activations(mixing(2), X)
    notes = " | ".join(str(warning.message) for warning in record)
    assert "padded" not in notes
    for name in MIXED:
        assert name in notes


@pytest.mark.parametrize("x", [X[:4], np.sort(X, axis=0)], ids=["whole batches", "sorted already"])
def test_mixing_is_named_where_nothing_is_padded(x: np.ndarray) -> None:
    with pytest.warns(tfdump.TfdumpWarning) as record:
        tfdump.activations(mixing(2), x)
    notes = " | ".join(str(warning.message) for warning in record)
    assert "padded" not in notes
    for name in MIXED:
        assert name in notes


def test_a_model_that_refuses_is_padded_and_what_was_computed_from_the_padding_is_said(
    tfdump: Run, tmp_path: Path
) -> None:
    model = mixing(2, fixed_inside=True)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", X)
    done = tfdump("activations", "m.keras", "x.npy", "-o", "d.h5", "--import", __file__)
    assert done.returncode == 0, done.stderr
    assert "padded to 2 examples with 1 copy of its last one" in done.stderr
    (from_copies,) = [line for line in done.stderr.splitlines() if "computed from the copies too" in line]
    assert sorted(from_copies.split(": ")[-1].split(", ")) == sorted(MIXED)
    last = 2 * np.stack([X[4], X[4]])
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["padding"] == 1
        close(file["activations/double"][()], 2 * X)
        assert "padding" not in file["activations/double"].attrs
        for number, name in enumerate(MIXED, 1):
            for tensor in (f"activations/{name}", f"outputs/{number}"):
                assert file[tensor].attrs["padding"] == 1, tensor
        assert "padding" not in file["outputs/0"].attrs
        close(file["activations/total"][2], last.sum(0))
        close(file["activations/centered"][4], [0, 0, 0])


def test_the_states_of_a_stateful_layer_need_their_batch_size() -> None:
    """One row plus states of two rows are two rows, without an error: a model that takes a rest so is padded."""
    x = keras.Input(batch_shape=(2, 4, 3))
    lstm = layers.LSTM(2, stateful=True, name="lstm")
    model = keras.Model(x, lstm(x))
    data = floats(5, 4, 3)
    padded = np.concatenate([data, data[-1:]])
    lstm.reset_state()
    expected = np.concatenate([np.asarray(model(padded[start : start + 2])) for start in (0, 2, 4)])[:5]
    with pytest.warns(tfdump.TfdumpWarning, match="padded to 2 examples"):
        got = tfdump.activations(model, data)
    np.testing.assert_allclose(got["lstm"], expected, rtol=1e-5, atol=1e-6)


def test_batch_statistics_of_a_short_last_batch_are_its_own() -> None:
    x = keras.Input(batch_shape=(4, 3))
    model = keras.Model(x, layers.BatchNormalization(name="norm")(x))
    data = floats(6, 3)
    with pytest.warns(tfdump.TfdumpWarning):
        got = tfdump.activations(model, data, training=True)["norm"]
    for rows in (slice(0, 4), slice(4, 6)):
        part = data[rows]
        close(got[rows], (part - part.mean(0)) / np.sqrt(part.var(0) + 1e-3), 1e-4)


def test_batch_statistics_that_padding_enters_are_said(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input(batch_shape=(4, 3))
    keras.Model(x, layers.BatchNormalization(name="norm")(ops.reshape(x, (4, 3)))).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(6, 3))
    done = tfdump("activations", "m.keras", "x.npy", "-o", "d.h5", "--training")
    assert "computed from the copies too, because they mix the examples of a batch: norm" in done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["activations/norm"].attrs["padding"] == 2
        assert "padding" not in file["activations/reshape"].attrs


def test_one_filtered_row_of_a_padded_batch_is_not_taken_for_the_one_example() -> None:
    """The padded batch has two rows, of which a filter keeps one or none: neither is cut to its one example."""

    class Filtering(layers.Layer):
        def call(self, x: Any) -> Any:
            fixed = ops.reshape(x, (2, 3))
            return tf.boolean_mask(fixed, [True, False] if x.shape[0] == 2 else [True])

    x = keras.Input(batch_shape=(2, 3))
    model = keras.Model(x, Filtering(name="first")(x))
    with pytest.warns(tfdump.TfdumpWarning, match="stored batch by batch"):
        got = tfdump.activations(model, X)["first"]
    np.testing.assert_array_equal(got, X[[0, 2, 4]][:, None])


# --- gradients


def coupled(size: int, fixed_inside: bool = False) -> keras.Model:
    x = keras.Input(batch_shape=(size, 3), name="x")
    y = layers.Dense(2, name="dense", kernel_initializer="ones")(x)
    if fixed_inside:
        y = ops.reshape(y, (size, 2))
    return keras.Model(x, Over("centered", name="centered")(y))


def test_a_loss_that_couples_fewer_examples_than_the_fixed_size_is_that_of_these() -> None:
    y = floats(3, 2, seed=1)
    kernel = np.ones((3, 2), "float32")
    x = tf.constant(X[:3])
    with tf.GradientTape() as tape:
        weight = tf.constant(kernel)
        tape.watch(weight)
        z = x @ weight
        loss = tf.reduce_mean(tf.square(z - tf.reduce_mean(z, axis=0) - y))
    grads = tfdump.gradients(coupled(4), X[:3], y, loss="mse")
    assert grads.loss == pytest.approx(float(loss), rel=1e-5)
    close(grads.weights["dense.kernel"], tape.gradient(loss, weight).numpy())


def test_a_coupled_loss_whose_divisor_is_counted_is_counted_without_copies() -> None:
    y, weights = floats(3, 2, seed=1), np.array([1.0, 2.0, 5.0], "float32")
    z = X[:3] @ np.ones((3, 2), "float32")
    errors = ((z - z.mean(0) - y) ** 2).mean(1)
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    grads = tfdump.gradients(coupled(4), X[:3], y, loss=loss, sample_weight=weights)
    assert grads.loss == pytest.approx((errors * weights).sum() / weights.sum(), rel=1e-5)


def test_a_coupled_loss_that_would_have_to_be_padded_is_refused() -> None:
    with pytest.raises(tfdump.TfdumpError, match=r"couples.*only batches of 4 examples"):
        tfdump.gradients(coupled(4, fixed_inside=True), X[:3], floats(3, 2), loss="mse")
