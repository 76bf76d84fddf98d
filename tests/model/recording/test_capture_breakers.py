"""Odd layers, threads and graphs under the capture options: each once went wrong."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, Model, layers, ops

import tfdump
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow
register = keras.saving.register_keras_serializable(package="capture_breakers")


def messages_of(recwarn: pytest.WarningsRecorder) -> str:
    return " | ".join(str(warning.message) for warning in recwarn)


# --- numbers that must not depend on what is asked for


@pytest.mark.parametrize("seed", range(4))
def test_chains_of_constants_are_not_folded_across_what_may_be_asked_for(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = inputs = Input((6,))
    for number in range(5):
        scale, offset = rng.uniform(0.1, 3, 2)
        x = layers.Rescaling(scale, offset * (number % 2), name=f"r{number}")(x * float(scale) - float(offset))
    Model(inputs, x).save(tmp_path / "m.keras")
    model, data = keras.models.load_model(tmp_path / "m.keras"), floats(7, 6)
    every = tfdump.activations(model, data, batch_size=7)
    for address in ("r2", "r4"):
        alone = tfdump.activations(model, data, batch_size=7, layers=address)[address]
        np.testing.assert_array_equal(alone, every[address])


def test_the_rewrites_of_the_process_are_left_alone() -> None:
    before = dict(tf.config.optimizer.get_experimental_options())
    model = keras.Sequential([Input((4,)), layers.Dense(3)])
    workers = [threading.Thread(target=lambda: tfdump.activations(model, floats(8, 4), batch_size=2)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert dict(tf.config.optimizer.get_experimental_options()) == before
    from tensorflow.python.eager import context

    assert (
        context.context().function_call_options.config_proto_serialized
        == context.FunctionCallOptions(config_proto=_soft(context.context().config)).config_proto_serialized
    )


def _soft(config: Any) -> Any:
    config.allow_soft_placement = True
    return config


# --- activations


class Own(layers.Layer):
    """A layer whose call does with its activation what `use` says."""

    def __init__(self, use: Callable[..., Any], activation: Any = "relu", **options: Any) -> None:
        super().__init__(**options)
        self.use = use
        self.activation = keras.activations.get(activation) if isinstance(activation, str) else activation

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1],), initializer="ones", name="w")

    def call(self, x: Any) -> Any:
        return self.use(self, x)


X = floats(5, 3)
USES: dict[str, tuple[Any, Callable[..., Any], dict[str, np.ndarray]]] = {
    "a variable": ("softplus", lambda s, x: x * s.activation(s.w), {":preactivation": np.ones(3, "float32")}),
    "a NumPy scalar": ("relu", lambda s, x: x * s.activation(np.float32(0.3)), {":preactivation": np.float32(0.3)}),
    "a keyword": ("relu", lambda s, x: s.activation(x=x), {":preactivation": X}),
    "a list": (
        lambda pair: pair[0] + pair[1],
        lambda s, x: s.activation([x, x + 1]),
        {":preactivation.0": X, ":preactivation.1": X + 1},
    ),
    "an equal": (
        keras.activations.relu,
        lambda s, x: s.activation(x) + (1.0 if s.activation == keras.activations.relu else 0.0),
        {":preactivation": X},
    ),
    "an attribute of a layer": (
        layers.LeakyReLU(0.25),
        lambda s, x: s.activation(x) * s.activation.negative_slope,
        {":preactivation": X},
    ),
    "twice": (
        "tanh",
        lambda s, x: s.activation(s.activation(x)),
        {":preactivation": X, ":preactivation.1": np.tanh(X)},
    ),
}


@pytest.mark.parametrize("name", USES)
def test_an_activation_may_be_called_with_anything(name: str) -> None:
    activation, use, expected = USES[name]
    inputs = Input((3,))
    model = Model(inputs, Own(use, activation, name="own")(inputs))
    plain, got = (tfdump.activations(model, X, preactivation=asked) for asked in (False, True))
    np.testing.assert_array_equal(got["own"], plain["own"])
    preactivations = {address.removeprefix("own"): value for address, value in got.items() if ":pre" in address}
    assert preactivations.keys() == expected.keys()
    for suffix, value in expected.items():
        np.testing.assert_allclose(preactivations[suffix], value, rtol=1e-6)


def test_layers_whose_activation_is_not_seen_are_named(recwarn: pytest.WarningsRecorder) -> None:
    inputs = Input((4, 3))
    hidden = layers.LSTM(2, name="rnn")(layers.Dense(3, "relu", name="dense")(inputs))
    model = Model(inputs, Own(lambda layer, x: x * 2, name="idle")(hidden))
    got = tfdump.activations(model, floats(5, 4, 3), preactivation=True)
    assert {address for address in got if ":" in address} == {"dense:preactivation"}
    assert "not captured: rnn:preactivation (the activation of a recurrent layer works within its loop" in messages_of(
        recwarn
    )
    assert "not captured: idle:preactivation (the layer's call does not use its activation)" in messages_of(recwarn)


class Again(layers.Layer):
    """Calls itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.activation = keras.activations.tanh

    def call(self, x: Any, depth: int = 2) -> Any:
        if depth:
            x = self(x, depth=depth - 1)
        return self.activation(x * 2.0)


