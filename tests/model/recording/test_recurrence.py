"""States and gates of recurrent layers at every step, on saved models, against cells that are called one by one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.combinations import combinations

pytestmark = pytest.mark.tensorflow

TIME, WIDTH = 6, 4


def sequences(examples: int = 5, *shape: int, masked: bool = False) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((examples, TIME, *(shape or (WIDTH,)))).astype("float32")
    if masked:
        x[0, 4:] = 0  # padded at the end
        x[1, :2] = 0  # at the start
        x[2] = 0  # all of it
        x[3, 2:4] = 0  # in between
    return x


def saved(tmp_path: Path, layer: Any, x: np.ndarray, masked: bool = False, time: int | None = TIME) -> Path:
    """A saved model of a layer, or of several side by side, with random biases, behind a Masking layer if asked for."""
    inputs = keras.Input((time, *x.shape[2:]), name="x")
    model = keras.Model(inputs, layer(layers.Masking(name="masking")(inputs) if masked else inputs))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "bias" in weight.path:
            weight.assign(rng.standard_normal(weight.shape))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def by_hand(layer: Any, x: np.ndarray, backwards: bool, masked: bool) -> list[np.ndarray]:
    """The states at every step in the time of the input: the cell called step by step, states carried over masks."""
    cell = layer.cell
    states = [np.asarray(state) for state in keras.tree.flatten(cell.get_initial_state(len(x)))]
    structure = cell.get_initial_state(len(x))
    stacks = [np.zeros((len(x), x.shape[1], *state.shape[1:]), "float32") for state in states]
    for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
        _, new = cell(x[:, t], keras.tree.pack_sequence_as(structure, states))
        unmasked = ~(x[:, t].reshape(len(x), -1) == 0).all(1) if masked else np.ones(len(x), bool)
        for number, value in enumerate(keras.tree.flatten(new)):
            shape = (-1,) + (1,) * (states[number].ndim - 1)
            states[number] = np.where(unmasked.reshape(shape), np.asarray(value), states[number])
            stacks[number][:, t] = states[number]
    return stacks


LAYERS: dict[str, Any] = {
    "lstm": lambda **options: layers.LSTM(3, **options),
    "gru": lambda **options: layers.GRU(3, **options),
    "gru_reset_before": lambda **options: layers.GRU(3, reset_after=False, **options),
    "simple": lambda **options: layers.SimpleRNN(3, **options),
    "stacked": lambda **options: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], **options),
    "lstm_dropout": lambda **options: layers.LSTM(3, dropout=0.5, recurrent_dropout=0.2, **options),
}
OPTIONS: dict[str, dict[str, bool]] = {
    "last": {},
    "sequences": {"return_sequences": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "zeroed": {"return_sequences": True, "zero_output_for_mask": True},
    "zeroed_last": {"zero_output_for_mask": True},
    "unrolled": {"unroll": True},
    "unrolled_backwards": {"unroll": True, "go_backwards": True, "return_sequences": True},
    "with_state": {"return_state": True, "return_sequences": True},
}


PLAIN = ("lstm", "gru", "simple", "stacked")
"""The others differ from these inside the cell only."""


def side_by_side(kinds: Iterable[str], **options: Any) -> Any:
    """A layer of every kind, each named for its kind."""
    return lambda inputs: [LAYERS[kind](name=kind, **options)(inputs) for kind in kinds]


def states_of(got: dict[str, Any], layer: str) -> list[Any]:
    return [value for address, value in got.items() if address.startswith(f"{layer}:states.")]


def assert_the_rest_is_the_same(path: Path, x: np.ndarray, got: dict[str, Any]) -> None:
    """Without the option, every other number is the same to the last bit, and there are no more of them."""
    plain = tfdump.activations(path, x)
    assert list(plain) == [address for address in got if ":states" not in address]
    for address, value in plain.items():
        np.testing.assert_array_equal(got[address], value, err_msg=address)


@pytest.mark.parametrize(
    ("options", "masked"),
    combinations(
        OPTIONS,
        [False, True],
        tested=lambda options, masked: masked != (options in ("unrolled", "with_state")),  # zeroed needs a mask
    ),
)
def test_states_are_those_of_the_cell_called_step_by_step(tmp_path: Path, options: str, masked: bool) -> None:
    x = sequences(masked=masked)
    kinds = LAYERS if options in ("last", "backwards") else PLAIN
    path = saved(tmp_path, side_by_side(kinds, **OPTIONS[options]), x, masked)
    got = tfdump.activations(path, x, rnn_steps=True)
    model = keras.models.load_model(path)
    for kind in kinds:
        expected = by_hand(model.get_layer(kind), x, "backwards" in options, masked)
        for value, wanted in zip(states_of(got, kind), expected, strict=True):
            np.testing.assert_allclose(value, wanted, atol=2e-6, err_msg=kind)
    assert_the_rest_is_the_same(path, x, got)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_last_processed_step_is_the_final_state(tmp_path: Path, backwards: bool) -> None:
    x = sequences(masked=True)
    path = saved(tmp_path, side_by_side(PLAIN, return_state=True, go_backwards=backwards), x, masked=True)
    got = tfdump.activations(path, x, rnn_steps=True)
    for kind in PLAIN:
        final = [value for address, value in got.items() if address.startswith((f"{kind}:1", f"{kind}:2"))]
        for steps, state in zip(states_of(got, kind), final, strict=True):
            np.testing.assert_array_equal(steps[:, 0 if backwards else -1], state, err_msg=kind)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_both_directions_stand_in_the_time_of_the_input(tmp_path: Path, masked: bool) -> None:
    x = sequences(masked=masked)
    both = [layers.Bidirectional(LAYERS[kind](name="rnn", return_sequences=True), name=kind) for kind in PLAIN]
    path = saved(tmp_path, lambda inputs: [layer(inputs) for layer in both], x, masked)
    got = tfdump.activations(path, x, rnn_steps=True)
    model = keras.models.load_model(path)
    for kind in PLAIN:
        for side, backwards in (("forward", False), ("backward", True)):
            expected = by_hand(getattr(model.get_layer(kind), f"{side}_layer"), x, backwards, masked)
            for value, wanted in zip(states_of(got, f"{kind}.{side}_rnn"), expected, strict=True):
                np.testing.assert_allclose(value, wanted, atol=2e-6, err_msg=kind)
    assert_the_rest_is_the_same(path, x, got)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_convolutional_states_and_gates(tmp_path: Path, masked: bool) -> None:
    x = sequences(4, 5, 5, 2)
    if masked:
        x[0, 4:] = 0
    layer = layers.ConvLSTM2D(3, 3, padding="same", name="rnn", return_sequences=True)
    inputs = keras.Input((None, 5, 5, 2))
    mask = keras.Input((None,), dtype="bool")
    keras.Model([inputs, mask], layer(inputs, mask=mask)).save(tmp_path / "model.keras")
    keep = ~(x.reshape(4, TIME, -1) == 0).all(-1)
    path = tmp_path / "model.keras"
    got = tfdump.activations(path, (x, keep), rnn_steps=True, rnn_gates=True)
    expected = by_hand(keras.models.load_model(path).get_layer("rnn"), x, backwards=False, masked=masked)
    for number, value in enumerate(expected):
        np.testing.assert_allclose(got[f"rnn:states.{number}"], value, atol=2e-6)
    memory = np.concatenate([np.zeros_like(expected[1][:, :1]), expected[1][:, :-1]], axis=1)
    updated = got["rnn:gates.forget"] * memory + got["rnn:gates.input"] * got["rnn:gates.cell"]
    np.testing.assert_allclose(updated[keep], expected[1][keep], atol=2e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("implementation", [1, 2])
def test_lstm_gates_by_hand(tmp_path: Path, implementation: int, unroll: bool) -> None:
    x = sequences(masked=True)
    options = {"cell": layers.LSTMCell(3, implementation=implementation), "unroll": unroll}
    path = saved(tmp_path, layers.RNN(name="rnn", **options), x, masked=True)
    kernel, recurrent, bias = (
        w.astype("float64") for w in keras.models.load_model(path).get_layer("rnn").get_weights()
    )
    got = tfdump.activations(path, x, rnn_gates=True)
    assert not any(":states" in address for address in got)
    h, c = np.zeros((5, 3)), np.zeros((5, 3))
    for t in range(TIME):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        keep = (x[:, t] != 0).any(1)[:, None]
        gates = {"input": sigmoid(i), "forget": sigmoid(f), "cell": np.tanh(g), "output": sigmoid(o)}
        for name, value in gates.items():
            np.testing.assert_allclose(got[f"rnn:gates.{name}"][:, t], np.where(keep, value, 0), atol=2e-6)
        new = gates["forget"] * c + gates["input"] * gates["cell"]
        h, c = np.where(keep, gates["output"] * np.tanh(new), h), np.where(keep, new, c)


@pytest.mark.parametrize("reset_after", [False, True])
def test_gru_gates_by_hand_backwards(tmp_path: Path, reset_after: bool) -> None:
    x = sequences()
    path = saved(tmp_path, layers.GRU(3, reset_after=reset_after, go_backwards=True, name="rnn"), x, time=None)
    weights = keras.models.load_model(path).get_layer("rnn").get_weights()
    kernel, recurrent, bias = (w.astype("float64") for w in weights)
    outer, inner = bias if reset_after else (bias, np.zeros_like(bias))
    got = tfdump.activations(path, x, rnn_gates=True)
    h = np.zeros((5, 3))
    for t in reversed(range(TIME)):
        xz, xr, xh = np.split(x[:, t] @ kernel + outer, 3, axis=1)
        hz, hr, hh = np.split(h @ recurrent + inner, 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        candidate = np.tanh(xh + (r * hh if reset_after else (r * h) @ recurrent[:, 6:]))
        for name, value in {"update": z, "reset": r, "candidate": candidate}.items():
            np.testing.assert_allclose(got[f"rnn:gates.{name}"][:, t], value, atol=2e-6)
        h = z * h + (1 - z) * candidate


def test_the_gates_of_stacked_cells_bear_the_number_of_the_cell(tmp_path: Path) -> None:
    x = sequences()
    path = saved(tmp_path, LAYERS["stacked"](name="rnn"), x)
    got = tfdump.activations(path, x, rnn_steps=True, rnn_gates=True)
    states = [got[f"rnn:states.{number}"] for number in range(3)]
    h, c, second = (np.concatenate([np.zeros_like(s[:, :1]), s[:, :-1]], axis=1) for s in states)
    del h
    gate = {name: got[f"rnn:gates.0.{name}"] for name in ("input", "forget", "cell", "output")}
    np.testing.assert_allclose(gate["forget"] * c + gate["input"] * gate["cell"], states[1], atol=2e-6)
    update, candidate = got["rnn:gates.1.update"], got["rnn:gates.1.candidate"]
    np.testing.assert_allclose(update * second + (1 - update) * candidate, states[2], atol=2e-6)


def test_states_that_are_handed_over_and_kept_between_batches(tmp_path: Path) -> None:
    x = sequences(8)
    first = layers.LSTM(3, return_sequences=True, return_state=True, stateful=True, name="first")
    inputs = keras.Input(batch_shape=(4, TIME, WIDTH))
    hidden, h, c = first(inputs)
    keras.Model(inputs, layers.LSTM(3, name="second")(hidden, initial_state=[h, c])).save(tmp_path / "m.keras")
    got = tfdump.activations(tmp_path / "m.keras", x, rnn_steps=True)
    model = keras.models.load_model(tmp_path / "m.keras")
    first, second = model.get_layer("first"), model.get_layer("second")
    h = c = np.zeros((4, 3), "float32")
    for batch in range(2):
        rows = slice(4 * batch, 4 * batch + 4)
        for t in range(TIME):
            _, (h, c) = first.cell(x[rows, t], [h, c])
            np.testing.assert_allclose(got["first:states.1"][rows, t], c, atol=2e-6)
        start = [np.asarray(h), np.asarray(c)]
        for t in range(TIME):
            _, start = second.cell(got["first:0"][rows, t], start)
            np.testing.assert_allclose(got["second:states.0"][rows, t], start[0], atol=2e-6)


def test_a_masked_start_shows_the_initial_state(tmp_path: Path) -> None:
    inputs, start = keras.Input((TIME, WIDTH)), keras.Input((3,), name="start")
    keep = keras.Input((TIME,), dtype="bool")
    rnn = layers.GRU(3, name="rnn", return_sequences=True)
    keras.Model([inputs, keep, start], rnn(inputs, mask=keep, initial_state=start)).save(tmp_path / "m.keras")
    x, initial = sequences(masked=True), np.random.default_rng(2).standard_normal((5, 3)).astype("float32")
    got = tfdump.activations(tmp_path / "m.keras", (x, (x != 0).any(-1), initial), rnn_steps=True)["rnn:states.0"]
    np.testing.assert_array_equal(got[1, :2], np.stack([initial[1]] * 2))
    np.testing.assert_array_equal(got[2], np.stack([initial[2]] * TIME))
    assert not np.array_equal(got[1, 2], initial[1])


def test_eager_and_half_precision_runs_give_the_same(tmp_path: Path) -> None:
    x = sequences(masked=True)
    layer = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dtype="mixed_float16"), name="both")
    path = saved(tmp_path, layer, x, masked=True)
    got = tfdump.activations(path, x, rnn_steps=True)
    eager = tfdump.activations(path, x, rnn_steps=True, eager=True)
    assert got["both.forward_lstm:states.0"].dtype == np.float16
    assert got.keys() == eager.keys()
    for address, value in got.items():
        np.testing.assert_allclose(eager[address], value, atol=2e-3, err_msg=address)


class Keeper(layers.Layer):
    """A cell with two states that uses an activation more often than an LSTM does."""

    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.state_size = [units, units]
        self.output_size = units

    def call(self, x: Any, states: Any) -> Any:
        h, n = states
        h = keras.ops.tanh(h + x[:, :3])
        return h * 2, [h, n + 1]


def test_cells_of_the_users_own(tmp_path: Path) -> None:
    inputs = keras.Input((TIME, WIDTH))
    model = keras.Model(inputs, layers.RNN(Keeper(), name="rnn")(inputs))
    x = sequences()
    got = tfdump.activations(model, x, rnn_steps=True, rnn_gates=True)
    h = np.zeros((5, 3))
    for t in range(TIME):
        h = np.tanh(h + x[:, t, :3])
        np.testing.assert_allclose(got["rnn:states.0"][:, t], h, atol=2e-6)
        np.testing.assert_array_equal(got["rnn:states.1"][:, t], np.full((5, 3), t + 1))
