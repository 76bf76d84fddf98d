"""Gradients of weights, activations and inputs equal central differences of a forward pass written by hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.gradient_routes import Loss, Shifts, assert_finite_differences, in_float64, weights_by_address
from support.tiny_models import rng

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    yield from in_float64()


@dataclass(frozen=True)
class Split:
    """A model with data, and its loss by a forward pass by hand, cut where activations are to be shifted."""

    model: keras.Model
    x: Any
    y: Any
    loss: Loss
    weights: dict[str, Any]
    inputs: tuple[str, ...] = ("x",)
    training: bool = False


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal(shape)


def squared(y: Any, output: Any) -> Any:
    return tf.reduce_mean(tf.square(output - y))


def of_layers(model: keras.Model, forward: Callable[[Shifts, Any], Any], x: Any, y: Any, **options: Any) -> Split:
    """A model of one input `x`, whose forward pass is `forward`, and its mean squared error."""
    loss = lambda at: squared(y, forward(at, at("x", x)))  # noqa: E731
    return Split(model, x, y, loss, weights_by_address(model), **options)


def dropout_identity_and_residual() -> Split:
    """Layers that return their own input at inference, and a sum with an earlier tensor."""
    x = keras.Input((4,), name="x")
    first = layers.Dense(3, activation="tanh", name="first")
    last = layers.Dense(2, name="last")
    hidden = first(x)
    same = layers.Identity(name="same")(layers.Dropout(0.5, name="drop")(hidden))
    model = keras.Model(x, last(layers.Add(name="sum")([same, hidden])))

    def forward(at: Shifts, value: Any) -> Any:
        hidden = at("first", first(value))
        return at("last", last(at("sum", at("same", at("drop", hidden)) + hidden)))

    return of_layers(model, forward, normal(5, 4), normal(5, 2, seed=1))


def output_used_three_times() -> Split:
    """One tensor read by two layers and by an operation of the graph."""
    x = keras.Input((4,), name="x")
    shared, left, right = (layers.Dense(3, activation="tanh", name=name) for name in ("shared", "left", "right"))
    value = shared(x)
    product = left(value) * right(value)
    model = keras.Model(x, product + value)
    multiply, add = (op.name for op in model.operations if not isinstance(op, keras.Layer))

    def forward(at: Shifts, value: Any) -> Any:
        value = at("shared", shared(value))
        return at(add, at(multiply, at("left", left(value)) * at("right", right(value))) + value)

    return of_layers(model, forward, normal(5, 4), normal(5, 3, seed=1))


def submodel_called_twice() -> Split:
    """Two calls of a sub-model: different tensors, one weight with the sum of both."""
    inner = keras.Input((4,))
    dense, outer = layers.Dense(4, name="dense", activation="tanh"), layers.Dense(2, name="dense")
    encoder = keras.Model(inner, dense(inner), name="encoder")
    x = keras.Input((4,), name="x")
    model = keras.Model(x, outer(encoder(encoder(x))))

    def forward(at: Shifts, value: Any) -> Any:
        value = at("encoder", at("encoder.dense", dense(value)))
        return at("dense", outer(at("encoder@1", at("encoder@1.dense", dense(value)))))

    return of_layers(model, forward, normal(5, 4), normal(5, 2, seed=1))


def equal_names_in_two_submodels() -> Split:
    def block(name: str) -> tuple[keras.Model, Any]:
        inner, dense = keras.Input((3,)), layers.Dense(3, name="dense", activation="tanh")
        return keras.Model(inner, dense(inner), name=name), dense

    (left, one), (right, two) = block("left"), block("right")
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Subtract(name="difference")([left(x), right(x)]))

    def forward(at: Shifts, value: Any) -> Any:
        a = at("left", at("left.dense", one(value)))
        return at("difference", a - at("right", at("right.dense", two(value))))

    return of_layers(model, forward, normal(5, 3), normal(5, 3, seed=1))


def one_layer_called_three_times() -> Split:
    x = keras.Input((3,), name="x")
    shared = layers.Dense(3, name="shared", activation="tanh")
    model = keras.Model(x, shared(shared(shared(x))))

    def forward(at: Shifts, value: Any) -> Any:
        for address in ("shared", "shared@1", "shared@2"):
            value = at(address, shared(value))
        return value

    return of_layers(model, forward, normal(5, 3), normal(5, 3, seed=1))


def convolution() -> Split:
    x = keras.Input((5, 5, 2), name="x")
    conv, dense = layers.Conv2D(3, 2, activation="tanh", name="conv"), layers.Dense(2, name="dense")
    pool, flat = layers.AveragePooling2D(2, name="pool"), layers.Flatten(name="flat")
    model = keras.Model(x, dense(flat(pool(conv(x)))))

    def forward(at: Shifts, value: Any) -> Any:
        return at("dense", dense(at("flat", flat(at("pool", pool(at("conv", conv(value))))))))

    return of_layers(model, forward, normal(3, 5, 5, 2), normal(3, 2, seed=1))


def layer_normalization() -> Split:
    x = keras.Input((4,), name="x")
    norm, dense = layers.LayerNormalization(name="norm"), layers.Dense(3, name="dense")
    model = keras.Model(x, dense(norm(x)))
    return of_layers(model, lambda at, v: at("dense", dense(at("norm", norm(v)))), normal(5, 4), normal(5, 3, seed=1))


def batch_normalization(training: bool = False) -> Split:
    x = keras.Input((4,), name="x")
    first, norm, last = layers.Dense(3, name="first"), layers.BatchNormalization(name="norm"), layers.Dense(2, name="z")
    model = keras.Model(x, last(norm(first(x))))
    norm.set_weights([normal(3, seed=2), normal(3, seed=3), normal(3, seed=4), 1 + normal(3, seed=5) ** 2])

    def forward(at: Shifts, value: Any) -> Any:
        value = at("first", first(value))
        mean, variance = norm.moving_mean, norm.moving_variance
        if training:
            mean, variance = tf.reduce_mean(value, axis=0), tf.math.reduce_variance(value, axis=0)
        normed = (value - mean) / tf.sqrt(variance + norm.epsilon) * norm.gamma + norm.beta
        return at("z", last(at("norm", normed)))

    return of_layers(model, forward, normal(6, 4), normal(6, 2, seed=1), training=training)


def batch_normalization_in_training() -> Split:
    return batch_normalization(training=True)


def attention() -> Split:
    x = keras.Input((4, 3), name="x")
    mha, dense = layers.MultiHeadAttention(2, 3, name="mha"), layers.Dense(2, name="dense")
    model = keras.Model(x, dense(mha(x, x)))

    def forward(at: Shifts, value: Any) -> Any:
        return at("dense", dense(at("mha", mha(value, value))))

    split = of_layers(model, forward, normal(3, 4, 3), normal(3, 4, 2, seed=1))
    parts = ("query", "key", "value", "output")
    inner = {f"mha.{'attention_output' if p == 'output' else p}": getattr(mha, f"_{p}_dense") for p in parts}
    weights = {f"{path}.{v.name}": v for path, layer in inner.items() for v in layer.weights}
    return Split(model, split.x, split.y, split.loss, weights | {f"dense.{v.name}": v for v in dense.weights})


def masked_sequences(recurrent: Callable[[], Any]) -> Split:
    """Padded tokens: the mask goes through the recurrent layer and reaches the loss."""
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    embedding, rnn, dense = layers.Embedding(7, 3, mask_zero=True, name="e"), recurrent(), layers.Dense(2, name="d")
    model = keras.Model(tokens, dense(rnn(embedding(tokens))))
    x = np.array([[1, 2, 3, 0], [4, 5, 6, 1], [3, 3, 0, 0], [6, 0, 0, 0]], "int32")
    y, mask = normal(4, 4, 2), tf.constant(x != 0)

    def loss(at: Shifts) -> Any:
        value = at("d", dense(at(rnn.name, rnn(at("e", embedding(x)), mask=mask))))
        errors = tf.reduce_mean(tf.square(value - y), axis=-1)
        return tf.reduce_mean(tf.boolean_mask(errors, mask))

    return Split(model, x, y, loss, weights_by_address(model), inputs=())


def masked_lstm() -> Split:
    return masked_sequences(lambda: layers.LSTM(3, return_sequences=True, name="rnn"))


def masked_gru() -> Split:
    return masked_sequences(lambda: layers.GRU(3, return_sequences=True, name="rnn"))


def masked_bidirectional() -> Split:
    return masked_sequences(lambda: layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="rnn"))


def embedding_with_repeated_tokens() -> Split:
    """The gradient of a table is sparse, with rows that repeat inside and between batches."""
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    embedding, dense = layers.Embedding(6, 3, name="e"), layers.Dense(2, name="d")
    model = keras.Model(tokens, dense(embedding(tokens)))
    x, y = rng(1).integers(0, 4, (5, 4)).astype("int32"), normal(5, 4, 2)
    loss = lambda at: squared(y, at("d", dense(at("e", embedding(x)))))  # noqa: E731
    return Split(model, x, y, loss, weights_by_address(model), inputs=())


class Tied(keras.Model):
    """A dense layer whose kernel is the transpose of another's."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = layers.Dense(3, use_bias=False, name="encode")
        self.decode = Transposed(name="decode")

    def build(self, shape: Any) -> None:
        self.encode.build(shape)
        self.decode.kernel = self.encode.kernel
        self.decode.built = self.built = True

    def call(self, x: Any) -> Any:
        return self.decode(ops.tanh(self.encode(x)))


