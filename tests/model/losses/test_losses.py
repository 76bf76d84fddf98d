"""What is differentiated: losses by name, object and function, compiled ones in every form, and objectives."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.gradient_routes import assert_gradients, assert_near, taped, taped_by_keras, weights_by_address
from support.tiny_models import floats, rng

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal(shape)


# --- back-propagation by hand


@pytest.mark.parametrize("decay", [0.0, 0.05], ids=["plain", "L2"])
@pytest.mark.parametrize("batch_size", [2, None])
def test_gradients_equal_back_propagation_written_in_numpy(decay: float, batch_size: int | None) -> None:
    """Dense-tanh, dense-softmax and sparse crossentropy, with L2 on both kernels."""
    x, y = floats(5, 4), np.array([0, 2, 1, 1, 2])
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((4,), name="x"),
            layers.Dense(3, activation="tanh", kernel_regularizer=keras.regularizers.L2(decay), name="hidden"),
            layers.Dense(3, activation="softmax", kernel_regularizer=keras.regularizers.L2(decay), name="classes"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    w1, b1, w2, b2 = (weight.astype("float64") for weight in model.get_weights())
    hidden = np.tanh(x @ w1 + b1)
    exponents = np.exp(hidden @ w2 + b2)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    logits = (probabilities - np.eye(3)[y]) / 5
    back = logits @ w2.T
    before = back * (1 - hidden**2)
    value = -np.log(probabilities[range(5), y]).mean() + decay * ((w1**2).sum() + (w2**2).sum())
    gradients = tfdump.gradients(model, x, y, wrt=("weights", "activations", "inputs"), batch_size=batch_size)
    assert_near(gradients.loss, value)
    assert_gradients(
        gradients.weights,
        {
            "hidden.kernel": x.T @ before + 2 * decay * w1,
            "hidden.bias": before.sum(0),
            "classes.kernel": hidden.T @ logits + 2 * decay * w2,
            "classes.bias": logits.sum(0),
        },
    )
    assert_near(gradients.activations["hidden"], back)
    assert_near(gradients.inputs["x"], before @ w1.T)


# --- losses by name, object and function


def tail(activation: Any, units: int = 3, scale: float = 1.0) -> keras.Model:
    """Two dense layers with a last activation; `scale` saturates it."""
    keras.utils.set_random_seed(3)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(units, activation=activation, name="last")(layers.Dense(4, name="first")(x)))
    model.set_weights([weight * scale for weight in model.get_weights()])
    return model


PROBABILITIES = np.abs(rng(8).dirichlet(np.ones(3), 5)).astype("float32")
BITS = rng(9).integers(0, 2, (5, 3)).astype("float32")
SIGNS = 2 * BITS - 1
NAMES: dict[str, tuple[Any, np.ndarray]] = {
    "mse": (None, floats(5, 3)),
    "mae": (None, floats(5, 3)),
    "MeanSquaredLogarithmicError": ("softplus", np.abs(floats(5, 3))),
    "huber": (None, floats(5, 3)),
    "log_cosh": (None, floats(5, 3)),
    "hinge": ("tanh", SIGNS),
    "squared_hinge": ("tanh", SIGNS),
    "categorical_hinge": ("softmax", np.eye(3, dtype="float32")[[0, 2, 1, 1, 2]]),
    "kl_divergence": ("softmax", PROBABILITIES),
    "poisson": ("softplus", np.abs(floats(5, 3))),
    "cosine_similarity": (None, floats(5, 3)),
    "binary_crossentropy": ("sigmoid", BITS),
    "BinaryFocalCrossentropy": ("sigmoid", BITS),
    "categorical_crossentropy": ("softmax", PROBABILITIES),
    "CategoricalFocalCrossentropy": ("softmax", PROBABILITIES),
    "sparse_categorical_crossentropy": ("softmax", np.array([0, 2, 1, 1, 2])),
    "Dice": ("sigmoid", BITS),
    "Tversky": ("sigmoid", BITS),
}


@pytest.mark.parametrize("name", NAMES)
def test_losses_by_name_give_what_the_compiled_model_has(name: str) -> None:
    activation, y = NAMES[name]
    model, x = tail(activation), floats(5, 4)
    model.compile("sgd", name)
    value, expected = taped_by_keras(model, x, y)
    gradients = tfdump.gradients(tail(activation), x, y, loss=name)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


@pytest.mark.parametrize("name", ["categorical_crossentropy", "binary_crossentropy", "BinaryCrossentropy"])
def test_from_logits_takes_the_output_for_logits(name: str) -> None:
    model, x = tail(None), floats(5, 4)
    loss = getattr(keras.losses, "CategoricalCrossentropy" if "cat" in name else "BinaryCrossentropy")(from_logits=True)
    value, expected = taped(lambda: loss(BITS, model(x)), weights_by_address(model))
    gradients = tfdump.gradients(model, x, BITS, loss=name, from_logits=True, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


class PlainSoftmax(layers.Layer):
    """Softmax by TensorFlow, which notes nothing on its tensor: Keras looks at the operation behind it."""

    def call(self, x: Any) -> Any:
        return tf.nn.softmax(x)


class PlainSigmoid(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.nn.sigmoid(x)


ENDS: dict[str, Callable[[Any], Any]] = {
    "activation": lambda x: layers.Dense(3, activation="softmax", name="last")(x),  # noqa: PLW0108  # a new one a test
    "layer": lambda x: layers.Softmax(name="end")(layers.Dense(3, name="last")(x)),
    "Activation": lambda x: layers.Activation("softmax", name="end")(layers.Dense(3, name="last")(x)),
    "operation": lambda x: ops.softmax(layers.Dense(3, name="last")(x)),
    "dropout behind it": lambda x: layers.Dropout(0.0)(layers.Dense(3, activation="softmax", name="last")(x)),
    "identity behind it": lambda x: layers.Identity()(layers.Dense(3, activation="softmax", name="last")(x)),
    "reshape behind it": lambda x: layers.Reshape((3,))(layers.Dense(3, activation="softmax", name="last")(x)),
    "TensorFlow": lambda x: PlainSoftmax(name="end")(layers.Dense(3, name="last")(x)),
}


@pytest.mark.parametrize("end", ENDS)
def test_saturated_softmax_has_the_gradient_of_fit(end: str) -> None:
    """Keras goes back to the logits where it knows them; clipped probabilities would have no gradient at all."""
    assert_trains_like_fit(ENDS[end], "categorical_crossentropy", np.eye(3, dtype="float32")[[0, 1, 2, 0]])


@pytest.mark.parametrize("tensorflow", [False, True], ids=["activation", "TensorFlow"])
def test_saturated_sigmoid_has_the_gradient_of_fit(tensorflow: bool) -> None:
    dense = layers.Dense(3, activation=None if tensorflow else "sigmoid", name="last")
    end = (lambda x: PlainSigmoid()(dense(x))) if tensorflow else dense
    assert_trains_like_fit(end, "binary_crossentropy", BITS[:4])


def assert_trains_like_fit(end: Callable[[Any], Any], loss: str, y: np.ndarray) -> None:
    """One step of SGD by `fit` moves the weights against the gradient."""
    keras.utils.set_random_seed(4)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, end(x))
    kernel, bias = model.get_weights()
    model.set_weights([kernel * 200, bias])
    data = floats(4, 4)
    model.compile("sgd", loss)
    gradients = tfdump.gradients(model, data, y)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.fit(data, y, batch_size=4, verbose=0)
    moved = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    assert_near(gradients.weights["last.kernel"], moved[0], 1e-4)
    assert_near(gradients.weights["last.bias"], moved[1], 1e-4)


@pytest.mark.parametrize("end", ENDS)
def test_a_loss_on_probabilities_reaches_them(end: str) -> None:
    """Only where a loss takes the logits behind an output has the output no gradient of its own."""
    keras.utils.set_random_seed(4)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, ENDS[end](x))
    data, y = floats(4, 4), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients = tfdump.gradients(model, data, y, loss="mse", wrt=("activations", "weights"), batch_size=3)
    last = list(gradients.activations)[-1]
    assert_near(gradients.activations[last], 2 * (np.asarray(model(data)) - y) / y.size)
    if "behind" in end:  # dropout of 0, identity and reshape hand on what they get
        assert_near(gradients.activations["last"], gradients.activations[last])
    logits = data @ model.get_weights()[0] + model.get_weights()[1]
    assert_near(tf.nn.softmax(logits), model(data))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gradients = tfdump.gradients(model, data, y, loss="categorical_crossentropy", wrt="activations")
    unconnected = [address for address, gradient in gradients.items() if gradient is None]
    if end == "reshape behind it":  # Keras does not look that far
        assert unconnected == [str(warning.message) for warning in told] == []
        return
    assert last in unconnected
    (note,) = [str(warning.message) for warning in told]
    assert f"without a gradient: {', '.join(unconnected)} (Keras computes the crossentropy from the logits" in note


def test_what_the_loss_does_not_reach_is_not_put_down_to_logits() -> None:
    x = keras.Input((4,), name="x")
    ends = {"a": layers.Dense(3, activation="softmax", name="a")(x), "b": layers.Dense(3, name="b")(x)}
    with pytest.warns(tfdump.TfdumpWarning) as told:
        gradients = tfdump.gradients(
            keras.Model(x, ends), floats(4, 4), {"a": PROBABILITIES[:4]}, loss=["a=mse"], wrt="activations"
        )
    assert gradients["b"] is None
    assert gradients["a"] is not None
    assert [str(warning.message) for warning in told] == ["not connected with the loss, so without a gradient: b"]


def quartic(y: Any, prediction: Any) -> Any:
    return ops.sum((y - prediction) ** 4, axis=-1)


class Asymmetric(keras.losses.Loss):
    """A class of the user's own, with an option."""

    def __init__(self, up: float = 3.0, **options: Any) -> None:
        super().__init__(**options)
        self.up = up

    def call(self, y: Any, prediction: Any) -> Any:
        error = y - prediction
        return ops.mean(ops.where(error > 0, self.up * error**2, error**2), axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        quartic,
        Asymmetric(5.0, name="mine"),
        keras.losses.Huber(delta=0.3, reduction="sum"),
        keras.losses.MeanSquaredError(reduction="sum", name="odd=name"),
        keras.losses.MeanSquaredError(name="compiled"),
        lambda y, prediction: ops.mean(ops.abs(y - prediction) ** 3, axis=-1),
    ],
    ids=["function", "class", "Huber", "name with =", "name of an option", "lambda"],
)
def test_a_loss_object_or_function_is_taken_as_it_is(loss: Any) -> None:
    model, x, y = tail("tanh"), floats(5, 4), floats(5, 3, seed=1)
    called = loss if isinstance(loss, keras.losses.Loss) else lambda t, p: ops.mean(loss(t, p))
    value, expected = taped(lambda: called(y, model(x)), weights_by_address(model))
    gradients = tfdump.gradients(model, x, y, loss=loss, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_from_logits_keeps_the_other_options_of_a_loss_object() -> None:
    model, x = tail(None), floats(5, 4)
    wanted = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3, reduction="sum")
    value, expected = taped(lambda: wanted(PROBABILITIES, model(x)), weights_by_address(model))
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.3, reduction="sum")
    gradients = tfdump.gradients(model, x, PROBABILITIES, loss=loss, from_logits=True)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_a_loss_by_name_leaves_the_regularization_out() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l1", name="dense")(x))
    data, y = floats(6, 3), floats(6, 2, seed=1)
    value, expected = taped(lambda: tf.reduce_mean(tf.square(model(data) - y)), weights_by_address(model))
    gradients = tfdump.gradients(model, data, y, loss="mse", batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_targets_of_integers_bools_and_without_the_last_axis() -> None:
    model, x = tail("sigmoid", units=1), floats(5, 4)
    bits = np.array([0, 1, 1, 0, 1])
    loss = keras.losses.BinaryCrossentropy()
    value, expected = taped(lambda: loss(bits[:, None].astype("float32"), model(x)), weights_by_address(model))
    for y in (bits, bits[:, None], bits.astype(bool), bits.astype("float64"), bits.astype("uint8")):
        gradients = tfdump.gradients(model, x, y, loss="binary_crossentropy", batch_size=2)
        assert_near(gradients.loss, value)
        assert_gradients(gradients.weights, expected)


def test_nan_loss_is_dumped_with_a_warning() -> None:
    model, x, y = tail(None), floats(4, 4), floats(4, 3)
    x[1, 0] = np.nan
    with pytest.warns(tfdump.TfdumpWarning, match="not finite"):
        gradients = tfdump.gradients(model, x, y, loss="mse", wrt=("weights", "inputs"), batch_size=2)
    assert np.isnan(gradients.loss)
    assert np.isnan(gradients.weights["first.bias"]).all()
    assert np.isnan(gradients.inputs["x"]).any(axis=1).tolist() == [False, True, False, False]


# --- compiled losses of several outputs


def heads(structure: str, last: str = "softmax", **compiled: Any) -> keras.Model:
    """Two outputs, as a list or as a dict whose keys are the layers' names or others."""
    keras.utils.set_random_seed(5)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, activation="tanh", kernel_regularizer="l2", name="hidden")(x)
    a, b = layers.Dense(2, name="a")(hidden), layers.Dense(3, activation=last, name="b")(hidden)
    outputs = {"list": [a, b], "dict": {"a": a, "b": b}, "other keys": {"second": b, "first": a}}[structure]
    model = keras.Model(x, outputs)
    model.compile("sgd", **compiled)
    return model


