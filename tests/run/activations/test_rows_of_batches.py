"""A batch that gives another number of rows than it has examples is neither padded nor cut: it makes a stack."""

from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.row_models import POSITIVE_ROWS, Odd, Positive, Typed, X

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

BATCHES = [X[:4], X[4:8], X[8:]]
REPEATED = [np.repeat(rows, np.where(rows[:, 0] > 0, 1, 2), axis=0) for rows in BATCHES]


def equal(actual: Any, expected: list[np.ndarray]) -> None:
    assert isinstance(actual, list)
    assert [item.tolist() for item in actual] == [item.tolist() for item in expected]


@pytest.mark.parametrize("eager", [False, True])
def test_filtered_and_repeated_rows_are_stacks(eager: bool) -> None:
    got = tfdump.activations(Odd(eager), X, batch_size=4)
    np.testing.assert_array_equal(got["double"], X * 2)
    equal(got["positive"], [2 * rows for rows in POSITIVE_ROWS])
    equal(got["behind"], [20 * rows for rows in POSITIVE_ROWS])
    equal(got["repeated"], REPEATED)
    assert got["late"].tolist() == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]
    ragged, sparse = got["ragged"], got["sparse"]
    assert ragged.row_splits[0].tolist() == [0, 4, 5, 7]
    lengths = np.concatenate([(rows > 2).sum(1) for rows in POSITIVE_ROWS])
    assert np.diff(ragged.row_splits[1]).tolist() == lengths.tolist()
    rows = np.concatenate(POSITIVE_ROWS)
    np.testing.assert_array_equal(ragged.values, np.concatenate([r[:n] for r, n in zip(rows, lengths, strict=True)]))
    assert sparse.dense_shape == (3, 4, 2)
    dense = np.zeros(sparse.dense_shape, "float32")
    dense[tuple(sparse.indices.T)] = sparse.values
    for batch, rows in zip(dense, POSITIVE_ROWS, strict=True):
        np.testing.assert_array_equal(batch[: len(rows)], rows)
        assert not batch[len(rows) :].any()


@pytest.mark.parametrize("eager", [False, True])
def test_the_note_names_the_tensors_the_batch_its_rows_and_examples(eager: bool) -> None:
    with pytest.warns(tfdump.TfdumpWarning) as record:
        tfdump.activations(Odd(eager), X, batch_size=4)
    notes = [str(warning.message) for warning in record]
    (filtered,) = [text for text in notes if "batch 2 of 3 has 1 row for 4 examples" in text]
    assert filtered.startswith("stored batch by batch, because they have no row per example")
    assert filtered.endswith(": positive, behind, ragged, sparse")
    assert any("batch 2 of 3 has 7 rows for 4 examples): repeated" in text for text in notes)
    assert any("constant in the first batches only (batch 3 of 3 has other values): late" in text for text in notes)


def test_rows_that_follow_the_batch_after_all_stay_rows() -> None:
    x = np.abs(X)
    got = tfdump.activations(Odd(), x, batch_size=5)
    np.testing.assert_array_equal(got["positive"], 2 * x)
    np.testing.assert_array_equal(got["repeated"], x)


@pytest.mark.parametrize("counts", [[4, 4, 1], [4, 4, 0], [4, 3, 3]])
def test_batches_of_equal_shapes_become_one_stacked_array(counts: list[int]) -> None:
    """The last of nine examples alone keeps as many rows as the batches before: no axis is the example's."""
    x = np.ones((9, 2), "float32")
    for start, count in zip((0, 4, 8), counts, strict=True):
        x[start + count : start + 4, 0] = -1
    got = tfdump.activations(Odd(), x, batch_size=4)["positive"]
    if counts == [4, 4, 1]:
        assert got.shape == (9, 2)
    else:
        assert [len(item) for item in got] == [4, *counts[1:-1], min(1, counts[-1])]


def test_a_tensor_of_one_length_in_batches_of_two_is_one_array() -> None:
    class Four(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.concatenate([x, x, x, x], axis=0)[:4]

    x = keras.Input((2,))
    got = tfdump.activations(keras.Model(x, Four(name="four")(x)), X[:10], batch_size=4)["four"]
    expected = [X[:4], X[4:8], np.concatenate([X[8:10]] * 2)]
    np.testing.assert_array_equal(got, np.stack(expected))


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "norm"])
def test_reduced_rows_are_stacks_too(reduce: str) -> None:
    got = tfdump.activations(Odd(), X, batch_size=4, reduce=reduce)["positive"]
    function = {"sum": np.sum, "mean": np.mean, "max": np.max, "norm": np.linalg.norm}[reduce]
    for item, rows in zip(got, POSITIVE_ROWS, strict=True):
        np.testing.assert_allclose(item, function(2 * rows, axis=1), rtol=1e-6)


