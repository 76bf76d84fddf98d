"""Which graphs may run twice at once, and that those that do give what they give one after the other."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.tiny_models import floats
from tfdump.address import Selection
from tfdump.cli.main import run as command
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions
from tfdump.model.probe import Probe
from tfdump.model.request import Request
from tfdump.model.runnable import open_source, probe_source
from tfdump.model.tracing.side_effects import has_side_effects
from tfdump.run import pipeline

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


def pooled(x: tf.Tensor) -> tf.Tensor:
    together = tf.nondifferentiable_batch_function(1, 64, 1000)(lambda y: y + tf.cast(tf.shape(y)[0], y.dtype))
    return tf.ensure_shape(together(x), [None])


def filtered(x: tf.Tensor) -> tf.Tensor:
    """What the operation runs stands in an attribute in which nobody looks."""
    positive = tf.data.Dataset.from_tensor_slices(x).filter(lambda y: y > 0)
    return x + positive.reduce(0.0, lambda total, y: total + y)


HARMLESS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "computes": tf.nn.relu,
    "reads a variable": lambda x: x * COUNT,
    "checks": lambda x: tf.debugging.check_numerics(x, "bad"),
    "looks up": lambda x: TABLE.lookup(tf.cast(x, tf.int64)),
    "asserts": asserted,
    "draws the same each time": lambda x: x + tf.random.stateless_uniform(tf.shape(x), (1, 2)),
}

ACTING: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "assigns": counted,
    "draws": lambda x: x + tf.random.uniform(tf.shape(x)),
    "calls Python": lambda x: tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), [None]),
    "calls Python that is said to be pure": lambda x: tf.ensure_shape(
        tf.numpy_function(np.abs, [x], tf.float32, stateful=False), [None]
    ),
    "puts rows of several runs together": pooled,
    "runs what cannot be seen": filtered,
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


class Watched(layers.Layer):
    """Calls Python, and notes how many calls ran at once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.running: list[int] = []
        self.most = 0

    def note(self, rows: np.ndarray) -> np.ndarray:
        self.running.append(1)
        self.most = max(self.most, len(self.running))
        time.sleep(0.02)
        self.running.pop()
        return rows

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(self.note, [x], tf.float32), x.shape)


@pytest.mark.parametrize("python", [False, True])
def test_a_run_computes_on_several_threads_only_what_is_independent(
    python: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    run = Probe.run

    def watched(probe: Probe, batch: Any) -> Any:
        threads.append(threading.current_thread().name.rpartition("_")[0])
        return run(probe, batch)

    monkeypatch.setattr(Probe, "run", watched)
    monkeypatch.setattr(pipeline, "cores", lambda: 2)
    layer = Watched(name="watched") if python else layers.ReLU(name="watched")
    x = keras.Input((3,))
    data = floats(24, 3)
    got = tfdump.activations(keras.Model(x, layer(x)), data, batch_size=3)["watched"]
    np.testing.assert_array_equal(got, data if python else np.maximum(data, 0))
    later = set(threads[-7:])  # the first batch was run to plan
    assert later == ({""} if python else {"tfdump-compute"})
    if isinstance(layer, Watched):
        assert layer.most == 1


def words_model() -> keras.Model:
    x = keras.Input((), dtype="string", name="word")
    return keras.Model(x, layers.StringLookup(vocabulary=["b", "a"], name="number")(x))


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[set[type]]:
    """The types of what the probe was run on, batch by batch, on two cores."""
    types: list[set[type]] = []
    run = Probe.run

    def watched(probe: Probe, batch: Any) -> Any:
        types.append({type(value) for value in batch.values()})
        return run(probe, batch)

    monkeypatch.setattr(Probe, "run", watched)
    monkeypatch.setattr(pipeline, "cores", lambda: 2)
    return types


def test_texts_are_tensors_before_their_batch_begins(fed: list[set[type]]) -> None:
    words = np.array(["a", "b", "c", "b", "a", "é", "b", ""])
    got = tfdump.activations(words_model(), words, batch_size=2)
    np.testing.assert_array_equal(got["number"], [2, 1, 0, 1, 2, 0, 1, 0])
    assert fed[-3:] == [{type(tf.constant(1))}] * 3  # the first batch was run to plan


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_what_is_stored_or_padded_stays_an_array(
    fixed: bool, saved: bool, fed: list[set[type]], tmp_path: Path
) -> None:
    x = keras.Input(batch_shape=(3 if fixed else None, 2), name="x")
    rows = keras.ops.reshape(x, (3, 2)) if fixed else x  # else the rest is not padded either
    keras.Model(x, layers.ReLU(name="relu")(rows)).save(tmp_path / "model.keras")
    data = floats(11, 2)
    np.save(tmp_path / "x.npy", data)
    options = ["--save-inputs"] * saved + ["--batch-size", "3"] + ["-o", str(tmp_path / "dump.h5")]
    assert not command(["activations", str(tmp_path / "model.keras"), str(tmp_path / "x.npy"), *options])
    with h5py.File(tmp_path / "dump.h5") as file:
        np.testing.assert_array_equal(file["activations/relu"][()], np.maximum(data, 0))
        assert ("inputs" in file) == saved
        if saved:
            np.testing.assert_array_equal(file["inputs/x"][()], data)
    assert fed[-1] == ({np.ndarray} if fixed or saved else {type(tf.constant(1))})


def test_what_cannot_be_a_tensor_is_told_as_an_error_of_the_input() -> None:
    words = np.array(["a", "b", "a", "b", "a", "\ud800", "a", "b"])
    with pytest.raises(tfdump.TfdumpError, match="the model fails on this input: Error converting unicode"):
        tfdump.activations(words_model(), words, batch_size=2)


def test_a_device_of_the_caller_keeps_all_batches_on_its_thread() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert independent(model, floats(4, 3))
    with tf.device("/cpu:0"):
        assert not independent(model, floats(4, 3))


def independent(model: keras.Model, data: np.ndarray, **how: Any) -> bool:
    signature, source = open_source(model, [InputArray(None, ArrayReader(data, "x"))], ReadingOptions(), print)
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
