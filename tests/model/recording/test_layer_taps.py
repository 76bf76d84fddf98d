"""What goes into layers and into their activations, on saved models, against NumPy; layers within TimeDistributed."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.tiny_models import CASES, Looping, floats
from tfdump.captures import Captures

pytestmark = pytest.mark.tensorflow
register = keras.saving.register_keras_serializable(package="tap_tests")


def save(tmp_path: Path, model: keras.Model) -> Path:
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_preactivations_by_hand(tmp_path: Path) -> None:
    inputs, x = keras.Input((5,)), floats(7, 5)
    dense = layers.Dense(5, activation="relu", bias_initializer="ones", name="dense")
    hidden = layers.Dense(4, activation=layers.LeakyReLU(name="leaky"), name="slanted")(dense(dense(inputs)))
    hidden = layers.Activation("tanh", name="apart")(layers.Dense(4, name="linear")(hidden))
    path = save(tmp_path, keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(hidden)))
    model = keras.models.load_model(path)
    got = tfdump.activations(path, x, preactivation=True)
    kernel, bias = model.get_layer("dense").get_weights()
    first = x @ kernel + bias
    np.testing.assert_allclose(got["dense:preactivation"], first, atol=1e-6)
    np.testing.assert_allclose(got["dense@1:preactivation"], np.maximum(first, 0) @ kernel + bias, atol=2e-6)
    for name, before in (("slanted", "dense@1"), ("head", "apart")):
        kernel, bias = model.get_layer(name).get_weights()
        np.testing.assert_allclose(got[f"{name}:preactivation"], got[before] @ kernel + bias, atol=2e-6)
    assert [address for address in got if "preactivation" in address] == [
        "dense:preactivation", "dense@1:preactivation", "slanted:preactivation", "head:preactivation",
    ]  # fmt: skip
    np.testing.assert_allclose(got["slanted.leaky"], got["slanted"])


def test_the_preactivation_of_an_int8_layer(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, activation="relu", name="dense")])
    model.quantize("int8")
    path, x = save(tmp_path, model), floats(6, 16)
    got = tfdump.activations(path, x, preactivation=True)
    layer = keras.models.load_model(path).get_layer("dense")
    scale = 127 / np.maximum(np.abs(x).max(1, keepdims=True), 1e-7)
    quantized = np.clip(np.round(x * scale), -127, 127)
    product = quantized @ np.asarray(layer._kernel, "float64") / scale / np.asarray(layer.kernel_scale)
    np.testing.assert_allclose(got["dense:preactivation"], product + np.asarray(layer.bias), atol=1e-5)
    np.testing.assert_array_equal(got["dense"], np.maximum(got["dense:preactivation"], 0))


def test_inputs_are_what_the_layers_before_returned(tmp_path: Path) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    first = layers.Dense(4, name="first")
    merged = layers.Add(name="merged")([first(left), first(right)])
    tall = layers.Reshape((2, 2), name="tall")(merged)
    attended = layers.MultiHeadAttention(1, 2, name="attend")(tall, tall)
    path = save(tmp_path, keras.Model([left, right], layers.Flatten(name="flat")(attended)))
    a, b = floats(5, 4), floats(5, 4, seed=1)
    got = tfdump.activations(path, {"left": a, "right": b}, layer_inputs=True)
    expected = {
        "first:input": a,
        "first@1:input": b,
        "merged:input.0": got["first"],
        "merged:input.1": got["first@1"],
        "tall:input": got["merged"],
        "attend:input.query": got["tall"],
        "attend:input.value": got["tall"],
        "attend.query:input": got["tall"],
        "flat:input": got["attend"],
    }
    for address, value in expected.items():
        np.testing.assert_array_equal(got[address], value, err_msg=address)
    assert not any(address.startswith(":") for address in got)


def test_masks_stand_beside_the_data_and_casts_are_seen(tmp_path: Path) -> None:
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 3, mask_zero=True, name="embed")(tokens)
    recurrent = layers.SimpleRNN(2, name="rnn")(embedded)
    path = save(tmp_path, keras.Model(tokens, layers.Dense(2, dtype="mixed_float16", name="half")(recurrent)))
    x = np.array([[1, 2, 0, 0], [3, 4, 5, 6]], "int32")
    got = tfdump.activations(path, x, layer_inputs=True)
    np.testing.assert_array_equal(got["embed:input"], x)
    np.testing.assert_array_equal(got["rnn:input"], got["embed"])
    np.testing.assert_array_equal(got["rnn:input.mask"], x != 0)
    assert got["half:input"].dtype == np.float16
    np.testing.assert_array_equal(got["half:input"], got["rnn"].astype("float16"))


def block(inputs: Any) -> Any:
    hidden = layers.Dense(4, activation="tanh", name="inner")(inputs)
    return layers.Dense(2, name="outer")(layers.Dropout(0.5, name="drop")(hidden))


def test_layers_within_time_distributed_have_a_time_axis(tmp_path: Path) -> None:
    small = keras.Input((5,))
    submodel = keras.Model(small, block(small), name="encoder")
    inputs, x = keras.Input((3, 5)), floats(6, 3, 5)
    path = save(tmp_path, keras.Model(inputs, layers.TimeDistributed(submodel, name="every")(inputs)))
    encoder = keras.models.load_model(path).get_layer("every").layer
    (k1, b1), (k2, b2) = (encoder.get_layer(name).get_weights() for name in ("inner", "outer"))
    before = x @ k1 + b1
    got = tfdump.activations(path, x, preactivation=True, layer_inputs=True, batch_size=4)
    expected = {
        "every.encoder.inner:input": x,
        "every.encoder.inner:preactivation": before,
        "every.encoder.inner": np.tanh(before),
        "every.encoder.drop": np.tanh(before),
        "every.encoder.outer": np.tanh(before) @ k2 + b2,
        "every.encoder": np.tanh(before) @ k2 + b2,
        "every": np.tanh(before) @ k2 + b2,
    }
    for address, value in expected.items():
        np.testing.assert_allclose(got[address], value, atol=2e-6, err_msg=address)


@register
class Stamped(layers.Layer):
    """Calls its inner layer only at the first step that it sees after being reset."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.Dense(2, name="inner")
        self.steps = 0

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 2)

    def call(self, x: Any) -> Any:
        self.steps += 1
        return self.inner(x) if self.steps % 3 == 1 else x[:, :2]