def test_a_layer_that_calls_itself_hands_its_own_tensor_to_its_activation() -> None:
    inputs = Input((3,))
    got = tfdump.activations(Model(inputs, Again(name="again")(inputs)), X, preactivation=True)
    once = np.tanh(2 * X)
    twice = np.tanh(2 * once)
    np.testing.assert_allclose(got["again.again.again:preactivation"], 2 * X, rtol=1e-6)
    np.testing.assert_allclose(got["again.again:preactivation"], 2 * once, rtol=1e-6)
    np.testing.assert_allclose(got["again:preactivation"], 2 * twice, rtol=1e-6)
    assert not any(":preactivation." in address for address in got)


class Slow(layers.Layer):
    """Takes its time while it is traced."""

    def call(self, x: Any) -> Any:
        time.sleep(0.4)
        return x * 2.0


def test_a_vectorized_map_of_another_thread_hides_nothing() -> None:
    stop = threading.Event()

    def other() -> None:
        while not stop.is_set():
            tf.vectorized_map(lambda z: (time.sleep(0.1), z * 2)[1], tf.ones((3, 2)))

    thread = threading.Thread(target=other)
    inputs = Input((3,))
    model = Model(inputs, layers.Dense(2, name="o")(Slow(name="s2")(layers.Dense(3, name="d")(Slow(name="s")(inputs)))))
    thread.start()
    try:
        got = tfdump.activations(model, X)
    finally:
        stop.set()
        thread.join()
        tf.config.run_functions_eagerly(False)  # which vectorized_map sets back to what it was when it began
    assert set(got) == {"s", "d", "s2", "o"}


# --- recurrent layers


class Counting(layers.Layer):
    """A cell with a step counter, a state without an axis for the examples."""

    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.state_size, self.output_size = units, [units, ()], units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [ops.zeros((batch_size, self.units)), ops.zeros(())]

    def call(self, x: Any, states: Any) -> Any:
        h, n = states
        h = h + ops.matmul(x, self.kernel) * n
        return h, [h, n + 1]


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_state_without_examples_is_a_row_of_steps(unroll: bool, backwards: bool) -> None:
    inputs, x = Input((5, 4)), floats(6, 5, 4)
    rnn = layers.RNN(Counting(), name="rnn", unroll=unroll, go_backwards=backwards)
    model = Model(inputs, rnn(inputs))
    got, plain = tfdump.activations(model, x, rnn_steps=True), tfdump.activations(model, x)
    np.testing.assert_array_equal(got["rnn"], plain["rnn"])
    steps = np.arange(1, 6, dtype="float32")
    np.testing.assert_array_equal(got["rnn:states.1"], steps[::-1] if backwards else steps)
    order = range(4, -1, -1) if backwards else range(5)
    h = np.zeros((6, 3))
    for count, t in enumerate(order):
        h = h + x[:, t] @ np.asarray(rnn.cell.kernel) * count
        np.testing.assert_allclose(got["rnn:states.0"][:, t], h, atol=1e-5)


class Wrapping(layers.Layer):
    """A cell that runs an LSTM's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.LSTMCell(3)
        self.state_size, self.output_size = [3, 3], 3

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any, states: Any) -> Any:
        return self.inner(x, states)


def test_the_gates_of_a_cell_within_a_cell() -> None:
    inputs, x = Input((5, 4)), floats(6, 5, 4)
    model = Model(inputs, layers.RNN(Wrapping(), name="rnn")(inputs))
    got = tfdump.activations(model, x, rnn_steps=True, rnn_gates=True)
    memory = got["rnn:states.1"]
    before = np.concatenate([np.zeros_like(memory[:, :1]), memory[:, :-1]], axis=1)
    updated = got["rnn:gates.forget"] * before + got["rnn:gates.input"] * got["rnn:gates.cell"]
    np.testing.assert_allclose(updated, memory, atol=1e-6)


# --- attention


class OverAxes(layers.Layer):
    """Its softmax goes over two axes."""

    def call(self, x: Any) -> Any:
        return ops.softmax(x, axis=(1, 2))


class OfTensorFlow(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.softmax(x)


class ByLayers(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scores = keras.Sequential([layers.Dense(1, name="one"), layers.Softmax(axis=1, name="soft")])

    def call(self, x: Any) -> Any:
        return ops.sum(self.scores(x) * x, axis=1)


class ByDense(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scores = layers.Dense(5, activation="softmax", name="scores")

    def call(self, x: Any) -> Any:
        return ops.matmul(self.scores(x), x)


for kind in (OverAxes, OfTensorFlow, ByLayers, ByDense):  # named for attention as users do
    kind.__name__ = f"{kind.__name__}Attention"


@pytest.mark.parametrize("kind", [OverAxes, OfTensorFlow, ByLayers, ByDense], ids=lambda kind: kind.__name__)
def test_scores_by_other_ways(kind: type[layers.Layer]) -> None:
    inputs, x = Input((5, 2), batch_size=3), floats(3, 5, 2)
    layer = kind(name="attend")
    got = tfdump.activations(Model(inputs, layer(inputs)), x, attention=True)
    if kind is OverAxes:
        raised = np.exp(x)
        expected = raised / raised.sum((1, 2), keepdims=True)
    elif kind is OfTensorFlow:
        raised = np.exp(x)
        expected = raised / raised.sum(-1, keepdims=True)
    else:
        dense = layer.scores.layers[0] if kind is ByLayers else layer.scores
        kernel, bias = dense.get_weights()
        raised = np.exp(x @ kernel + bias)
        expected = raised / raised.sum(1 if kind is ByLayers else -1, keepdims=True)
    np.testing.assert_allclose(got["attend:attention_scores"], expected, atol=1e-6)


class AttentionClassifier(Model):
    """A whole model named for attention, with class probabilities."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attend = layers.MultiHeadAttention(1, 2, name="attend")
        self.head = layers.Dense(3, name="head")

    def call(self, x: Any) -> Any:
        return ops.softmax(self.head(self.attend(x, x)))


