"""Layers that a recurrent layer calls around its loop over the time steps are recorded; those within it are not."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

TIME, WIDTH = 5, 3


@keras.saving.register_keras_serializable("around_recurrence")
class Surrounded(layers.GRU):
    """A GRU between a projection and a normalization, of which only the loop itself is recurrent."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(units, **options)
        self.proj, self.norm = layers.Dense(4, name="proj"), layers.LayerNormalization(name="norm")

    def build(self, shape: Any) -> None:
        self.proj.build(shape)
        super().build((*shape[:-1], 4))
        self.norm.build((None, self.units))

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return self.norm(super().call(self.proj(sequences), initial_state, mask, training))


class CompositeCell(layers.Layer):
    """A cell made of layers, one of which is applied twice a step."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.state_size = units
        self.inside, self.mix = layers.Dense(units, name="inside"), layers.Dense(units, name="mix")

    def build(self, shape: Any) -> None:
        self.inside.build(shape)
        self.mix.build((None, self.state_size))

    def call(self, x: Any, states: Any, training: bool = False) -> Any:
        new = keras.ops.tanh(self.inside(x) + self.mix(self.mix(states[0])))
        return new, [new]


class LearnedStart(layers.RNN):
    """Its first state is made by a layer, before the loop."""

    def __init__(self, cell: Any, **options: Any) -> None:
        super().__init__(cell, **options)
        self.start = layers.Dense(cell.state_size, name="start")

    def build(self, shape: Any) -> None:
        self.start.build((None, shape[-1]))
        super().build(shape)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return super().call(sequences, [self.start(sequences[:, 0])], mask, training)


class OwnLoop(layers.RNN):
    """Runs its cell by a loop of its own in Python, whose calls are calls like any other."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        state = [keras.ops.zeros((keras.ops.shape(sequences)[0], self.cell.state_size))]
        for step in range(sequences.shape[1]):
            output, state = self.cell(sequences[:, step], state)
        return output


