"""Small Keras models of every kind, for what their layers read in other formats."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Input, Model, layers, ops


def dense(name: str, units: int = 4, **options: Any) -> layers.Dense:
    return layers.Dense(units, name=name, **options)


class Block(layers.Layer):
    """A residual block whose own output is that of its last layer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.a, self.b, self.act = dense("a", activation="tanh"), dense("b"), layers.ReLU(name="act")

    def call(self, x: Any) -> Any:
        return self.act(self.b(self.a(x)) * 0.5 + x)


class Watched(layers.Layer):
    """A layer that reads the output of the layer in it, which is also its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.a, self.aside = dense("a", activation="tanh"), dense("aside")

    def call(self, x: Any) -> Any:
        y = self.a(x)
        self.add_loss(ops.mean(self.aside(y) ** 2))
        return y


class Pair(layers.Layer):
    """Several inputs and outputs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.p = dense("p")

    def call(self, x: Any, y: Any) -> Any:
        z = self.p(x)
        return {"left": z * y, "right": z + y}


class Gate(layers.Layer):
    """Inputs by keyword, and a composite that others inside read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner, self.aside, self.last = Block(name="inner"), dense("aside"), dense("last")

    def call(self, x: Any, y: Any = None, scale: Any = None) -> Any:
        return self.last(self.aside(self.inner(x)) * ops.cast(y, "float32")) + 0.1 * scale


class Residual(keras.Model):
    """Plain Python between layers."""

    def __init__(self) -> None:
        super().__init__(name="residual")
        self.first, self.second, self.last = dense("first", 3), dense("second", 3), dense("last", 2)
        self.norm = layers.LayerNormalization(name="norm")
        self.scale = self.add_weight((3,), name="scale")

    def call(self, x: Any) -> Any:
        y = self.first(x)
        z = self.norm(x[:, :3] + tf.nn.relu(y) * self.scale)
        return self.last(tf.concat([self.second(z), y - z], 1))


class Branches(keras.Model):
    """A branch of the graph, an operation with two outputs, and what follows from shapes alone."""

    def __init__(self) -> None:
        super().__init__(name="branches")
        self.a, self.b, self.out = dense("a"), dense("b"), dense("out", 2)

    def call(self, x: Any) -> Any:
        y = self.a(x)
        z = ops.cond(ops.sum(y) > 0, lambda: y * 2.0, lambda: x - 1.0)
        left, right = tf.split(self.b(z), 2, axis=1)
        return self.out(tf.concat([right, left], 1)), y * tf.zeros_like(z)


class Repeated(keras.Model):
    """A loop that reads two tensors from outside."""

    def __init__(self) -> None:
        super().__init__(name="repeated")
        self.a, self.out = dense("a"), dense("out", 2)

    def call(self, x: Any) -> Any:
        y = self.a(x)
        return self.out(tf.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, z * 2.0 + x), [0, y])[1])


def called(model: keras.Model, *shape: int) -> keras.Model:
    """A subclassed model after a first call."""
    model(np.ones(shape, "float32"))
    return model


def two_inputs() -> Model:
    a, b = Input((4,), name="a"), Input((4,), name="b")
    both = dense("both_ways")
    first, second = both(a), both(b)
    joined = layers.Concatenate(name="joined")([second, first])
    return Model([a, b], [layers.Add(name="total")([dense("d")(joined), ops.relu(first), first]), dense("o")(second)])


def nested_twice() -> Model:
    parts = [Input((4,)), dense("one", activation="relu"), layers.Dropout(0.5, name="drop"), dense("two")]
    encoder, x = keras.Sequential(parts, name="encoder"), Input((4,), name="x")
    return Model(x, layers.Subtract(name="sub")([encoder(encoder(x)), x]))


def blocks() -> Model:
    x = Input((4,), name="x")
    return Model(x, dense("out")(Block(name="second")(Block(name="first")(x))))


def watched() -> Model:
    x = Input((4,), name="x")
    return Model(x, dense("out")(Watched(name="watched")(x)))


def gate() -> Model:
    x, y, scale = Input((4,), name="x"), Input((4,), name="y", dtype="int32"), Input((4,), name="scale")
    return Model([x, y, scale], dense("out")(Gate(name="gate")(x, y=y, scale=scale)))


def pair() -> Model:
    x = Input((4,), name="x")
    both = Pair(name="pair")(dense("before")(x), x)
    return Model(x, dense("out")(layers.Add(name="sum")([both["left"], both["right"]])))


def recurrent() -> Model:
    x = Input(batch_shape=(1, 5, 4), name="x")
    first = layers.LSTM(4, return_sequences=True, name="first")(x)
    y, *states = layers.LSTM(3, return_state=True, name="states")(first)
    last = layers.LSTM(3, name="last")(layers.RepeatVector(4, name="repeated")(y), initial_state=states)
    return Model(x, dense("out")(layers.Concatenate(name="all")([last, layers.GRU(2, name="gru")(first)])))


def bidirectional() -> Model:
    x = Input(batch_shape=(1, 5, 4), name="x")
    return Model(x, dense("out")(layers.Bidirectional(layers.GRU(3, name="g"), name="both")(x)))


def attention() -> Model:
    x, y = Input((5, 4), name="x"), Input((6, 4), name="y")
    query = dense("query")(x)
    attended = layers.MultiHeadAttention(2, 3, name="mha")(query, y)
    return Model([x, y], dense("out")(layers.LayerNormalization(name="norm")(attended + query)))


def masked() -> Model:
    tokens = Input(batch_shape=(1, 6), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 4, mask_zero=True, name="emb")(tokens)
    return Model(tokens, dense("out")(layers.GRU(3, name="gru")(embedded)))


def image() -> Model:
    x = Input((8, 8, 3), name="x")
    before = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv", padding="same")(x))
    acted = layers.ReLU(name="relu")(before)
    squeezed = layers.Conv2D(4, 1, activation="sigmoid", name="squeezed")(
        layers.GlobalAveragePooling2D(name="mean", keepdims=True)(acted)
    )
    total = layers.Add(name="total")([layers.Multiply(name="excited")([acted, squeezed]), before])
    return Model(x, dense("out")(layers.Flatten(name="flat")(layers.MaxPooling2D(name="pool")(total))))


def steps() -> Model:
    x = Input(batch_shape=(1, 5, 4), name="x")
    attended = layers.Attention(name="attention")([x, dense("keys")(x)])
    return Model(x, layers.TimeDistributed(dense("inner", 2), name="each")(attended))


def positions() -> Model:
    x = Input((6,), dtype="int32", name="x")
    table = layers.Embedding(6, 4, name="table")(ops.arange(6))
    return Model(x, dense("out")(layers.Embedding(9, 4, name="emb")(x) + table))


FUNCTIONAL = (
    two_inputs, nested_twice, blocks, watched, gate, pair, recurrent, bidirectional, attention, masked, image, steps,
    positions,
)  # fmt: skip
