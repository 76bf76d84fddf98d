"""Models that break easy designs, each with its activations worked out by hand: layers called one by one, eagerly.

Imported by tests, and by `tfdump --import tests/support/tiny_models.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

register = keras.saving.register_keras_serializable(package="tiny")
Expected = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model, its input (as `tfdump.activations` takes it), and the expected value of every address."""

    model: keras.Model
    x: Any
    expected: Expected


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal(shape).astype("float32")


def call(layer: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    return np.asarray(layer(*args, **kwargs))


# --- functional graphs


def functional_with_nodes(n: int = 9) -> Case:
    """A graph with operations that are not layers, and a layer called `output`."""
    x = keras.Input((6,), name="x")
    a = layers.Dense(6, activation="tanh", name="output")(x)
    b = a + x
    c = ops.relu(b)
    d = layers.Dense(3, name="last")(c)
    model = keras.Model(x, d)
    add, relu = [op.name for op in model.operations if not isinstance(op, keras.Layer)]
    data = floats(n, 6)
    (w1, b1), (w2, b2) = model.get_layer("output").get_weights(), model.get_layer("last").get_weights()
    dense = np.tanh(data @ w1 + b1)
    total = dense + data
    rectified = np.maximum(total, 0)
    return Case(model, data, {"output": dense, add: total, relu: rectified, "last": rectified @ w2 + b2})


def shared_layer(n: int = 9) -> Case:
    """One layer called three times in one graph."""
    x = keras.Input((5,))
    shared = layers.Dense(5, name="shared", activation="relu")
    model = keras.Model(x, shared(shared(shared(x))))
    data = floats(n, 5)
    first = call(shared, data)
    second = call(shared, first)
    return Case(model, data, {"shared": first, "shared@1": second, "shared@2": call(shared, second)})


def submodel_twice(n: int = 9) -> Case:
    """A sub-model called twice, whose inner name repeats outside."""
    inner_in = keras.Input((4,))
    inner_dense = layers.Dense(4, name="dense", activation="tanh")
    encoder = keras.Model(inner_in, inner_dense(inner_in), name="encoder")
    x = keras.Input((4,))
    outer_dense = layers.Dense(2, name="dense")
    model = keras.Model(x, outer_dense(encoder(encoder(x))))
    data = floats(n, 4)
    first = call(inner_dense, data)
    second = call(inner_dense, first)
    return Case(
        model,
        data,
        {
            "encoder.dense": first,
            "encoder": first,
            "encoder@1.dense": second,
            "encoder@1": second,
            "dense": call(outer_dense, second),
        },
    )


def awkward_names(n: int = 5) -> Case:
    """Names with the characters that addresses use for themselves."""
    x = keras.Input((3,))
    names = ["a.b", "c@1", "d:0", "e~f", "g%h", "i[0]"]
    encoded = ["a%2Eb", "c%401", "d%3A0", "e%7Ef", "g%25h", "i%5B0%5D"]
    chain = [layers.Dense(3, name=name) for name in names]
    y = x
    for layer in chain:
        y = layer(y)
    value = floats(n, 3)
    data, expected = value, {}
    for layer, address in zip(chain, encoded, strict=True):
        value = call(layer, value)
        expected[address] = value
    return Case(keras.Model(x, y), data, expected)


def many_outputs(n: int = 7) -> Case:
    """Layers with list and dict outputs; one dict key equals a reserved word, another is nested."""
    x = keras.Input((8,))
    splitter = Splitter(name="odd")
    y = splitter(x)
    model = keras.Model(x, {"b": {"c": y["logits"]}, "a": y["input"]})
    data = floats(n, 8)
    expected = {
        "odd:%69nput": data * 2,
        "odd:logits": data + 1,
        "odd:nested.0": data[:, :2],
        "odd:nested.1": data[:, 2:],
    }
    return Case(model, data, expected)


def recurrent(n: int = 6) -> Case:
    """A masked LSTM with states in a Bidirectional-free graph: the cell is not captured."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedding = layers.Embedding(11, 4, mask_zero=True, name="embedding")
    lstm = layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")
    embedded = embedding(tokens)
    whole, hidden, cell = lstm(embedded)
    model = keras.Model(tokens, [whole, hidden, cell])
    data = rng(1).integers(0, 11, (n, 5)).astype("int32")
    data[:, 0] = 1
    vectors = call(embedding, data)
    mask = data != 0
    parts = [np.asarray(part) for part in lstm(vectors, mask=tf.constant(mask))]
    expected = {"embedding": vectors, "lstm:0": parts[0], "lstm:1": parts[1], "lstm:2": parts[2]}
    not_layers = {op.name for op in model.operations if not isinstance(op, keras.Layer)}
    return Case(model, data, expected | dict.fromkeys(not_layers, mask))


def time_distributed(n: int = 4) -> Case:
    """TimeDistributed calls its layer's `.call` directly."""
    x = keras.Input((3, 4))
    dense = layers.Dense(2, name="inner")
    model = keras.Model(x, layers.TimeDistributed(dense, name="steps")(x))
    data = floats(n, 3, 4)
    kernel, bias = dense.get_weights()
    return Case(model, data, {"steps": data @ kernel + bias, "steps.inner": data @ kernel + bias})


def two_inputs(n: int = 6) -> Case:
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    shared = layers.Dense(4, name="shared")
    y = layers.Concatenate(name="both")([shared(left), shared(right)])
    x = {"left": floats(n, 3), "right": floats(n, 3, seed=1)}
    a, b = call(shared, x["left"]), call(shared, x["right"])
    return Case(keras.Model([left, right], y), x, {"shared": a, "shared@1": b, "both": np.concatenate([a, b], axis=1)})


# --- layers and models of our own


@register
class Splitter(keras.Layer):
    """Returns a dict with a reserved key and a nested tuple."""

    def call(self, x: Any) -> dict[str, Any]:
        return {"input": x * 2, "logits": x + 1, "nested": (x[:, :2], x[:, 2:])}


@register
class Block(keras.Layer):
    """Two layers of one name under one parent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = layers.Dense(4, name="h")
        self.second = layers.Dense(4, name="h")
        self.drop = layers.Dropout(0.5, name="drop")

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        self.second.build((*shape[:-1], 4))
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.drop(self.second(self.first(x)), training=training)


@register
class Nested(keras.Model):
    """A subclassed model: a block in a list called twice, a layer that is never called, a dict input."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = [Block(name="block")]
        self.never = layers.Dense(1, name="never")
        self.head = layers.Dense(2, name="head")

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        x = self.blocks[0](inputs["a"], training=training)
        x = self.blocks[0](x + inputs["b"], training=training)
        return self.head(x)


def nested(n: int = 8) -> Case:
    model = Nested()
    x = {"a": floats(n, 4), "b": floats(n, 4, seed=1)}
    model(x)
    block, expected, value = model.blocks[0], {}, x["a"]
    for prefix in ("block", "block@1"):
        first = call(block.first, value)
        second = call(block.second, first)
        expected |= {f"{prefix}.h": first, f"{prefix}.h~1": second, f"{prefix}.drop": second, prefix: second}
        value = second + x["b"]
    return Case(model, x, expected | {"head": call(model.head, second)})


@register
class Decorated(keras.Model):
    """A call that is itself a tf.function hides its layers from a trace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.one = layers.Dense(3, name="one")
        self.two = layers.Dense(2, name="two")

    @tf.function
    def call(self, x: Any) -> Any:
        return self.two(self.one(x))


def decorated(n: int = 5) -> Case:
    model, x = Decorated(), floats(n, 4)
    model(x)
    first = call(model.one, x)
    return Case(model, x, {"one": first, "two": call(model.two, first)})


@register
class Odd(keras.Layer):
    """Gives tensors whose first axis is not the example, one of them exactly as long as a batch of 4."""

    def __init__(self, absent: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.absent = absent

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(4, 3), initializer="glorot_uniform", name="table")

    def call(self, x: Any) -> dict[str, Any]:
        return {
            "similarity": ops.matmul(x, ops.transpose(x)),
            "table": self.table * 2.0,
            "mean": ops.mean(x),
            "heads": ops.reshape(x, (-1, 1)),
            "count": ops.sum(ops.ones_like(x[:, 0], dtype="int32")),
            "flag": x > 0,
            "nothing": x[:, :0],
            **({"absent": None} if self.absent else {}),
        }


@register
class OddModel(keras.Model):
    """Wraps Odd and returns what has a row an example."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.odd = Odd(absent=True, name="odd")

    def call(self, x: Any) -> Any:
        return self.odd(x)["flag"]


def odd_axes() -> OddModel:
    model = OddModel()
    model(floats(4, 3))
    return model


@register
class DataDependent(keras.Model):
    """Python control flow on values: cannot be traced."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.small = layers.Dense(3, name="small")
        self.large = layers.Dense(3, name="large")

    def call(self, x: Any) -> Any:
        y = self.small(x)
        return self.large(y) if float(ops.sum(ops.abs(y))) >= 0 else y


def data_dependent(n: int = 5) -> Case:
    model, x = DataDependent(), floats(n, 3)
    model(x)
    small = call(model.small, x)
    return Case(model, x, {"small": small, "large": call(model.large, small)})


@register
class Composite(keras.Model):
    """Gives ragged, sparse, complex, text and bfloat16 tensors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kinds = Kinds(name="kinds")

    def call(self, x: Any) -> Any:
        return self.kinds(x)["text"]


@register
class Kinds(keras.Layer):
    """See Composite."""

    def call(self, x: Any) -> dict[str, Any]:
        lengths = tf.cast(tf.reduce_sum(tf.cast(x > 0, tf.int64), axis=1), tf.int64)
        return {
            "ragged": tf.RaggedTensor.from_tensor(x, lengths=lengths),
            "sparse": tf.sparse.from_dense(tf.nn.relu(x)),
            "complex": tf.complex(x, -x),
            "text": tf.strings.as_string(tf.cast(x, tf.int32)),
            "bfloat16": tf.cast(x, tf.bfloat16),
            "half": tf.cast(x, tf.float16),
        }


@register
class TwoArguments(keras.Model):
    """Takes two positional arguments."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(3, name="dense")

    def call(self, query: Any, context: Any, training: bool | None = None) -> Any:
        return self.dense(query) + self.dense(context)


@register
class Looping(keras.Model):
    """Calls one layer inside a tf.while_loop and another outside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inside = layers.Dense(3, name="inside")
        self.outside = layers.Dense(3, name="outside")

    def call(self, x: Any) -> Any:
        self.inside.build(x.shape) if not self.inside.built else None
        (y,) = tf.while_loop(lambda v: True, lambda v: (self.inside(v),), (x,), maximum_iterations=3)
        return self.outside(y)


CASES: dict[str, Callable[..., Case]] = {
    function.__name__: function
    for function in (
        functional_with_nodes,
        shared_layer,
        submodel_twice,
        awkward_names,
        many_outputs,
        recurrent,
        time_distributed,
        two_inputs,
        nested,
        decorated,
    )
}