class FramedConvolution(layers.ConvLSTM2D):
    """A convolutional LSTM behind a TimeDistributed layer of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.each = layers.TimeDistributed(layers.Conv2D(2, 1, name="conv"), name="each")

    def build(self, shape: Any) -> None:
        self.each.build(shape)
        super().build((*shape[:-1], 2))

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return super().call(self.each(sequences), initial_state, mask, training)


def sequences(*shape: int) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((4, TIME, *(shape or (WIDTH,)))).astype("float32")
    x[1, 3:] = 0
    return x


def model_of(layer: Any, shape: tuple[int, ...] = (TIME, WIDTH), masked: bool = False) -> keras.Model:
    inputs = keras.Input(shape, name="x")
    model = keras.Model(inputs, layer(layers.Masking(name="masking")(inputs) if masked else inputs))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.5)
    return model


def normalized(values: np.ndarray, layer: layers.LayerNormalization) -> np.ndarray:
    spread = np.sqrt(values.var(-1, keepdims=True) + layer.epsilon)
    return (values - values.mean(-1, keepdims=True)) / spread * layer.gamma.numpy() + layer.beta.numpy()


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def gru_by_hand(layer: layers.GRU, x: np.ndarray, unmasked: np.ndarray) -> np.ndarray:
    """The states of a GRU (reset after) after every step, carried over steps that are not kept."""
    kernel, recurrent, bias = (weight.numpy().astype("float64") for weight in layer.cell.weights)
    state, states = np.zeros((len(x), layer.units)), []
    for step in range(x.shape[1]):
        z1, r1, h1 = np.split(x[:, step] @ kernel + bias[0], 3, axis=1)
        z2, r2, h2 = np.split(state @ recurrent + bias[1], 3, axis=1)
        z = sigmoid(z1 + z2)
        new = z * state + (1 - z) * np.tanh(h1 + sigmoid(r1 + r2) * h2)
        state = np.where(unmasked[:, step, None], new, state)
        states.append(state)
    return np.stack(states, 1)


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("unroll", [False, True], ids=["loop", "unrolled"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_layers_around_the_loop_are_recorded(masked: bool, unroll: bool, eager: bool) -> None:
    layer = Surrounded(3, return_sequences=True, unroll=unroll, name="gru")
    model, x = model_of(layer, masked=masked), sequences()
    got = tfdump.activations(model, x, eager=eager)
    assert [address for address in got if address.startswith("gru")] == ["gru.proj", "gru.norm", "gru"]
    projected = x @ layer.proj.kernel.numpy() + layer.proj.bias.numpy()
    np.testing.assert_allclose(got["gru.proj"], projected, atol=1e-5)
    unmasked = (x != 0).any(-1) if masked else np.ones((4, TIME), bool)
    expected = normalized(gru_by_hand(layer, projected, unmasked), layer.norm)
    np.testing.assert_allclose(got["gru.norm"], expected, atol=1e-4)
    np.testing.assert_array_equal(got["gru"], got["gru.norm"])


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_what_runs_in_the_loop_stays_hidden(eager: bool, recwarn: pytest.WarningsRecorder) -> None:
    model = model_of(layers.RNN(CompositeCell(3, name="cell"), name="rnn"))
    assert list(tfdump.activations(model, sequences(), eager=eager)) == ["rnn"]
    messages = " ".join(str(warning.message) for warning in recwarn)
    assert "not captured: rnn.cell, rnn.cell.inside, rnn.cell.mix (inside a recurrent loop" in messages


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_a_first_state_made_by_a_layer_is_recorded(eager: bool) -> None:
    layer = LearnedStart(CompositeCell(3, name="cell"), name="rnn")
    model, x = model_of(layer), sequences()
    got = tfdump.activations(model, x, eager=eager, rnn_steps=True)
    assert list(got) == ["rnn.start", "rnn:states.0", "rnn"]
    start = x[:, 0] @ layer.start.kernel.numpy() + layer.start.bias.numpy()
    np.testing.assert_allclose(got["rnn.start"], start, atol=1e-5)
    state, dense = start, lambda z, part: z @ part.kernel.numpy() + part.bias.numpy()
    for step in range(TIME):
        mixed = dense(dense(state, layer.cell.mix), layer.cell.mix)
        state = np.tanh(dense(x[:, step], layer.cell.inside) + mixed)
    np.testing.assert_allclose(got["rnn"], state, atol=1e-5)


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_a_loop_in_python_is_made_of_ordinary_calls(eager: bool) -> None:
    layer = OwnLoop(CompositeCell(3, name="cell"), name="rnn")
    model, x = model_of(layer), sequences()
    got = tfdump.activations(model, x, eager=eager, layers="*cell.inside*")
    assert list(got) == ["rnn.cell.inside", *(f"rnn.cell@{step}.inside" for step in range(1, TIME))]
    for step, value in enumerate(got.values()):
        expected = x[:, step] @ layer.cell.inside.kernel.numpy() + layer.cell.inside.bias.numpy()
        np.testing.assert_allclose(value, expected, atol=1e-5)


def test_both_directions_show_what_is_around_their_loops() -> None:
    both = layers.Bidirectional(Surrounded(3, return_sequences=True, name="gru"), name="both")
    model, x = model_of(both), sequences()
    got = tfdump.activations(model, x)
    sides = ("both.forward_gru", "both.backward_gru")
    assert list(got) == [f"{side}{part}" for side in sides for part in (".proj", ".norm", "")] + ["both"]
    for side, layer in zip(sides, (both.forward_layer, both.backward_layer), strict=True):
        expected = x @ layer.proj.kernel.numpy() + layer.proj.bias.numpy()
        np.testing.assert_allclose(got[f"{side}.proj"], expected, atol=1e-5)


def test_stacked_cells_stay_hidden_beside_layers_that_do_not() -> None:
    class Stacked(layers.RNN):
        def __init__(self, cells: Any, **options: Any) -> None:
            super().__init__(cells, **options)
            self.after = layers.Dense(2, name="after")

        def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
            return self.after(super().call(sequences, initial_state, mask, training))

    layer = Stacked([layers.LSTMCell(3, name="one"), layers.GRUCell(2, name="two")], name="rnn")
    layer.after.build((None, 2))
    model, x = model_of(layer), sequences()
    plain = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])
    plain(x)
    plain.set_weights([weight.numpy() for weight in layer.cell.weights])
    got = tfdump.activations(model, x)
    assert list(got) == ["rnn.after", "rnn"]
    expected = np.asarray(plain(x)) @ layer.after.kernel.numpy() + layer.after.bias.numpy()
    np.testing.assert_allclose(got["rnn.after"], expected, atol=1e-5)


def test_time_distributed_layers_before_a_convolutional_loop() -> None:
    layer = FramedConvolution(2, 3, padding="same", name="rnn")
    model, x = model_of(layer, (TIME, 4, 4, 1)), sequences(4, 4, 1)
    got = tfdump.activations(model, x)
    assert list(got) == ["rnn.each.conv", "rnn.each", "rnn"]
    conv = layer.each.layer
    expected = x @ conv.kernel.numpy()[0, 0] + conv.bias.numpy()
    np.testing.assert_allclose(got["rnn.each.conv"], expected, atol=1e-5)


def test_gradients_with_respect_to_layers_around_the_loop() -> None:
    """The gradient of the sum of a normalization's output with respect to that output is 1."""
    model, x = model_of(Surrounded(3, return_sequences=True, name="gru")), sequences()
    got = tfdump.gradients(model, x, objective="sum", wrt=("activations", "weights"))
    np.testing.assert_array_equal(got.activations["gru.norm"], np.ones((4, TIME, 3), "float32"))
    assert set(got.activations) == {"gru.proj", "gru.norm", "gru"}
    assert {"gru.proj.kernel", "gru.norm.gamma"} <= set(got.weights)


def test_a_layer_that_is_not_called_is_not_said_to_be_in_the_loop(recwarn: pytest.WarningsRecorder) -> None:
    class Unused(Surrounded):
        def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
            return layers.GRU.call(self, self.proj(sequences), initial_state, mask, training)

    assert list(tfdump.activations(model_of(Unused(3, name="gru")), sequences())) == ["gru.proj", "gru"]
    messages = " ".join(str(warning.message) for warning in recwarn)
    assert "gru.norm (never called by the model)" in messages
