"""As many rows as examples do not make a row per example: what depends on the others in the batch is told."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow


class Over(layers.Layer):
    """A function over the rows of a batch; `eager` cannot be traced."""

    def __init__(self, function: Callable[[Any], Any], eager: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.eager = eager

    def call(self, x: Any) -> Any:
        if self.eager:
            float(tf.reduce_sum(x))
        return self.function(x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def shuffled(x: Any) -> Any:
    """A shuffle that is the same for every batch of one size."""
    count = tf.shape(x)[0]
    return tf.gather(x, tf.argsort(tf.random.stateless_uniform([count], [1, 2])))


MIXING = {
    "reversed": lambda x: x[::-1],
    "softmax": lambda x: tf.nn.softmax(x, axis=0),
    "previous": lambda x: tf.concat([x[:1], x[:-1]], 0),
    "following": lambda x: tf.concat([x[1:], x[-1:]], 0),
    "previous_mix": lambda x: x + 0.5 * tf.concat([x[:1], x[:-1]], 0),
    "rolled": lambda x: tf.roll(x, 1, 0),
    "rolled_back": lambda x: tf.roll(x, -1, 0),
    "shuffled": shuffled,
    "sorted": lambda x: tf.sort(x, 0),
    "by_first": lambda x: tf.gather(x, tf.argsort(x[:, 0])),
    "descending": lambda x: tf.sort(x, 0, "DESCENDING"),
    "cumulated": tf.cumsum,
    "numbered": lambda x: x + tf.cast(tf.range(tf.shape(x)[0]), x.dtype)[:, None],
    "even_odd": lambda x: tf.concat([x[::2], x[1::2]], 0),
    "centered": lambda x: x - tf.reduce_mean(x, 0),
    "by_largest": lambda x: x / tf.reduce_max(x, 0),
    "by_least": lambda x: x - tf.reduce_min(x, 0),
}
ROWWISE = {"double": lambda x: 2 * x, "own": lambda x: x / tf.reduce_sum(x * x, 1, keepdims=True)}

ORDERS = {"random": lambda x: x, "ascending": lambda x: np.sort(x, 0), "descending": lambda x: np.sort(x, 0)[::-1]}


def model_of(functions: dict[str, Callable[[Any], Any]], size: int | None = None, eager: bool = False) -> keras.Model:
    x = keras.Input(batch_shape=(size, 2), name="x")
    return keras.Model(x, [Over(function, eager, name=name)(x) for name, function in functions.items()])


def told(run: Callable[[], Any]) -> tuple[Any, set[str]]:
    """What a run gives, and the names in the notes that values depend on the batch."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        got = run()
    notes = [str(item.message) for item in record]
    notes = [note for note in notes if "no row per example" in note or "other examples of the batch" in note]
    return got, {name for note in notes for name in note.rpartition(": ")[2].split(", ")}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("examples", "size"), [(3, None), (4, None), (5, None), (8, None), (12, 4), (24, None)])
def test_what_depends_on_its_neighbors_is_told_and_nothing_else(
    examples: int, size: int | None, order: str, eager: bool
) -> None:
    x = np.ascontiguousarray(ORDERS[order](floats(examples, 2, seed=examples)))
    model = model_of(MIXING | ROWWISE, eager=eager)
    got, names = told(lambda: tfdump.activations(model, x, batch_size=size))
    assert names == set(MIXING)
    np.testing.assert_array_equal(got["double"], 2 * x)
    step = size or examples
    for name in ("reversed", "rolled", "centered"):
        by_hand = [MIXING[name](x[start : start + step]) for start in range(0, examples, step)]
        np.testing.assert_allclose(np.concatenate(list(got[name]) if got[name].ndim > 2 else [got[name]]),
                                   np.concatenate(by_hand), rtol=1e-5, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [4, 5, 8])
def test_the_same_is_told_of_batches_of_a_fixed_size(size: int, order: str) -> None:
    x = np.ascontiguousarray(ORDERS[order](floats(2 * size, 2, seed=size)))
    _, names = told(lambda: tfdump.activations(model_of(MIXING | ROWWISE, size), x))
    assert names == set(MIXING)


COUNTS = {
    "first": [0, 2, 1, 1, 1],
    "first two": [2, 0, 1, 1, 1],
    "inside": [1, 0, 2, 1, 1],
    "last": [1, 1, 1, 0, 2],
    "last two": [1, 1, 1, 2, 0],
    "far": [0, 1, 1, 1, 2],
    "all": [0, 2, 0, 2, 1],
}


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("counts", COUNTS)
def test_repeats_and_filters_that_cancel_out_within_the_batch_are_told(counts: str, eager: bool, fixed: bool) -> None:
    x = np.stack([floats(5), COUNTS[counts]], 1).astype("float32")
    functions = {"repeated": lambda x: tf.repeat(x, tf.cast(x[:, 1], tf.int32), axis=0)} | ROWWISE
    got, names = told(lambda: tfdump.activations(model_of(functions, 5 if fixed else None, eager), x))
    assert names == {"repeated"}
    np.testing.assert_array_equal(got["repeated"].reshape(5, 2), np.repeat(x, COUNTS[counts], axis=0))


@pytest.mark.parametrize("examples", [4, 8, 16])
def test_a_model_of_groups_of_four_is_looked_at_in_groups(examples: int) -> None:
    """The deviation over a group of at most four examples, as discriminators of GANs append it."""

    def deviation(x: Any) -> Any:
        count = tf.shape(x)[0]
        groups = tf.reshape(x, [tf.minimum(4, count), -1, 2])
        spread = tf.math.reduce_std(groups, axis=0)
        return tf.concat([x, tf.tile(spread, [tf.minimum(4, count), 1])], axis=1)

    x = floats(examples, 2)
    got, names = told(lambda: tfdump.activations(model_of({"deviation": deviation} | ROWWISE), x))
    assert names == {"deviation"}
    by_hand = np.tile(x.reshape(4, -1, 2).std(axis=0), (4, 1))
    np.testing.assert_allclose(got["deviation"], np.concatenate([x, by_hand], axis=1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_rows_of_ragged_and_sparse_tensors_are_compared_too(kind: str) -> None:
    make = {
        "ragged": lambda x: tf.RaggedTensor.from_tensor(x, lengths=tf.cast(x[:, 0] > 0, tf.int32) + 1),
        "sparse": lambda x: tf.sparse.from_dense(tf.where(x > 0, x, 0)),
    }[kind]
    functions = {"plain": make, "reversed": lambda x: make(x[::-1]), "shifted": lambda x: make(tf.roll(x, 1, 0))}

    class Both(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [Over(function, name=name) for name, function in functions.items()]

        def call(self, x: Any) -> Any:
            for part in self.parts:
                part(x)
            return x

    _, names = told(lambda: tfdump.activations(Both(), floats(6, 2, seed=3)))
    assert names == {"reversed", "shifted"}
