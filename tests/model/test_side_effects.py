"""Which graphs may run twice at once, and that those that do give what they give one after the other."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from tfdump.address import Selection
from tfdump.inputs.arguments import Given
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions
from tfdump.model.probe import Request
from tfdump.model.running import open_source, probe_source
from tfdump.model.side_effects import has_side_effects
from tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

COUNT = tf.Variable(0.0)
TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), [10.0, 20.0]), -1.0
)
CHANGING = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, -1.0)


def inside(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function in the body of a loop, behind a call of a graph of its own."""
    called = tf.function(function, autograph=False)
    return lambda x: tf.while_loop(lambda n, _: n < 2, lambda n, y: (n + 1, called(y)), (0, x))[1]


def counted(x: tf.Tensor) -> tf.Tensor:
    COUNT.assign_add(1.0)
    return x + COUNT


def printed(x: tf.Tensor) -> tf.Tensor:
    tf.print(tf.reduce_sum(x), output_stream="file:///dev/null")
    return x


def inserted(x: tf.Tensor) -> tf.Tensor:
    CHANGING.insert(tf.cast(x, tf.int64), x)
    return x


def asserted(x: tf.Tensor) -> tf.Tensor:
    tf.debugging.Assert(tf.reduce_all(x < 1e9), [x])
    return x


HARMLESS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "computes": tf.nn.relu,
    "reads a variable": lambda x: x * COUNT,
    "looks up": lambda x: TABLE.lookup(tf.cast(x, tf.int64)),
    "asserts": asserted,
    "draws the same each time": lambda x: x + tf.random.stateless_uniform(tf.shape(x), (1, 2)),
}

ACTING: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "assigns": counted,
    "draws": lambda x: x + tf.random.uniform(tf.shape(x)),
    "calls Python": lambda x: tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), [None]),
    "prints": printed,
    "inserts": inserted,
}


def graph_of(function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Graph:
    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((None,), tf.float32))
    return traced.graph


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_computes_and_reads_has_none(name: str, nested: bool) -> None:
    function = HARMLESS[name]
    assert not has_side_effects(graph_of(inside(function) if nested else function))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ACTING)
def test_what_changes_anything_has_one(name: str, nested: bool) -> None:
    function = ACTING[name]
    assert has_side_effects(graph_of(inside(function) if nested else function))


def independent(model: keras.Model, data: np.ndarray, **how: bool) -> bool:
    signature, source = open_source(model, [Given(None, ArrayReader(data, "x"))], ReadingOptions(), print)
    with probe_source(model, signature, source, Request(Selection(), **how), print) as probe:
        return probe.independent


def test_a_model_is_independent_where_it_has_a_graph_and_neither_learns_nor_draws() -> None:
    chain = [keras.Input((8, 3)), layers.LSTM(4), layers.BatchNormalization(), layers.Dropout(0.5)]
    model = keras.Sequential(chain)
    data = floats(4, 8, 3)
    assert independent(model, data)
    assert not independent(model, data, training=True)
    assert not independent(model, data, eager=True)
    stateful = keras.Sequential([keras.Input(batch_shape=(2, 8, 3)), layers.LSTM(4, stateful=True)])
    assert not independent(stateful, data)


def test_many_batches_at_once_give_the_bits_of_one_after_the_other() -> None:
    x = inputs = keras.Input((16, 16, 3))
    for number in range(4):
        x = layers.Conv2D(16, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    model = keras.Model(inputs, layers.Dense(5, name="dense")(layers.Flatten(name="flat")(x)))
    data = floats(202, 16, 16, 3)
    assert independent(model, data)
    got = tfdump.activations(model, data, batch_size=4)
    names = ("remapping", "arithmetic_optimization", "constant_folding")
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(dict.fromkeys(names, False))
    try:
        part = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
        forward = tf.function(lambda batch: part(batch, training=False), reduce_retracing=True)
        expected = [[v.numpy() for v in forward(tf.constant(data[n : n + 4]))] for n in range(0, len(data), 4)]
    finally:
        tf.config.optimizer.set_experimental_options(before)
    for layer, values in zip(model.layers[1:], zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(got[layer.name], np.concatenate(values), err_msg=layer.name)