def test_the_stored_dtype_is_kept_in_a_stack() -> None:
    got = tfdump.activations(Odd(), X, batch_size=4, dtype="float16")
    equal(got["positive"], [2 * rows for rows in POSITIVE_ROWS])
    assert {item.dtype.name for item in got["positive"]} == {"float16"}
    assert got["ragged"].values.dtype == np.float16


class Trimmed(layers.Layer):
    """Drops the columns in which no example of the batch has a positive number."""

    def call(self, x: Any) -> Any:
        return tf.boolean_mask(x, tf.reduce_any(x > 0, axis=0), axis=1)


@pytest.mark.parametrize("eager", [False, True])
def test_rows_whose_shape_depends_on_the_batch_are_stacks_with_a_note(eager: bool) -> None:
    x = keras.Input((2,))
    model = keras.Model(x, Trimmed(name="trimmed")(x))
    data = X[[0, 1, 2, 3, 4, 6, 7]]
    with pytest.warns(tfdump.TfdumpWarning, match=r"rows .* differ in shape \(first in batch 3 of 4\): trimmed"):
        got = tfdump.activations(model, data, batch_size=2, eager=eager)["trimmed"]
    equal(got, [data[:2], data[2:4], data[4:6, 1:], data[6:, 1:]])
    reduced = tfdump.activations(model, data, batch_size=2, eager=eager, reduce="max")["trimmed"]
    np.testing.assert_array_equal(reduced, [1, 2, 3, 4, 5, 7, 8])


class Sorted(layers.Layer):
    """Sorts the rows of a batch."""

    def call(self, x: Any) -> Any:
        return tf.gather(x, tf.argsort(x[:, 0]))


@pytest.mark.parametrize("eager", [False, True])
def test_rows_that_are_sorted_depend_on_the_batch_even_where_the_first_batch_is_sorted(eager: bool) -> None:
    x = keras.Input((2,))
    model = keras.Model(x, Sorted(name="sorted")(layers.Rescaling(1.0, name="same")(x)))
    data = X[[7, 6, 4, 9, 8, 0, 2, 1]]
    data = data[np.concatenate([np.argsort(data[:4, 0]), [7, 6, 5, 4]])]
    with pytest.warns(tfdump.TfdumpWarning) as record:
        got = tfdump.activations(model, data, batch_size=4, eager=eager)
    notes = [str(warning.message) for warning in record]
    assert "the values depend on the other examples of the batch: sorted" in notes
    np.testing.assert_array_equal(got["same"], data)
    by_hand = np.concatenate([rows[np.argsort(rows[:, 0], kind="stable")] for rows in (data[:4], data[4:])])
    np.testing.assert_array_equal(got["sorted"], by_hand)


# --- gradients


def filtering() -> keras.Model:
    x = keras.Input((2,), name="x")
    return keras.Model(x, layers.Rescaling(3.0, name="out")(Positive(name="positive")(x)))


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_of_filtered_rows_are_stacks(eager: bool) -> None:
    model = filtering()
    grads = tfdump.gradients(model, X, objective="sum", wrt=("activations", "inputs"), batch_size=4, eager=eager)
    equal(grads.activations["positive"], [np.full_like(rows, 3) for rows in POSITIVE_ROWS])
    equal(grads.activations["out"], [np.ones_like(rows) for rows in POSITIVE_ROWS])
    np.testing.assert_array_equal(grads.inputs["x"], np.where(X[:, :1] > 0, 3.0, 0.0) * np.ones((1, 2)))
    norms = tfdump.gradients(
        model, X, objective="sum", wrt="activations", batch_size=4, eager=eager, norms_only=True
    ).activations
    for item, rows in zip(norms["positive"], POSITIVE_ROWS, strict=True):
        np.testing.assert_allclose(item, np.full(len(rows), np.sqrt(18)), rtol=1e-6)


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_of_rows_that_come_late_are_a_stack(eager: bool) -> None:
    """No row is kept in the first batches, which looks like a constant."""
    x = X[[4, 6, 7, 9, 0, 1]]
    grads = tfdump.gradients(filtering(), x, objective="sum", wrt="activations", batch_size=3, eager=eager)
    equal(grads.activations["positive"], [np.zeros((0, 2)), np.full((2, 2), 3.0)])