class AttentionMixture(layers.Layer):
    """Attention, then a router."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attend = layers.MultiHeadAttention(1, 2, name="attend")
        self.router = layers.Dense(3, name="router")

    def call(self, x: Any) -> Any:
        return ops.softmax(self.router(self.attend(x, x)))


def test_probabilities_of_classes_and_routers_are_no_scores() -> None:
    inputs, x = Input((5, 2)), floats(3, 5, 2)
    mixture = AttentionMixture(name="mixture")(inputs)
    model = Model(inputs, [AttentionClassifier(name="classifier")(inputs), mixture])
    got = tfdump.activations(model, x, attention=True)
    scores = {address for address in got if "attention_scores" in address}
    assert scores == {"classifier.attend:attention_scores", "mixture.attend:attention_scores"}


def test_a_softmax_that_is_the_whole_model() -> None:
    with pytest.raises(tfdump.TfdumpError, match="the Softmax 'soft' has no layers inside"):
        tfdump.activations(layers.Softmax(name="soft"), X, attention=True)


def test_a_variable_among_the_arguments_is_an_input() -> None:
    class Scaled(layers.Layer):
        def call(self, x: Any, scale: Any) -> Any:
            return x * scale

    class Outer(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = Scaled(name="inner")
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            return self.inner(x, self.scale)

    inputs = Input((3,))
    got = tfdump.activations(Model(inputs, Outer(name="outer")(inputs)), X, layer_inputs=True)
    np.testing.assert_array_equal(got["outer.inner:input.x"], X)
    np.testing.assert_array_equal(got["outer.inner:input.scale"], np.ones(3))


def test_no_advice_that_was_followed(recwarn: pytest.WarningsRecorder) -> None:
    inputs = Input((5, 4))
    hidden = layers.LSTM(4, return_sequences=True, name="rnn")(inputs)
    model = Model(inputs, layers.MultiHeadAttention(1, 2, name="attend")(hidden, hidden))
    tfdump.activations(model, floats(3, 5, 4), rnn_steps=True, attention=True)
    assert "not captured: rnn.lstm_cell" in messages_of(recwarn)
    assert "gives its" not in messages_of(recwarn)
    with pytest.raises(tfdump.TfdumpError, match=r"near: 'rnn:gates\.forget'"):
        tfdump.activations(model, floats(3, 5, 4), rnn_gates=True, layers="rnn:gates.forgot")


class Idle(Model):
    """Owns a recurrent layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = layers.LSTM(2, name="idle")
        self.attend = layers.MultiHeadAttention(1, 2, name="attend")
        self.simple = layers.SimpleRNN(2, name="simple")

    def call(self, x: Any) -> Any:
        attended, scores = self.attend(x, x, return_attention_scores=True)
        return self.simple(attended), scores


def test_the_reasons_are_true() -> None:
    """Scores that were asked for are not computed by the fused operation, and a SimpleRNN has no gates."""
    model, x = Idle(), floats(3, 5, 4)
    model.idle.build(x.shape)
    model(x)
    with pytest.warns(tfdump.TfdumpWarning) as noted:
        tfdump.activations(model, x, preactivation=True)
    reasons = " | ".join(str(warning.message) for warning in noted)
    assert re.search(r"idle, idle\.lstm_cell\w*, attend\.dropout\w* \(never called by the model\)", reasons)
    assert "simple:preactivation (the activation of a recurrent layer works within its loop)" in reasons
    assert "fused" not in reasons


# --- code that ends the process


class Ending(layers.Layer):
    """Ends the process where there are values, or `always`."""

    always = False

    def call(self, x: Any) -> Any:
        if self.always or tf.executing_eagerly():
            raise SystemExit("enough")
        return x


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.filterwarnings("ignore:the model cannot be traced")
def test_a_layer_that_ends_the_process_is_an_error_of_the_model(traced: bool) -> None:
    x = Input((2,))
    layer = Ending(name="ending")
    model = Model(x, layer(x))
    layer.always = traced
    with pytest.raises(tfdump.TfdumpError, match="the model fails on this input: enough"):
        tfdump.activations(model, floats(3, 2), eager=not traced)
