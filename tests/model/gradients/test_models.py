"""Models of every form: what has a gradient, under which address, and what has none."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support import tiny_models
from support.gradient_routes import assert_gradients, assert_near, in_float64, taped, weights_by_address
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


def test_subclassed_model_with_a_dict_of_inputs() -> None:
    """A block called twice, two layers of one name in it, and one layer that is never called."""
    case = tiny_models.nested()
    y = floats(8, 2, seed=3)
    block, model = case.model.blocks[0], case.model
    variables = {
        f"{name}.{variable.name}": variable
        for name, layer in {"block.h": block.first, "block.h~1": block.second, "head": model.head}.items()
        for variable in layer.trainable_variables
    }
    inputs = {name: tf.constant(value) for name, value in case.x.items()}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        loss = tf.reduce_mean(tf.square(model(inputs) - y))
    expected = tape.gradient(loss, [variable.value for variable in variables.values()])
    for batch_size in (3, 8):
        gradients = tfdump.gradients(model, case.x, y, loss="mse", wrt=("weights", "inputs"), batch_size=batch_size)
        reached = {address: gradient for address, gradient in gradients.weights.items() if gradient is not None}
        assert_near(gradients.loss, loss)
        assert_gradients(reached, dict(zip(variables, expected, strict=True)))
        assert all("never" in address for address in gradients.weights.keys() - reached.keys())
        assert_gradients(gradients.inputs, {name: tape.gradient(loss, tensor) for name, tensor in inputs.items()})


def test_two_inputs_of_a_functional_model() -> None:
    case = tiny_models.two_inputs()
    y = floats(6, 8, seed=4)
    inputs = {name: tf.constant(value) for name, value in case.x.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_mean(tf.square(case.model([inputs["left"], inputs["right"]]) - y))
    gradients = tfdump.gradients(case.model, case.x, y, loss="mse", wrt="inputs", batch_size=4)
    assert_gradients(gradients.inputs, tape.gradient(loss, inputs))


def test_two_positional_arguments() -> None:
    model, x, y = tiny_models.TwoArguments(), (floats(5, 4), floats(5, 4, seed=1)), floats(5, 3, seed=2)
    model(*x)
    value, expected = taped(lambda: tf.reduce_mean(tf.square(model(*x) - y)), weights_by_address(model))
    gradients = tfdump.gradients(model, x, y, loss="mse", batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


@pytest.mark.parametrize("structure", ["list", "tuple", "dict", "nested"])
def test_subclassed_outputs_of_every_structure(structure: str) -> None:
    class Heads(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = layers.Dense(2, name="left"), layers.Dense(3, name="right")

        def call(self, x: Any) -> Any:
            a, b = self.left(x), self.right(x)
            forms = {"list": [a, b], "tuple": (a, b), "dict": {"a": a, "b": b}, "nested": {"deep": [a, b]}}
            return forms[structure]

    keras.utils.set_random_seed(1)
    model, x = Heads(), floats(5, 4)
    model(x)
    a, b = floats(5, 2, seed=1), floats(5, 3, seed=2)

    def loss() -> Any:
        one, two = keras.tree.flatten(model(x))
        return tf.reduce_mean(tf.square(one - a)) + tf.reduce_mean(tf.square(two - b))

    value, expected = taped(loss, weights_by_address(model))
    names = {"dict": ("a", "b"), "nested": ("deep.0", "deep.1")}.get(structure, ("0", "1"))
    gradients = tfdump.gradients(model, x, dict(zip(names, (a, b), strict=True)), loss="mse", batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_decorated_call_shows_its_layers() -> None:
    case, y = tiny_models.decorated(), floats(5, 2, seed=1)
    one, two = case.model.one, case.model.two
    value, expected = taped(lambda: tf.reduce_mean(tf.square(two(one(case.x)) - y)), weights_by_address(case.model))
    gradients = tfdump.gradients(case.model, case.x, y, loss="mse", wrt=("weights", "activations"))
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)
    assert set(gradients.activations) == {"one", "two"}


def test_time_distributed_layer() -> None:
    case, y = tiny_models.time_distributed(), floats(4, 3, 2, seed=1)
    weights = {f"steps.inner.{v.name}": v for v in case.model.trainable_variables}
    value, expected = taped(lambda: tf.reduce_mean(tf.square(case.model(case.x) - y)), weights)
    gradients = tfdump.gradients(case.model, case.x, y, loss="mse", batch_size=3)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_frozen_layers_and_statistics_are_not_there() -> None:
    x = keras.Input((4,), name="x")
    frozen = layers.Dense(3, trainable=False, name="frozen")
    norm = layers.BatchNormalization(name="norm")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="deep")], name="inner")
    inner.trainable = False
    model = keras.Model(x, layers.Dense(2, name="last")(inner(norm(frozen(x)))))
    gradients = tfdump.gradients(model, floats(5, 4), floats(5, 2), loss="mse", wrt=("weights", "activations"))
    assert set(gradients.weights) == {"norm.gamma", "norm.beta", "last.kernel", "last.bias"}
    assert gradients.activations["frozen"].any()  # what is frozen still passes gradients on


def test_what_the_loss_does_not_reach_is_none() -> None:
    x = keras.Input((4,), name="x")
    a, b = layers.Dense(2, name="a"), layers.Dense(2, name="b")
    stopped = layers.Lambda(tf.stop_gradient, name="stopped")
    model = keras.Model(x, {"a": a(x), "b": b(stopped(layers.Dense(3, name="behind")(x)))})
    with pytest.warns(tfdump.TfdumpWarning, match="not connected"):
        gradients = tfdump.gradients(model, floats(5, 4), floats(5, 2), loss=["a=mse"], wrt=("weights", "activations"))
    assert [address for address, gradient in gradients.weights.items() if gradient is None] == [
        "behind.kernel", "behind.bias", "b.kernel", "b.bias"
    ]  # fmt: skip
    assert gradients.weights["a.kernel"].any()
    both = tfdump.gradients(model, floats(5, 4), {"a": floats(5, 2), "b": floats(5, 2)}, loss="mse")
    assert [address for address, gradient in both.weights.items() if gradient is None] == [
        "behind.kernel", "behind.bias"
    ]  # fmt: skip


def test_integer_inputs_have_no_gradient_and_the_others_have() -> None:
    tokens, extra = keras.Input((3,), dtype="int32", name="tokens"), keras.Input((2,), name="extra")
    flat = layers.Flatten()(layers.Embedding(5, 2, name="table")(tokens))
    model = keras.Model([tokens, extra], layers.Dense(1, name="last")(layers.Concatenate()([flat, extra])))
    x = {"tokens": np.array([[1, 2, 3], [0, 4, 4]], "int32"), "extra": floats(2, 2)}
    with pytest.warns(tfdump.TfdumpWarning, match="tokens .*int32"):
        gradients = tfdump.gradients(model, x, objective="sum", wrt="inputs")
    assert set(gradients.inputs) == {"extra"}
    kernel = model.get_layer("last").kernel.numpy()
    np.testing.assert_allclose(gradients.inputs["extra"], np.tile(kernel[6:, 0], (2, 1)), rtol=1e-6)
    only = keras.Model(tokens, flat)
    with pytest.raises(tfdump.TfdumpError, match="int32"):
        tfdump.gradients(only, x["tokens"], objective="sum", wrt="inputs")


def test_one_variable_held_by_two_layers_has_the_sum() -> None:
    """An embedding whose table is the kernel of the output layer: its sparse and dense gradients add up."""

    class Language(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = layers.Embedding(6, 3, name="table")
            self.unembed = Unembed(self.table, name="unembed")

        def call(self, tokens: Any) -> Any:
            return self.unembed(self.table(tokens))

    class Unembed(layers.Layer):
        def __init__(self, table: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.table = table

        def call(self, x: Any) -> Any:
            return ops.matmul(x, ops.transpose(self.table.embeddings))

    model, x = Language(), np.array([[1, 2, 1], [3, 5, 0], [4, 4, 4]], "int32")
    model(x)
    y = (x + 1) % 6
    cross = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    value, expected = taped(lambda: cross(y, model(x)), {"table.embeddings": model.table.embeddings})
    for options in ({}, {"batch_size": 1}, {"batch_size": 2, "sparse": True}):
        gradients = tfdump.gradients(model, x, y, loss="sparse_categorical_crossentropy", from_logits=True, **options)
        assert_near(gradients.loss, value)
        gradient = gradients["table.embeddings"]
        if not isinstance(gradient, np.ndarray):
            rows, gradient = gradient, np.zeros(gradient.dense_shape)
            np.add.at(gradient, rows.indices[:, 0], rows.values)
        assert_near(gradient, expected["table.embeddings"])
        assert set(gradients.weights) == {"table.embeddings"}


def test_float64_models_keep_their_precision() -> None:
    for _ in in_float64():
        x = keras.Input((4,), name="x")
        model = keras.Model(x, layers.Dense(2, activation="tanh", name="last")(x))
        data = tiny_models.rng(0).standard_normal((7, 4))
        y, weights = tiny_models.rng(1).standard_normal((7, 2)), tiny_models.rng(2).uniform(0, 1, 7)
        kernel, bias = model.get_weights()
        output = np.tanh(data @ kernel + bias)
        back = 2 * (output - y) * weights[:, None] / 14 * (1 - output**2)
        for batch_size in (3, 7):
            gradients = tfdump.gradients(model, data, y, loss="mse", sample_weight=weights, batch_size=batch_size)
            assert_near(gradients.loss, np.sum(weights[:, None] * (output - y) ** 2) / 14, 1e-13)
            assert_gradients(gradients.weights, {"last.kernel": data.T @ back, "last.bias": back.sum(0)}, 1e-13)


def test_float64_data_keeps_its_precision_in_a_subclassed_float64_model() -> None:
    """Such a model declares no dtype of its input; what it computes in is known all the same."""

    class Plain(keras.Model):
        def __init__(self) -> None:
            super().__init__(dtype="float64")
            self.last = layers.Dense(2, dtype="float64", name="last")

        def call(self, x: Any) -> Any:
            return self.last(x)

    model, data = Plain(), tiny_models.rng(0).standard_normal((5, 4))
    model(data)
    gradients = tfdump.gradients(model, data, objective="sum")
    assert_near(gradients.weights["last.kernel"], np.repeat(data.sum(0)[:, None], 2, axis=1), 1e-12)


def test_weights_of_the_model_itself_and_scalars() -> None:
    class Scaled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
            self.dense = layers.Dense(2, name="dense")

        def call(self, x: Any) -> Any:
            return self.scale * self.dense(x)

    model, x = Scaled(), floats(5, 3)
    model(x)
    weights = {"scale": model.scale} | {f"dense.{v.name}": v for v in model.dense.trainable_variables}
    value, expected = taped(lambda: tf.reduce_sum(model(x)), weights)
    gradients = tfdump.gradients(model, x, objective="sum", batch_size=2)
    assert_near(gradients.loss, value)
    assert_gradients(gradients.weights, expected)


def test_a_saved_model_gives_the_numbers_of_the_one_in_memory(tmp_path: Any) -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, activation="tanh", kernel_regularizer="l2", name="hidden")(x)
    model = keras.Model(x, {"b": layers.Dense(2, name="b")(hidden), "a": layers.Dense(1, name="a")(hidden)})
    model.compile(
        "sgd", {"a": "mae", "b": keras.losses.MeanSquaredError(reduction="sum")}, loss_weights={"a": 0.5, "b": 2.0}
    )
    model.save(tmp_path / "model.keras")
    y = {"a": floats(5, 1), "b": floats(5, 2)}
    memory = tfdump.gradients(model, floats(5, 4), y)
    file = tfdump.gradients(tmp_path / "model.keras", floats(5, 4), y, batch_size=2)
    assert_near(file.loss, memory.loss)
    assert_gradients(file.weights, memory.weights)
