"""Which graphs are vectorized: those known to be safe, and they agree with a loop; the others get a reason."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.tiny_models import floats, rng
from tfdump.model.gradients import per_example
from tfdump.model.gradients.vectorization import obstacle

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


def chain(shape: tuple[int, ...], *stack: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *stack, layers.Flatten(), layers.Dense(3)])


def dense() -> keras.Model:
    return chain((6,), layers.Dense(5, activation="gelu"), layers.Dense(4, activation="softplus"))


def convolutions() -> keras.Model:
    return chain(
        (8, 8, 2),
        layers.Conv2D(3, 3, activation="relu", padding="same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(4, 2, strides=1, activation="elu"),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="elu"),
        layers.Conv2D(2, 2, dilation_rate=2, padding="same"),
        layers.AveragePooling2D(2),
    )


def sequence() -> keras.Model:
    return chain((9, 3), layers.Conv1D(4, 3, activation="tanh"), layers.LayerNormalization(), layers.MaxPooling1D())


def residual() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    shared = layers.Dense(6, activation="tanh")
    return keras.Model(x, layers.Dense(3)(shared(shared(x)) + x))


def open_length() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 3))
    conv = layers.Conv1D(4, 3, padding="same", activation="relu")(x)
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(conv)))


def dot_attention() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((5, 6))
    attended = layers.Attention()([layers.Dense(6)(x), layers.Dense(6)(x)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(attended)))


@keras.saving.register_keras_serializable(package="vectorizing")
class FilterOfTheExample(layers.Layer):
    """A convolution whose filter is the mean of its input."""

    def call(self, x: Any) -> Any:
        means = tf.reduce_mean(x, axis=(0, 1, 2))
        return tf.nn.conv2d(x, tf.reshape(means, (1, 1, 2, 1)) * tf.ones((2, 2, 2, 3)), 1, "SAME")


@keras.saving.register_keras_serializable(package="vectorizing")
class PaddingOfTheExample(layers.Layer):
    """A sum over the input, padded by an amount that the input decides."""

    def call(self, x: Any) -> Any:
        amount = tf.cast(tf.abs(x[0, 0]), "int32")
        return x * tf.reduce_sum(tf.pad(x, [[0, 0], [0, amount]]), axis=1, keepdims=True)


def filter_of_the_example() -> keras.Model:
    return chain((4, 4, 2), layers.Conv2D(2, 1), FilterOfTheExample())


def padding_of_the_example() -> keras.Model:
    return chain((4,), layers.Dense(4), PaddingOfTheExample())


def broadcast_add() -> keras.Model:
    """Keras adds a column as a bias with the channels first."""
    keras.utils.set_random_seed(1)
    x = keras.Input((4, 3))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Dense(3)(x) + layers.Dense(1)(x))))


def dropout_in_training() -> keras.Model:
    return chain((6,), layers.Dense(5), layers.Dropout(0.5))


def attention() -> keras.Model:
    x = keras.Input((4, 6))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.MultiHeadAttention(2, 3)(x, x))))


def masked_lstm() -> keras.Model:
    x = keras.Input((5, 3))
    return keras.Model(x, layers.Dense(3)(layers.LSTM(4)(layers.Masking()(x))))


def einsum() -> keras.Model:
    return chain((5, 6), layers.EinsumDense("abc,cd->abd", (5, 4)))


def half() -> keras.Model:
    return chain((6,), layers.Dense(5, dtype="mixed_float16"))


def losses(model: keras.Model, x: np.ndarray, training: bool, note: Callable[[str | None], None]) -> dict[str, Any]:
    """Per-example gradients; `note` is called with the obstacle that was found."""

    def watched(graph: Any) -> str | None:
        reason = obstacle(graph)
        note(reason)
        return reason

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_example, "obstacle", watched)
        y = rng(2).integers(0, 3, len(x))
        return dict(
            tfdump.gradients(
                model,
                x,
                y,
                loss="sparse_categorical_crossentropy",
                from_logits=True,
                per_example=True,
                training=training,
                wrt=("weights", "activations", "inputs"),
            )
        )


@pytest.mark.parametrize(
    "build", [dense, convolutions, sequence, residual, open_length, dot_attention], ids=lambda build: build.__name__
)
@pytest.mark.parametrize("examples", [1, 2, 7, 65])
def test_what_is_vectorized_agrees_with_a_loop(build: Callable[[], keras.Model], examples: int) -> None:
    model = build()
    x = floats(examples, *(size or 5 for size in model.input_shape[1:]))
    obstacles: list[str | None] = []
    values = losses(model, x, training=False, note=obstacles.append)
    assert obstacles == [None]
    y = rng(2).integers(0, 3, examples)
    variables = model.trainable_variables

    def gradients(x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
        return tape.gradient(loss, variables)

    of_one = tf.function(gradients) if examples > 7 else gradients  # traced once for many rows
    for row in range(examples):
        expected = of_one(tf.constant(x[row : row + 1]), tf.constant(y[row : row + 1]))
        got = [value[row] for value in list(values.values())[: len(variables)]]
        for actual, wanted in zip(got, expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=2e-5 * max(1e-3, np.abs(wanted).max()))


@pytest.mark.parametrize(
    ("build", "training", "named"),
    [
        (dropout_in_training, True, "is not known to be safe"),
        (attention, False, "is not known to be safe"),
        (masked_lstm, False, "is not known to be safe"),
        (einsum, False, "BatchMatMulV2"),
        (half, False, "float16"),
        (filter_of_the_example, False, "Conv2D"),
        (padding_of_the_example, False, "Pad"),
        (broadcast_add, False, "BiasAdd"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_known_to_be_safe_is_mapped_in_a_loop(
    build: Callable[[], keras.Model], training: bool, named: str
) -> None:
    model = build()
    obstacles: list[str | None] = []
    values = losses(model, floats(3, *model.input_shape[1:]), training, obstacles.append)
    assert obstacles[0] is not None
    assert named in obstacles[0]
    assert all(len(value) == 3 for value in values.values())
