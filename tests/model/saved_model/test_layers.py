"""Layers of SavedModels whose output is not the last thing that they compute: losses, states, sequences, and nodes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from support.command import ROOT
from support.converted_models import eager, examples, judged, randomized
from support.saved_formats import exported, saved
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

DATA = ROOT / "tests" / "data"


class Watched(layers.Layer):
    """A layer that hands on what it is given, and adds losses of several shapes."""

    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(ops.square(x)))
        self.add_loss(ops.sum(ops.abs(x) * 2.0, axis=-1))
        return x


@pytest.mark.parametrize("save", [exported, saved])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "watch", [lambda: layers.ActivityRegularization(0.1, name="watch"), lambda: Watched(name="watch")]
)
def test_a_loss_is_not_the_output_of_a_layer_that_hands_on_its_input(
    tmp_path: Path, watch: Any, last: bool, save: Any
) -> None:
    x = keras.Input((6,), name="x")
    y = watch()(layers.Dense(3, activity_regularizer="l2", name="before")(x))
    model = randomized(keras.Model(x, y if last else layers.Dense(2, name="behind")(y), name="m"))
    data = examples(model)
    verdict = judged(model, save(model, tmp_path / "m"), eager(model, data), data, trust=True)
    assert verdict.missing == {"watch"}
    assert not verdict.wrong
    assert "watch (nothing reads what it computes" in verdict.notes


class Aside(keras.Model):
    """A model that calls a layer and forgets what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(3, name="first")
        self.aside = layers.Dense(3, activation="tanh", name="aside")

    def call(self, x: Any) -> Any:
        self.aside(x)
        return self.first(x)


def test_what_nothing_reads_keeps_the_names_of_its_operations(tmp_path: Path) -> None:
    model = Aside()
    x = floats(4, 5)
    model(x)
    got = tfdump.activations(saved(randomized(model), tmp_path / "m"), x, trust=True)
    np.testing.assert_allclose(got["first"], np.asarray(model.first(x)), rtol=1e-5, atol=1e-6)
    assert "aside" not in got
    np.testing.assert_allclose(got["aside:op.Tanh"], np.asarray(model.aside(x)), rtol=1e-5, atol=1e-6)


def test_operations_of_a_model_without_layers(tmp_path: Path) -> None:
    keras.utils.clear_session()
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], a * 2 + b)
    data = examples(model)
    got = tfdump.activations(exported(model, tmp_path / "m"), data, trust=True)
    assert set(got) == {"multiply", "add"}
    np.testing.assert_allclose(got["multiply"], data["a"] * 2, rtol=1e-6)
    np.testing.assert_allclose(got["add"], data["a"] * 2 + data["b"], rtol=1e-6)


@pytest.mark.parametrize("save", [exported, saved])
def test_recurrent_layers_behind_each_other(tmp_path: Path, save: Any) -> None:
    """Each sequence has the examples first, and no state is taken for a sequence: all have the size 4."""
    x = keras.Input((4, 4), name="x")
    y = layers.LSTM(4, return_sequences=True, name="lower")(x)
    y, hidden, carry = layers.LSTM(4, return_sequences=True, return_state=True, name="upper")(y)
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="gru"), name="both")(y)
    y = layers.GRU(4, return_sequences=True, go_backwards=True, name="above")(y, initial_state=hidden)
    y = layers.GRU(4, return_sequences=True, unroll=True, name="unrolled")(y)
    y = layers.SimpleRNN(4, name="last")(y)
    model = randomized(keras.Model(x, layers.Add(name="sum")([y, carry]), name="m"))
    data = floats(4, 4, 4)
    verdict = judged(model, save(model, tmp_path / "m"), eager(model, data), data, trust=True)
    assert not verdict.wrong
    assert not verdict.missing
    assert verdict.right == {"lower", "both", "above", "unrolled", "last", "sum"}
    expected = tfdump.activations(model, data, layers="upper")
    got = tfdump.activations(tmp_path / "m", data, trust=True, layers=sorted(expected))
    assert list(got) == ["upper:1", "upper:2", "upper:0"]
    for address, value in got.items():
        np.testing.assert_allclose(value, expected[address], rtol=1e-4, atol=1e-5, err_msg=address)


def _read(name: str, kind: Any, outputs: str, x: Any, **options: Any) -> list[Any]:
    """Call a layer that returns its states; only the outputs with these numbers are read."""
    values = kind(3, return_state=True, name=name, **options)(x)
    return [layers.Dense(2, name=f"{name}_{number}")(values[int(number)]) for number in outputs]


@pytest.mark.parametrize("masked", [False, True])
def test_recurrent_layers_that_return_their_states(tmp_path: Path, masked: bool) -> None:
    """The numbers are those of Keras, whichever outputs are read; a mask adds a tensor to those of the loop."""
    x = keras.Input((5, 4), name="x")
    y = layers.Masking(name="mask")(x) if masked else x
    ends = _read("all", layers.LSTM, "012", y, return_sequences=True) + _read("last", layers.LSTM, "02", y)
    ends += _read("carry", layers.LSTM, "2", y) + _read("states", layers.LSTM, "12", y)
    ends += _read("gru", layers.GRU, "01", y, return_sequences=True, go_backwards=True)
    ends += _read("simple", layers.SimpleRNN, "1", y)
    model = randomized(keras.Model(x, ends, name="m"))
    data = floats(3, 5, 4)
    data[0, 3:] = 0
    expected = tfdump.activations(model, data)
    got = tfdump.activations(exported(model, tmp_path / "m"), data, trust=True)
    read = {"all:0", "all:1", "all:2", "last:0", "last:2", "carry:2", "states:1", "states:2", "gru:0", "gru:1"}
    assert read | {"simple:1"} == {address for address in got if address in expected and ":" in address}
    for address in read:
        np.testing.assert_allclose(got[address], expected[address], rtol=1e-4, atol=1e-5, err_msg=address)
    assert not {"all", "last", "carry", "states", "gru", "simple"} & set(got)


def test_the_states_of_stacked_cells_keep_the_names_of_the_loop(tmp_path: Path) -> None:
    x = keras.Input((5, 4), name="x")
    cells = [layers.LSTMCell(3), layers.GRUCell(2)]
    ends = keras.tree.flatten(layers.RNN(cells, return_state=True, name="stack")(x))
    got = tfdump.activations(exported(keras.Model(x, ends, name="m"), tmp_path / "m"), floats(3, 5, 4), trust=True)
    assert not [address for address in got if address.startswith("stack") and ":op." not in address]
    assert "stack:op.while.4" in got


def test_recurrent_layers_of_keras_2() -> None:
    with np.load(DATA / "keras2_recurrent.npz") as archive:
        stored = dict(archive)
    x = {key[2:]: value for key, value in stored.items() if key.startswith("x:")}
    expected = {key[2:]: value for key, value in stored.items() if key.startswith("y:")}
    got = tfdump.activations(DATA / "keras2_recurrent", x, trust=True)
    several = {address for address in expected if address.startswith("upper:")}
    assert len(several) == 3
    for address, value in expected.items():
        np.testing.assert_allclose(got[address], value, rtol=1e-4, atol=1e-5, err_msg=address)
    assert "upper" not in got
    np.testing.assert_array_equal(got["both.forward_gru"], got["both"][..., :2])
    np.testing.assert_array_equal(got["both.backward_gru"][:, ::-1], got["both"][..., 2:])
