"""The automatic batch size counts the tensors that live at once, also where no graph shows them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfdump.address import Selection
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions
from tfdump.model.request import Request
from tfdump.model.runnable import open_source, probe_source
from tfdump.model.tracing.traced import CAUTIOUS_BATCH
from tfdump.run.activations.plan import plan_activations
from tfdump.run.options import RunOptions, StoreOptions

pytestmark = pytest.mark.tensorflow

MEMORY = 16 << 20
SIDE, CHANNELS = 32, 32
LAYER_BYTES = SIDE * SIDE * CHANNELS * 4


def batch_size_of(model: keras.Model, examples: int = 5000, eager: bool = False, shape: tuple = (SIDE, SIDE, 3)) -> int:
    data = np.zeros((examples, *shape), "float32")
    signature, source = open_source(model, [InputArray(None, ArrayReader(data, "x"))], ReadingOptions(), print)
    request = Request(Selection(["late"]), outputs=False, eager=eager)
    with probe_source(model, signature, source, request, print) as probe:
        run = RunOptions(memory=MEMORY)
        return plan_activations(probe, source, None, run, StoreOptions(), print).batches.size


@pytest.mark.parametrize(
    ("dtype", "save", "times"), [("float32", False, 1), ("float64", False, 2), ("float32", True, 2)]
)
def test_inputs_count_as_they_are_read_and_once_more_where_they_are_saved(dtype: str, save: bool, times: int) -> None:
    """The sum of a wide example: nothing but the input takes memory, 1 MiB an example in float32."""
    x = keras.Input((1 << 18,))
    model = keras.Model(x, layers.Dense(1, kernel_initializer="ones", name="late")(x))
    data = np.zeros((5, 1 << 18), dtype)
    signature, source = open_source(
        model, [InputArray(None, ArrayReader(data, "x"))], ReadingOptions(), lambda text: None
    )
    with probe_source(model, signature, source, Request(Selection(["late"]), outputs=False), print) as probe:
        run = RunOptions(memory=17 << 20)  # sixteen inputs, and what little else there is
        plan = plan_activations(probe, source, None, run, StoreOptions(save_inputs=save), print)
    assert plan.batches.size * times == 16


def test_very_many_examples_have_larger_batches() -> None:
    x = keras.Input((1,))
    model = keras.Model(x, layers.Dense(1, name="late")(x))
    assert [batch_size_of(model, examples, shape=(1,)) for examples in (262_143, 262_144)] == [4096, 8192]


def convolutions(count: int) -> list[layers.Layer]:
    return [layers.Conv2D(CHANNELS, 3, padding="same") for _ in range(count)]


def graph_model() -> keras.Model:
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), *convolutions(4), layers.GlobalAveragePooling2D(), layers.Dense(2, name="late")]
    )


def test_intermediates_of_a_late_layer_count() -> None:
    """A convolution's input and output live at once: two layers' bytes an example, three at the most."""
    size = batch_size_of(graph_model())
    assert MEMORY / (6 * LAYER_BYTES) <= size <= MEMORY / (2 * LAYER_BYTES)


def test_intermediates_of_an_eager_run_count() -> None:
    assert batch_size_of(graph_model(), eager=True) <= MEMORY / (4 * LAYER_BYTES)


class Looping(keras.Model):
    """Convolutions inside a loop of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = convolutions(2)
        self.pool, self.late = layers.GlobalAveragePooling2D(), layers.Dense(2, name="late")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.first(x)
        y = keras.ops.fori_loop(0, 3, lambda i, v: self.inner(v), y)
        return self.late(self.pool(y))


def test_intermediates_inside_a_loop_count() -> None:
    model = Looping()
    model.inner.build((None, SIDE, SIDE, CHANNELS))
    assert batch_size_of(model) <= MEMORY / (3 * LAYER_BYTES)


class Opaque(keras.Model):
    """A NumPy function in the middle, whose result has no known rank."""

    def __init__(self) -> None:
        super().__init__()
        self.late = layers.Dense(2, name="late")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = tf.numpy_function(lambda v: v * 2, [x], tf.float32)
        return self.late(tf.reshape(tf.reduce_sum(tf.reshape(y, (tf.shape(x)[0], -1)), 1, keepdims=True), (-1, 1)))


def test_where_ranks_are_unknown_the_batch_stays_small() -> None:
    assert batch_size_of(Opaque()) == CAUTIOUS_BATCH


def test_time_major_tensors_are_not_charged_for_their_time_axis_twice() -> None:
    steps, units = 200, 8
    x = keras.Input((steps, 4))
    model = keras.Model(x, layers.Dense(2, name="late")(layers.LSTM(units)(x)))
    assert batch_size_of(model, shape=(steps, 4)) >= MEMORY / (steps * units * 4 * 64)