def test_gradients_of_filtered_rows_at_every_step() -> None:
    x = keras.Input((2,), name="x")
    dense = layers.Dense(1, use_bias=False, name="dense")
    model = keras.Model(x, dense(Positive(name="positive")(x)))
    kernel = dense.get_weights()[0]
    outputs = tfdump.gradients(
        model, X, objective="sum", wrt=("weights", "activations"), batch_size=4, steps=2, learning_rate=0.1
    ).activations["positive"]
    after = kernel - 0.1 * np.concatenate(POSITIVE_ROWS).sum(0)[:, None]
    assert [len(item) for item in outputs] == [4, 1, 2, 4, 1, 2]
    for item, weight in zip(outputs, [kernel] * 3 + [after] * 3, strict=True):
        np.testing.assert_allclose(item, np.tile(weight[:, 0], (len(item), 1)), rtol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
def test_each_examples_own_gradient_needs_one_shape(eager: bool) -> None:
    options = {"objective": "sum", "per_example": True, "batch_size": 4, "eager": eager}
    with pytest.raises(tfdump.TfdumpError, match=r"'positive' has the shape .* for another.*exclude='positive'"):
        tfdump.gradients(filtering(), X, wrt="activations", layers="positive", **options)
    grads = tfdump.gradients(filtering(), X, wrt="inputs", **options)
    np.testing.assert_array_equal(grads.inputs["x"], np.where(X[:, :1] > 0, 3.0, 0.0) * np.ones((1, 2)))


# --- dtypes, ranks and kinds that change


@pytest.fixture
def typed() -> dict[str, Any]:
    with pytest.warns(tfdump.TfdumpWarning) as record:
        got = tfdump.activations(Typed(), X, batch_size=4)
    return got | {"notes": [str(warning.message) for warning in record]}


def test_a_dtype_that_changes_is_widened_without_loss(typed: dict[str, Any]) -> None:
    expected = np.concatenate([np.trunc(X[:8] / 2), X[8:] / 2])
    assert typed["number"].dtype == np.float64
    np.testing.assert_array_equal(typed["number"], expected)
    expected_note = (
        "stored as float64, because they are int32 in the first batches and float32 in batch 3 of 3: table, number"
    )
    assert expected_note in typed["notes"]
    assert typed["table"].tolist() == [[1, 2, 3], [1, 2, 3], [1.5, 2.5, 3.5]]


def test_a_rank_that_changes_makes_a_stack(typed: dict[str, Any]) -> None:
    equal(typed["flat"], [X[:4], X[4:8], X[8:].sum()])
    assert any("batch 3 of 3 has no rows for 4 examples): flat" in text for text in typed["notes"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hopeless", "its dtype changes from float32 to string in batch 3, and no dtype holds both"),
        ("mixed", "dense in the first batches and sparse (rank 2, 2 located) in batch 3"),
    ],
)
def test_what_cannot_be_stored_together_is_named(typed: dict[str, Any], name: str, reason: str) -> None:
    assert name not in typed
    assert f"not captured: {name} ({reason})" in typed["notes"]


def test_an_option_about_dtypes_does_not_turn_integers_into_floats() -> None:
    with pytest.warns(tfdump.TfdumpWarning, match=r"number \(its dtype changes from int32 to float32.*dtype out"):
        assert "number" not in tfdump.activations(Typed(), X, batch_size=4, dtype="float16")


def test_what_a_callback_dumps(tmp_path: Any) -> None:
    x = keras.Input((2,), name="x")
    model = keras.Model(x, Positive(name="positive")(layers.Rescaling(1.0, name="same")(x)))
    model.compile("sgd", loss=lambda y, p: keras.ops.sum(p) * 0)
    model.fit(X, X, batch_size=12, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path, X, batch_size=4)])
    with h5py.File(tmp_path / "epoch-0001.activations.h5") as file:
        assert [len(item) for item in file["activations/positive"].values()] == [4, 1, 2]