A, B = floats(6, 2, seed=1), np.array([0, 2, 1, 1, 2, 0])
CROSS, SQUARED = "sparse_categorical_crossentropy", "mse"
COMPILED: dict[str, tuple[str, dict[str, Any]]] = {
    "list of names": ("list", {"loss": [SQUARED, CROSS]}),
    "list with weights": ("list", {"loss": [SQUARED, CROSS], "loss_weights": [0.2, 3.0]}),
    "dict for a list": ("list", {"loss": {"a": SQUARED, "b": CROSS}}),
    "dict for a list, with weights": (
        "list", {"loss": {"b": CROSS, "a": SQUARED}, "loss_weights": {"a": 0.2, "b": 3.0}}
    ),
    "dict by output": ("dict", {"loss": {"a": SQUARED, "b": CROSS}, "loss_weights": {"a": 0.2, "b": 3.0}}),
    "dict in another order": ("dict", {"loss": {"b": CROSS, "a": SQUARED}, "loss_weights": {"b": 3.0, "a": 0.2}}),
    "dict by keys": ("other keys", {"loss": {"first": SQUARED, "second": CROSS}}),
    "objects": (
        "list",
        {"loss": [keras.losses.Huber(delta=0.1, reduction="sum"), keras.losses.SparseCategoricalCrossentropy()]},
    ),
    "functions": ("dict", {"loss": {"a": quartic, "b": keras.losses.sparse_categorical_crossentropy}}),
}  # fmt: skip


