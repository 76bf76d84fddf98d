"""The gradient is that of all examples in one batch, as Keras computes it, whatever the batch size is."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.gradient_routes import assert_gradients, assert_near, taped_by_keras
from support.tiny_models import floats, rng

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"]
EXAMPLES, TIME = 7, 5


def tokens() -> np.ndarray:
    """Padded sequences whose numbers of valid steps differ between any two batches."""
    x = rng(3).integers(1, 9, (EXAMPLES, TIME)).astype("int32")
    for row, length in enumerate([5, 1, 2, 4, 1, 3, 2]):
        x[row, length:] = 0
    return x


def two_outputs(losses: Any, loss_weights: Any = None, regularizer: Any = "l2") -> keras.Model:
    """Masked token tags and masked numbers a step, with L2 on three weights, compiled."""
    keras.utils.set_random_seed(5)
    x = keras.Input((TIME,), dtype="int32", name="tokens")
    embedding = layers.Embedding(9, 4, mask_zero=True, embeddings_regularizer=regularizer, name="embedding")
    hidden = layers.Dense(3, activation="tanh", kernel_regularizer=regularizer, name="hidden")(embedding(x))
    tags = layers.Dense(3, activation="softmax", kernel_regularizer=regularizer, name="tags")(hidden)
    model = keras.Model(x, {"tags": tags, "level": layers.Dense(2, name="level")(hidden)})
    model.compile("sgd", losses, loss_weights=loss_weights)
    return model


def targets() -> dict[str, np.ndarray]:
    return {"tags": tokens() % 3, "level": floats(EXAMPLES, TIME, 2, seed=2)}


def step_weights() -> dict[str, np.ndarray]:
    random = rng(4)
    return {name: random.uniform(0.1, 3, (EXAMPLES, TIME)).astype("float32") for name in ("tags", "level")}


def losses(reduction: str) -> dict[str, Any]:
    return {
        "tags": keras.losses.SparseCategoricalCrossentropy(reduction=reduction),
        "level": keras.losses.Huber(reduction=reduction),
    }


@pytest.mark.parametrize(
    ("reduction", "weighted", "batch_size"),
    [(reduction, weighted, 2) for reduction in REDUCTIONS for weighted in (False, True)]
    + [("sum_over_batch_size", True, 1), ("mean_with_sample_weight", True, 7), ("mean", False, None)],
)
def test_masked_weighted_two_output_regularized_model_gives_keras_numbers(
    reduction: str, weighted: bool, batch_size: int | None
) -> None:
    model = two_outputs(losses(reduction), {"tags": 0.3, "level": 2.0})
    x, y, weights = tokens(), targets(), step_weights() if weighted else None
    value, expected = taped_by_keras(model, x, y, weights)
    gradients = tfdump.gradients(model, x, y, sample_weight=weights, batch_size=batch_size)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_gradients_of_activations_are_those_of_the_loss_of_all_batches() -> None:
    model = two_outputs(losses("sum_over_batch_size"), {"tags": 0.3, "level": 2.0})
    options = {"sample_weight": step_weights(), "wrt": "activations", "layers": ["embedding", "hidden", "level"]}
    whole = tfdump.gradients(model, tokens(), targets(), batch_size=7, **options)
    for batch_size in (1, 2):
        parts = tfdump.gradients(model, tokens(), targets(), batch_size=batch_size, **options)
        assert_gradients(parts.activations, whole.activations)
        assert_near(parts.loss, whole.loss)
    assert not whole.activations["level"][1, 1:].any()  # padding


def test_weights_for_one_output_leave_the_other_unweighted() -> None:
    model = two_outputs(losses("mean_with_sample_weight"))
    weights = {"level": step_weights()["level"]}
    value, expected = taped_by_keras(model, tokens(), targets(), weights | {"tags": None})
    gradients = tfdump.gradients(model, tokens(), targets(), sample_weight=weights, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_one_array_of_weights_is_for_every_output() -> None:
    model = two_outputs(losses("sum_over_batch_size"))
    weights = step_weights()["tags"]
    value, expected = taped_by_keras(model, tokens(), targets(), weights)
    gradients = tfdump.gradients(model, tokens(), targets(), sample_weight=weights, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def dense_model(loss: Any, regularizer: Any = None) -> keras.Model:
    keras.utils.set_random_seed(6)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(5, activation="tanh", kernel_regularizer=regularizer, name="hidden")(x)
    model = keras.Model(x, layers.Dense(2, name="last")(hidden))
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("reduction", ["mean", "mean_with_sample_weight"])
def test_one_weight_an_example(reduction: str, batch_size: int) -> None:
    model = dense_model(keras.losses.MeanSquaredError(reduction=reduction), "l1")
    x, y, weights = floats(7, 4), floats(7, 2, seed=1), rng(2).uniform(0, 2, 7).astype("float32")
    value, expected = taped_by_keras(model, x, y, weights)
    gradients = tfdump.gradients(model, x, y, sample_weight=weights, batch_size=batch_size)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_weights_of_a_column_are_one_an_example() -> None:
    """Keras takes weights of shape (examples, 1) for losses of shape (examples,)."""
    model = dense_model("mse")
    x, y, weights = floats(7, 4), floats(7, 2, seed=1), rng(2).uniform(0, 2, (7, 1)).astype("float32")
    value, expected = taped_by_keras(model, x, y, weights)
    gradients = tfdump.gradients(model, x, y, sample_weight=weights, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_reduction_sum_divides_by_nothing(batch_size: int) -> None:
    """The sum of the elements with their mask and weights, and the regularization once."""
    summed = two_outputs(losses("sum"), {"tags": 0.3, "level": 2.0})
    value, expected = taped_by_keras(summed, tokens(), targets(), step_weights())
    model = two_outputs(losses("sum_over_batch_size"), {"tags": 0.3, "level": 2.0})
    gradients = tfdump.gradients(
        model, tokens(), targets(), sample_weight=step_weights(), reduction="sum", batch_size=batch_size
    )
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_everything_masked_gives_zero_gradients_not_nan() -> None:
    model = two_outputs(losses("sum_over_batch_size"), regularizer=None)
    gradients = tfdump.gradients(model, np.zeros((3, TIME), "int32"), {k: v[:3] for k, v in targets().items()})
    assert gradients.loss == 0
    assert all(not gradient.any() for gradient in gradients.weights.values())


def test_a_batch_without_one_valid_step_adds_nothing() -> None:
    model = two_outputs(losses("sum_over_batch_size"))
    x = tokens()
    x[2:4] = 0
    value, expected = taped_by_keras(model, x, targets())
    gradients = tfdump.gradients(model, x, targets(), batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_weights_that_only_the_regularization_reaches_have_its_gradient() -> None:
    x = keras.Input((3,), name="x")
    used, aside = layers.Dense(2, name="used"), layers.Dense(2, kernel_regularizer="l2", name="aside")
    model = keras.Model(x, [used(x), aside(x)])
    model.compile("sgd", ["mse", None])
    gradients = tfdump.gradients(model, floats(5, 3), [floats(5, 2, seed=1)], batch_size=2)
    np.testing.assert_allclose(gradients.weights["aside.kernel"], 0.02 * aside.kernel.numpy(), rtol=1e-6)
    assert gradients.weights["aside.bias"] is None
    assert gradients.weights["used.bias"].any()


def test_targets_made_by_the_model_itself_do_not_look_coupled() -> None:
    """Where every loss is nothing but rounding, it differs between batch sizes: no reason to refuse."""
    model = dense_model("mse")
    wide = keras.Sequential([keras.Input((64,)), layers.Dense(64, "tanh"), layers.Dense(8)])
    x = floats(9, 64)
    gradients = tfdump.gradients(wide, x, wide.predict(x, verbose=0), loss="mse", batch_size=1)
    assert gradients.loss < 1e-10
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients.weights.values())
    gradients = tfdump.gradients(model, x[:, :4], model.predict(x[:, :4], verbose=0), batch_size=4)
    assert gradients.loss < 1e-10


def test_sparse_and_dense_gradients_of_a_table_agree() -> None:
    model = two_outputs(losses("sum_over_batch_size"), regularizer=None)
    dense = tfdump.gradients(model, tokens(), targets(), batch_size=2)["embedding.embeddings"]
    gradients = tfdump.gradients(model, tokens(), targets(), batch_size=2, sparse=True)["embedding.embeddings"]
    assert gradients.dense_shape == dense.shape
    rebuilt = np.zeros(dense.shape)
    np.add.at(rebuilt, gradients.indices[:, 0], gradients.values)
    assert_near(rebuilt, dense, 1e-6)


def test_sparse_gradients_hold_the_regularization_of_rows_that_no_token_touches() -> None:
    model = two_outputs(losses("sum_over_batch_size"))
    x = np.minimum(tokens(), 4)  # rows 5 to 8 of the table are regularized alone
    _, expected = taped_by_keras(model, x, targets())
    gradients = tfdump.gradients(model, x, targets(), batch_size=2, sparse=True)["embedding.embeddings"]
    rebuilt = np.array(gradients)
    if not isinstance(gradients, np.ndarray):
        rebuilt = np.zeros(gradients.dense_shape)
        np.add.at(rebuilt, gradients.indices[:, 0], gradients.values)
    assert_near(rebuilt, expected["embedding.embeddings"])


@pytest.mark.parametrize("batch_size", [2, 7])
def test_norms_only_gives_the_norms_of_the_gradients(batch_size: int) -> None:
    model = two_outputs(losses("sum_over_batch_size"))
    options = {"wrt": ("weights", "activations"), "exclude": "tags", "batch_size": batch_size}
    whole = tfdump.gradients(model, tokens(), targets(), **options)
    norms = tfdump.gradients(model, tokens(), targets(), norms_only=True, **options)
    for address, gradient in whole.weights.items():
        assert_near(norms.weights[address], np.linalg.norm(gradient.astype("float64").reshape(-1)))
    for address, gradient in whole.activations.items():
        flat = gradient.reshape(EXAMPLES, -1).astype("float64")
        assert_near(norms.activations[address], np.linalg.norm(flat, axis=1))


# --- a fixed batch size: the last batch is padded, and the padding must not count


@pytest.mark.parametrize("examples", [3, 4, 10])
def test_padding_of_a_fixed_batch_does_not_count(examples: int) -> None:
    keras.utils.set_random_seed(7)
    x = keras.Input(batch_shape=(4, TIME), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 3, mask_zero=True, name="embedding")(x)
    hidden = layers.Dense(3, activation="tanh", kernel_regularizer="l2", name="hidden")(embedded)
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="tags")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy")
    free = keras.models.clone_model(model, input_tensors=keras.Input((TIME,), dtype="int32", name="tokens"))
    free.set_weights(model.get_weights())
    free.compile("sgd", "sparse_categorical_crossentropy")
    data = np.resize(tokens(), (examples, TIME))
    y = data % 3
    weights = rng(1).uniform(0.5, 2, (examples, TIME)).astype("float32")
    value, expected = taped_by_keras(free, data, y, weights)
    gradients = tfdump.gradients(model, data, y, sample_weight=weights, wrt=("weights", "activations"))
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)
    assert {a: len(g) for a, g in gradients.activations.items() if g is not None} == dict.fromkeys(
        [a for a, g in gradients.activations.items() if g is not None], examples
    )
    other = tfdump.gradients(free, data, y, sample_weight=weights, wrt="activations")
    assert_near(gradients.activations["hidden"], other.activations["hidden"])


def test_padding_of_a_fixed_batch_does_not_count_for_objectives() -> None:
    x = keras.Input(batch_shape=(4, 3), name="x")
    dense = layers.Dense(2, name="dense")
    model = keras.Model(x, dense(x))
    data = floats(10, 3)
    gradients = tfdump.gradients(model, data, objective="sum", wrt=("weights", "inputs"))
    np.testing.assert_allclose(gradients.weights["dense.kernel"], np.repeat(data.sum(0)[:, None], 2, axis=1), rtol=1e-5)
    np.testing.assert_allclose(gradients.weights["dense.bias"], [10, 10])
    np.testing.assert_allclose(gradients.inputs["x"], np.tile(dense.kernel.numpy().sum(1), (10, 1)), rtol=1e-5)


@pytest.mark.parametrize("examples", [3, 4])
def test_a_stateful_model_begins_with_its_states_at_zero(examples: int) -> None:
    """Also where the only batch is padded, and so is run twice."""
    keras.utils.set_random_seed(8)
    x = keras.Input(batch_shape=(4, TIME, 2), name="x")
    lstm = layers.LSTM(3, stateful=True, name="lstm")
    model = keras.Model(x, lstm(x))
    free = keras.Sequential([keras.Input((TIME, 2)), layers.LSTM(3, name="lstm")])
    free.set_weights(lstm.get_weights())
    free.compile("sgd", "mse")
    data, y = floats(examples, TIME, 2), floats(examples, 3, seed=1)
    value, expected = taped_by_keras(free, data, y)
    gradients = tfdump.gradients(model, data, y, loss="mse")
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_data_dependent_model_gives_the_same_gradients_in_every_batch_size() -> None:
    """Python control flow that takes the same way for all batches: run without a graph, found or asked for."""

    class Looks(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = layers.Dense(3, name="small"), layers.Dense(2, name="large")

        def call(self, x: Any) -> Any:
            y = self.small(x)
            return self.large(y) if float(tf.reduce_sum(tf.abs(y))) >= 0 else y

    keras.utils.set_random_seed(1)
    model, x, y = Looks(), floats(7, 4), floats(7, 2, seed=1)
    model(x)
    hidden = x @ model.small.kernel.numpy() + model.small.bias.numpy()
    error = 2 * (hidden @ model.large.kernel.numpy() + model.large.bias.numpy() - y) / y.size
    back = error @ model.large.kernel.numpy().T
    expected = {
        "small.kernel": x.T @ back,
        "small.bias": back.sum(0),
        "large.kernel": hidden.T @ error,
        "large.bias": error.sum(0),
    }
    for options in ({}, {"batch_size": 2}, {"eager": True}, {"eager": True, "batch_size": 1}):
        gradients = tfdump.gradients(model, x, y, loss="mse", wrt=("weights", "activations"), **options)
        assert_gradients(gradients.weights, expected)
        assert_gradients(gradients.activations, {"small": back, "large": error})