class Transposed(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.kernel))


def one_weight_held_by_two_layers() -> Split:
    model = Tied()
    model.build((None, 4))
    kernel = model.encode.kernel

    def forward(at: Shifts, value: Any) -> Any:
        hidden = at("encode", value @ kernel.value)
        return at("decode", tf.tanh(hidden) @ tf.transpose(kernel.value))

    split = of_layers(model, forward, normal(5, 4), normal(5, 4, seed=1))
    return Split(model, split.x, split.y, split.loss, {"encode.kernel": kernel})


CASES = (
    dropout_identity_and_residual,
    output_used_three_times,
    submodel_called_twice,
    equal_names_in_two_submodels,
    one_layer_called_three_times,
    convolution,
    layer_normalization,
    batch_normalization,
    batch_normalization_in_training,
    attention,
    masked_lstm,
    masked_gru,
    masked_bidirectional,
    embedding_with_repeated_tokens,
    one_weight_held_by_two_layers,
)


def assert_right(split: Split, **options: Any) -> None:
    wrt = ("weights", "activations", "inputs") if split.inputs else ("weights", "activations")
    x = {"x": split.x} if split.inputs and isinstance(split.model, keras.Model) else split.x
    gradients = tfdump.gradients(
        split.model, x, split.y, loss="mse", wrt=wrt, training=split.training, dtype="float64", **options
    )
    assert_finite_differences(split.loss, gradients, split.weights, split.inputs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_gradients_equal_finite_differences(case: Callable[[], Split]) -> None:
    split = case()
    assert_right(split, batch_size=len(split.x))


@pytest.mark.parametrize(
    "case",
    [submodel_called_twice, batch_normalization, masked_lstm, embedding_with_repeated_tokens],
    ids=lambda case: case.__name__,
)
def test_gradients_over_several_batches_equal_finite_differences(case: Callable[[], Split]) -> None:
    assert_right(case(), batch_size=2)