def test_what_only_some_steps_call_is_named(recwarn: pytest.WarningsRecorder) -> None:
    inputs = keras.Input((3, 5))
    model = keras.Model(inputs, layers.TimeDistributed(Stamped(name="stamped"), name="every")(inputs))
    got = tfdump.activations(model, floats(4, 3, 5))
    assert set(got) == {"every.stamped", "every"}
    messages = " | ".join(str(warning.message) for warning in recwarn)
    assert "not captured: every.stamped.inner (not the same in every step of the loop)" in messages


def test_bidirectional_within_time_distributed(tmp_path: Path) -> None:
    inputs, x = keras.Input((2, 4, 3)), floats(5, 2, 4, 3)
    both = layers.Bidirectional(layers.LSTM(2, name="rnn"), name="both")
    path = save(tmp_path, keras.Model(inputs, layers.TimeDistributed(both, name="every")(inputs)))
    layer = keras.models.load_model(path).get_layer("every").layer
    got = tfdump.activations(path, x, rnn_steps=True)
    forward = np.stack([np.asarray(layer.forward_layer(x[:, step])) for step in range(2)], axis=1)
    np.testing.assert_allclose(got["every.both.forward_rnn"], forward, atol=2e-6)
    np.testing.assert_allclose(got["every.both.forward_rnn:states.0"][:, :, -1], forward, atol=2e-6)
    np.testing.assert_array_equal(got["every.both"], got["every"])


ALL = dict.fromkeys(Captures.__dataclass_fields__, True)


@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_captured_leaves_every_other_number_as_it_was(name: str) -> None:
    case = CASES[name]()
    plain = tfdump.activations(case.model, case.x, batch_size=4)
    got = tfdump.activations(case.model, case.x, batch_size=4, **ALL)
    assert list(plain) == [address for address in got if address in plain]
    for address, value in plain.items():
        np.testing.assert_array_equal(np.asarray(got[address]), np.asarray(value), err_msg=address)


def test_layers_lists_what_would_be_captured() -> None:
    case = CASES["recurrent"]()
    listed = [tensor.address for tensor in tfdump.layers(case.model, case.x, **ALL)]
    assert listed == list(tfdump.activations(case.model, case.x, **ALL))


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "tanh", "sigmoid", "leaky_relu"])
def test_fused_convolutions_and_products_are_left_as_they_were(activation: str) -> None:
    keras.utils.set_random_seed(1)
    conv = [layers.Conv2D(16, 3, activation=activation), layers.DepthwiseConv2D(3, activation=activation)]
    dense = [layers.Flatten(), layers.Dense(300, activation=activation), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((12, 12, 3)), *conv, layers.BatchNormalization(), *dense])
    x = floats(8, 12, 12, 3)
    plain = tfdump.activations(model, x, batch_size=8)
    got = tfdump.activations(model, x, batch_size=8, preactivation=True)
    assert len(got) == len(plain) + 4
    last = tfdump.activations(model, x, batch_size=8, layers=list(plain)[-1])
    for address, value in plain.items():
        np.testing.assert_array_equal(got[address], value, err_msg=address)
        np.testing.assert_array_equal(last.get(address, value), value, err_msg=address)


class Vectorized(keras.Model):
    """Calls a layer within a vectorized map, which learns its operations from a call that is none of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(3, name="inner")

    def call(self, x: Any) -> Any:
        return keras.ops.vectorized_map(self.inner, x)


@pytest.mark.parametrize("eager", [False, True])
def test_a_vectorized_map_shows_no_tensor_of_one_step(eager: bool, recwarn: pytest.WarningsRecorder) -> None:
    model = Vectorized()
    model.inner.build((2, 5))
    assert tfdump.activations(model, floats(4, 2, 5), eager=eager) == {}
    messages = " | ".join(str(warning.message) for warning in recwarn)
    assert "not captured: inner (inside a vectorised map" in messages


def test_an_eager_run_gives_the_calls_of_a_loop() -> None:
    model, x = Looping(), floats(5, 3)
    model(x)
    got = tfdump.activations(model, x, eager=True)
    kernel, bias = model.inside.get_weights()
    for address in ("inside", "inside@1", "inside@2"):
        x = x @ kernel + bias
        np.testing.assert_allclose(got[address], x, atol=1e-5)