@pytest.mark.parametrize("form", COMPILED)
def test_compiled_losses_of_two_outputs_in_every_form(form: str) -> None:
    structure, compiled = COMPILED[form]
    model, x = heads(structure, **compiled), floats(6, 4)
    keras_y = {"list": [A, B], "dict": {"a": A, "b": B}, "other keys": {"first": A, "second": B}}[structure]
    value, expected = taped_by_keras(model, x, keras_y)
    fresh = heads(structure, **compiled)
    gradients = tfdump.gradients(fresh, x, keras_y, batch_size=4)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)
    assert_gradients(tfdump.gradients(model, x, keras_y, batch_size=4).weights, expected)


def test_one_compiled_name_is_for_every_output() -> None:
    model, x = heads("list", loss="mse"), floats(6, 4)
    y = [A, floats(6, 3, seed=2)]
    value, expected = taped_by_keras(model, x, y)
    gradients = tfdump.gradients(model, x, y, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


@pytest.mark.parametrize(
    ("structure", "loss", "y"),
    [("list", [None, CROSS], [B]), ("dict", {"b": CROSS}, {"b": B}), ("dict", {"a": None, "b": CROSS}, {"b": B})],
)
def test_an_output_without_a_loss_needs_no_targets(structure: str, loss: Any, y: Any) -> None:
    model, x = heads(structure, loss=loss), floats(6, 4)
    weights = weights_by_address(model)
    cross = keras.losses.SparseCategoricalCrossentropy()

    def by_hand() -> Any:
        outputs = model(x)
        kernel = weights["hidden.kernel"].value
        return cross(B, outputs[1] if structure == "list" else outputs["b"]) + 0.01 * tf.reduce_sum(kernel**2)

    value, expected = taped(by_hand, weights)
    gradients = tfdump.gradients(model, x, y, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)
    assert gradients.weights["a.kernel"] is None


def test_a_single_output_with_a_loss_object_or_a_list_or_a_dict() -> None:
    x, y = floats(6, 4), floats(6, 3, seed=1)
    for loss, weights in (
        (keras.losses.Huber(0.2), None),
        ([SQUARED], None),
        ({"last": SQUARED}, None),
        (SQUARED, 0.5),
        ([SQUARED], [0.5]),
    ):
        model = tail("tanh")
        model.compile("sgd", loss, loss_weights=weights)
        value, expected = taped_by_keras(model, x, y)
        gradients = tfdump.gradients(model, x, y, batch_size=4)
        assert_near(gradients.loss, value)
        assert_gradients(gradients.weights, expected)


def test_targets_of_a_list_model_may_be_named_by_its_layers_as_in_fit() -> None:
    model, x = heads("list", loss={"a": SQUARED, "b": CROSS}), floats(6, 4)
    value, expected = taped_by_keras(model, x, {"a": A, "b": B})
    gradients = tfdump.gradients(model, x, {"b": B, "a": A}, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_losses_by_name_for_some_outputs() -> None:
    model, x = heads("dict"), floats(6, 4)
    squared = keras.losses.MeanSquaredError()
    value, expected = taped(lambda: squared(A, model(x)["a"]), weights_by_address(model))
    gradients = tfdump.gradients(model, x, A, loss=["a=mse"], batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)
    cross = keras.losses.SparseCategoricalCrossentropy()
    value, expected = taped(lambda: squared(A, (o := model(x))["a"]) + cross(B, o["b"]), weights_by_address(model))
    gradients = tfdump.gradients(model, x, {"b": B, "a": A}, loss=["b=sparse_categorical_crossentropy", "a=mse"])
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_losses_of_the_layers_alone() -> None:
    """A model compiled without a loss that adds its own, as autoencoders do."""

    class Rebuilds(layers.Layer):
        def call(self, inputs: Any) -> Any:
            x, y = inputs
            self.add_loss(ops.mean((x - y) ** 2))
            return y

    x = keras.Input((4,), name="x")
    model = keras.Model(x, Rebuilds(name="end")([x, layers.Dense(4, kernel_regularizer="l2", name="dense")(x)]))
    model.compile("sgd")
    value, expected = taped_by_keras(model, floats(6, 4), None)
    gradients = tfdump.gradients(model, floats(6, 4))
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


# --- objectives


def outputs_by_hand(model: keras.Model, x: Any) -> list[Any]:
    outputs = model(x)
    return [outputs["a"], outputs["b"]]


OBJECTIVES: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: tf.reduce_sum(a) + tf.reduce_sum(b),
    "mean": lambda a, b: tf.reduce_sum(tf.reduce_mean(a, axis=1)) + tf.reduce_sum(tf.reduce_mean(b, axis=1)),
    "max": lambda a, b: tf.reduce_sum(tf.reduce_max(a, axis=1)) + tf.reduce_sum(tf.reduce_max(b, axis=1)),
    "a": lambda a, b: tf.reduce_sum(a),
    "b[2]": lambda a, b: tf.reduce_sum(b[:, 2]),
    "b[-3]": lambda a, b: tf.reduce_sum(b[:, 0]),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_are_sums_over_the_examples(objective: str) -> None:
    model, x = heads("dict", last="tanh"), floats(6, 4)
    value, expected = taped(lambda: OBJECTIVES[objective](*outputs_by_hand(model, x)), weights_by_address(model))
    for batch_size in (4, 6):
        gradients = tfdump.gradients(model, x, objective=objective, wrt=("weights", "inputs"), batch_size=batch_size)
        assert_near(gradients.loss, value)
        assert_gradients(gradients.weights, expected)
    single = tfdump.gradients(model, x[:1], objective=objective, wrt="inputs")
    assert_near(single.inputs["x"], gradients.inputs["x"][:1])  # a saliency map does not shrink with the examples


@pytest.mark.parametrize(("objective", "index"), [("z[1,2]", (1, 2)), ("z[-1,-2]", (2, 2)), ("z[0]", (0,))])
def test_objectives_of_several_indices(objective: str, index: tuple[int, ...]) -> None:
    x = keras.Input((3, 2), name="x")
    dense = layers.Dense(4, activation="tanh", name="z")
    model, data = keras.Model(x, dense(x)), floats(5, 3, 2)
    value, expected = taped(lambda: tf.reduce_sum(model(data)[(slice(None), *index)]), weights_by_address(model))
    gradients = tfdump.gradients(model, data, objective=objective, batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_objective_with_reduction_mean_divides_by_the_examples() -> None:
    model, x = tail("tanh"), floats(6, 4)
    whole = tfdump.gradients(model, x, objective="sum", batch_size=4)
    mean = tfdump.gradients(model, x, objective="sum", reduction="mean", batch_size=4)
    assert_near(mean.loss, whole.loss / 6)
    assert_gradients(mean.weights, {address: gradient / 6 for address, gradient in whole.weights.items()})
