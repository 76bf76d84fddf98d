"""Which inputs of a Keras model are ids, and below which number."""

from typing import Any

import keras
import pytest
from keras import layers, ops

from tfdump.model.keras_signature import signature_of


def ids(model: keras.Model) -> dict[str, int | None]:
    """The vocabulary of every input."""
    return {spec.name: spec.vocabulary for spec in signature_of(model, []).specs}


def test_an_embedding_that_reads_the_input() -> None:
    tokens, image = keras.Input((5,), dtype="int32", name="tokens"), keras.Input((4,), name="image")
    model = keras.Model([tokens, image], [layers.Embedding(30, 2)(tokens), layers.Dense(2)(image)])
    assert ids(model) == {"tokens": 30, "image": None}


def test_the_smallest_of_two_counts() -> None:
    tokens = keras.Input((5,), name="tokens")  # float32, as Keras makes it by default
    model = keras.Model(tokens, layers.Embedding(30, 2)(tokens) + layers.Embedding(20, 2)(tokens))
    assert ids(model) == {"tokens": 20}


def test_a_sequential_model_inside_a_sequential_model() -> None:
    inner = keras.Sequential([keras.Input((5,)), layers.Embedding(12, 2), layers.Flatten()])
    assert ids(keras.Sequential([keras.Input((5,), name="tokens"), inner, layers.Dense(1)])) == {"tokens": 12}


def test_a_model_inside_a_model_with_its_inputs_in_another_order() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    inner = keras.Model([a, b], [layers.Embedding(7, 2)(a), layers.Embedding(9, 2)(b)])
    x, y = keras.Input((3,), name="x"), keras.Input((3,), name="y")
    assert ids(keras.Model([x, y], inner([y, x]))) == {"x": 9, "y": 7}


@pytest.mark.parametrize(
    "on_the_way",
    [
        layers.Reshape((5, 1)),
        lambda x: ops.cast(x, "int64"),
        lambda x: x[:, :3],
        lambda x: ops.expand_dims(layers.Masking()(ops.expand_dims(x, -1)), 1),
    ],
)
def test_what_keeps_the_numbers_is_followed(on_the_way: Any) -> None:
    x = keras.Input((5,), name="x")
    assert ids(keras.Model(x, layers.Embedding(11, 2)(on_the_way(x)))) == {"x": 11}


def test_what_changes_the_numbers_is_not_followed() -> None:
    x = keras.Input((5,), name="x")
    assert ids(keras.Model(x, layers.Embedding(11, 2)(ops.abs(x) * 0))) == {"x": None}


def test_other_layers_that_take_ids() -> None:
    x, y = keras.Input((5,), dtype="int32", name="x"), keras.Input((5,), dtype="int32", name="y")
    outputs = [layers.CategoryEncoding(6)(x), ops.one_hot(y, 8)]
    assert ids(keras.Model([x, y], outputs)) == {"x": 6, "y": 8}


@keras.saving.register_keras_serializable()
class TokensAndPositions(layers.Layer):
    """A layer with a table for positions, which is smaller than the one for tokens."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tokens, self.positions = layers.Embedding(40, 2), layers.Embedding(25, 2)

    def call(self, x: Any) -> Any:
        return self.tokens(x) + self.positions(ops.arange(ops.shape(x)[1]))


def test_of_a_layer_without_a_graph_the_smallest_embedding_counts() -> None:
    x, image = keras.Input((5,), name="x"), keras.Input((5, 5, 1), name="image")
    both = keras.Model([x, image], [TokensAndPositions()(x), TokensAndPositions()(layers.Flatten()(image))])
    assert ids(both) == {"x": 25, "image": 25}
    model = keras.Model(image, PatchEncoder()(image))
    assert ids(model) == {"image": None}


class PatchEncoder(layers.Layer):
    """A layer on images that has an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = layers.Embedding(25, 1)

    def call(self, x: Any) -> Any:
        return ops.reshape(x, (-1, 25, 1)) + self.positions(ops.arange(25))


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = layers.Embedding(14, 2)

    def call(self, x: Any) -> Any:
        return self.embedding(x)


def test_a_subclassed_model() -> None:
    model = Subclassed()
    model.build((None, 6))
    assert ids(model) == {"x": 14}
