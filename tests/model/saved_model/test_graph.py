"""SavedModels: their tensors are those of the network that was saved, under the same addresses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support import tiny_models
from support.command import ROOT, SAMPLES
from support.saved_formats import exported, sample, saved
from support.tiny_models import floats
from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.saved_model.graph import SavedGraphProbe
from tfdump.run import pipeline

pytestmark = pytest.mark.tensorflow

DATA = ROOT / "tests" / "data"
NO_TRACE = {"dropout"}
"""Layers that hand on their own input at inference, and so leave no operation in the graph."""


def close(got: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class Module(tf.Module):
    """A module that is no Keras model, with signatures of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = tf.Variable(0.0, name="counter")
        self.weight = tf.Variable(np.eye(3, dtype="float32") * 2, name="weight")
        words = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
        self.table = tf.lookup.StaticHashTable(words, -1)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def count(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        self.counter.assign_add(1.0)
        return {"y": tf.matmul(x, self.weight) + self.counter}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def look(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        numbers = self.table.lookup(text)
        return {"ids": numbers, "squares": tf.square(numbers)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def draw(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + tf.random.uniform(tf.shape(x))}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x")])
    def fixed(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        doubled = tf.nn.relu(x) * 2
        looped = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2), [0, doubled])[1]
        return {"y": looped}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="k")])
    def scalar(self, k: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": k * 2}


class Positions(layers.Layer):
    """Gives twice a table of its own, whatever it is called with."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(shape=(1, 4, 3), name="table")
        self.table.assign(np.arange(12).reshape(1, 4, 3))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.table * 2.0


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tf.random.set_seed(None)  # else the operations are saved with one
    made = Module()
    names = ("count", "look", "draw", "fixed", "scalar")
    return saved(
        made, tmp_path_factory.mktemp("module") / "m", signatures={name: getattr(made, name) for name in names}
    )


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(sample("digits_cnn"), tmp_path_factory.mktemp("cnn") / "digits_cnn")


# --- addresses and values


@pytest.mark.parametrize("how", [exported, saved])
def test_every_layer_of_the_sample_cnn_by_hand(tmp_path: Path, how: Callable[..., Path]) -> None:
    model, x = sample("digits_cnn"), np.load(SAMPLES / "digits.npy")[:20]
    got = tfdump.activations(how(model, tmp_path / "m"), x, trust=True)
    layer = model.get_layer
    expected = {"conv1": layer("conv1")(x)}
    expected["bn1"] = layer("bn1")(expected["conv1"], training=False)
    expected["relu1"] = layer("relu1")(expected["bn1"])
    expected["conv2"] = layer("conv2")(expected["relu1"])
    expected["bn2"] = layer("bn2")(expected["conv2"], training=False)
    expected["add"] = expected["bn2"] + expected["relu1"]
    for name, before in (("relu2", "add"), ("pool", "relu2"), ("flatten", "pool"), ("hidden", "flatten")):
        expected[name] = layer(name)(expected[before])
    expected["logits"] = layer("logits")(expected["hidden"])
    expected["predictions"] = layer("predictions")(expected["logits"])
    for address, value in expected.items():
        close(got[address], np.asarray(value))
    order = [address for address in got if address in expected]
    assert order == list(expected)
    kernel, bias = layer("hidden").get_weights()
    close(got["hidden:op.MatMul"], np.asarray(expected["flatten"]) @ kernel)
    close(got["hidden:op.BiasAdd"], np.asarray(expected["flatten"]) @ kernel + bias)


@pytest.mark.parametrize("name", ["digits_cnn", "wine_mlp", "twice", "text_gru", "siamese"])
@pytest.mark.parametrize("how", [exported, saved])
def test_every_sample_model_pairs_with_its_keras_dump(tmp_path: Path, name: str, how: Callable[..., Path]) -> None:
    model = sample(name)
    x = {
        "digits_cnn": lambda: np.load(SAMPLES / "digits.npy")[:5],
        "twice": lambda: np.load(SAMPLES / "digits.npy")[:5],
        "wine_mlp": lambda: np.load(SAMPLES / "wine.npy")[:5],
        "text_gru": lambda: np.array([[3, 4, 0, 0], [5, 6, 7, 8], [9, 0, 0, 0]], np.int32),
        "siamese": lambda: tuple(floats(5, 8, 8, 1, seed=seed) for seed in (1, 2)),
    }[name]()
    keras_dump = tfdump.activations(model, x)
    dump = tfdump.activations(how(model, tmp_path / "m"), x, trust=True)
    assert set(keras_dump) - set(dump) == NO_TRACE & set(keras_dump)
    for address in set(keras_dump) & set(dump):
        close(dump[address], keras_dump[address])


@pytest.mark.parametrize(
    "case",
    [
        tiny_models.functional_with_nodes,
        tiny_models.shared_layer,
        tiny_models.submodel_twice,
        tiny_models.time_distributed,
        tiny_models.decorated,
    ],
)
def test_the_expected_values_of_models_worked_out_by_hand(tmp_path: Path, case: Callable[[], tiny_models.Case]) -> None:
    made = case()
    made.model(made.x)
    got = tfdump.activations(saved(made.model, tmp_path / "m"), made.x, trust=True)
    expected = {address: value for address, value in made.expected.items() if address != "steps.inner"}
    assert set(expected) <= set(got)  # the steps of TimeDistributed are operations of their own in a graph
    for address, value in expected.items():
        close(got[address], value)


def test_a_layer_that_hands_on_a_table_keeps_it(tmp_path: Path) -> None:
    x = keras.Input((4, 3), name="x")
    table = Positions(name="positions")
    model = keras.Model(x, layers.Dense(2, name="out")(layers.Add(name="total")([x, table(x)])))
    got = tfdump.activations(exported(model, tmp_path / "m"), floats(5, 4, 3), trust=True)
    values = np.arange(12, dtype="float32").reshape(1, 4, 3)
    np.testing.assert_array_equal(got["positions"], values * 2)
    close(got["total"], floats(5, 4, 3) + values * 2)
    assert not any("ReadVariableOp" in address for address in got)


def test_a_mask_is_not_the_output_of_the_layer_that_makes_it() -> None:
    """In SavedModels of Keras 2 the next layers read the mask of a layer, which it makes behind its values."""
    with np.load(DATA / "keras2_masks.npz") as archive:
        stored = dict(archive)
    x = {key[2:]: value for key, value in stored.items() if key.startswith("x:")}
    got = tfdump.activations(DATA / "keras2_masks", x, trust=True)
    for address, value in ((key[2:], value) for key, value in stored.items() if key.startswith("y:")):
        close(got[address], value)
    assert got["embedding:op.NotEqual"].dtype == bool


def test_a_layer_of_two_outputs_has_none_that_bears_its_name_alone(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    x = keras.Input((4, 3), name="x")
    whole, state = layers.SimpleRNN(5, return_sequences=True, return_state=True, unroll=True, name="rnn")(x)
    model = keras.Model(x, layers.Dense(2, name="out")(whole) + layers.Dense(2, name="other")(state)[:, None])
    got = tfdump.activations(exported(model, tmp_path / "m"), floats(6, 4, 3), trust=True)
    assert "rnn" not in got
    assert any("rnn (it gives several tensors" in str(warning.message) for warning in recwarn)


def test_a_loop_is_named_as_not_captured(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    x = keras.Input((4, 3), name="x")
    model = keras.Model(x, layers.LSTM(5, name="lstm")(x))
    got = tfdump.activations(exported(model, tmp_path / "m"), floats(6, 4, 3), trust=True)
    close(got["lstm"], np.asarray(model(floats(6, 4, 3))))
    assert "lstm.lstm_cell" not in got  # the call outside of the loop, which serves a shape
    assert any("lstm:op.while.body (inside a loop" in str(warning.message) for warning in recwarn)


def test_a_selection_by_type_and_layer(cnn: Path) -> None:
    x = np.load(SAMPLES / "digits.npy")[:3]
    assert set(tfdump.activations(cnn, x, layers="type:Conv2D", trust=True)) == {
        "conv1:op.convolution",
        "conv2:op.convolution",
    }
    assert set(tfdump.activations(cnn, x, layers="pool", trust=True)) == {"pool"}


def test_the_batch_size_does_not_matter(cnn: Path) -> None:
    x = np.load(SAMPLES / "digits.npy")[:7]
    whole = tfdump.activations(cnn, x, trust=True)
    by_two = tfdump.activations(cnn, x, trust=True, batch_size=2)
    for address, value in whole.items():
        close(by_two[address], value)


def test_batches_are_tensors_before_they_begin(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = []
    run = SavedGraphProbe.run

    def watched(probe: SavedGraphProbe, batch: Any) -> Any:
        fed.append([isinstance(value, tf.Tensor) for value in batch.values()])
        return run(probe, batch)

    monkeypatch.setattr(SavedGraphProbe, "run", watched)
    monkeypatch.setattr(pipeline, "cores", lambda: 2)
    tfdump.activations(cnn, np.load(SAMPLES / "digits.npy")[:7], trust=True, batch_size=2)
    assert fed[-3:] == [[True]] * 3  # the first batch was run to plan


# --- signatures


def test_several_signatures_must_be_chosen_from(module: Path) -> None:
    with pytest.raises(ModelError, match="choose one with signature: count, draw, fixed, look, scalar"):
        tfdump.layers(module, trust=True)
    with pytest.raises(ModelError, match="no signature 'loook'; near: 'look'"):
        tfdump.layers(module, trust=True, signature="loook")


def test_a_table_that_cannot_be_frozen(module: Path) -> None:
    got = tfdump.activations(module, np.array(["a", "z", "b"]), trust=True, signature="look")
    np.testing.assert_array_equal(got["None_Lookup"], [1, -1, 2])
    np.testing.assert_array_equal(got["square"], [1, 1, 4])


def test_variables_that_a_signature_changes_begin_anew(module: Path, recwarn: pytest.WarningsRecorder) -> None:
    x = floats(4, 3)
    for _ in range(2):
        got = tfdump.activations(module, x, trust=True, signature="count", batch_size=2)
        counts = np.array([[1], [1], [2], [2]])
        close(got["add"], x * 2 + counts)
    assert any("changes variables while it runs" in str(w.message) and "counter" in str(w.message) for w in recwarn)


def test_random_numbers_repeat_with_the_seed(module: Path) -> None:
    def drawn(seed: int) -> np.ndarray:
        got = tfdump.activations(module, np.zeros((4, 3), "float32"), trust=True, signature="draw", seed=seed)
        return np.asarray(got["add"])

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_a_fixed_batch_and_a_loop(module: Path, recwarn: pytest.WarningsRecorder) -> None:
    x = floats(5, 3)
    got = tfdump.activations(module, x, trust=True, signature="fixed")
    close(got["relu"], np.maximum(x, 0))
    close(got["multiply"], np.maximum(x, 0) * 2)
    assert any("while.body" in str(warning.message) for warning in recwarn)
    with tfdump.open(_dump(module, x)) as dump:
        close(dump["outputs/y"].read(), np.maximum(x, 0) * 16)


def _dump(model: Path, x: np.ndarray) -> Path:
    """A dump of the signature `fixed`, beside the model."""
    from tfdump.cli import main

    folder = model.parent
    np.save(folder / "x.npy", x)
    arguments = ["activations", model, folder / "x.npy", "--trust-model", "--signature", "fixed", "-f", "-q"]
    assert main.run([*map(str, arguments), "-o", str(folder / "d.h5")]) == 0
    return folder / "d.h5"


def test_an_input_without_an_example_axis_is_refused(module: Path) -> None:
    with pytest.raises(ModelError, match="'k', a single number without an example axis"):
        tfdump.activations(module, np.zeros(3, "float32"), trust=True, signature="scalar")


# --- trust, and what makes no sense


def test_a_saved_model_needs_trust(cnn: Path) -> None:
    with pytest.raises(UntrustedModelError, match="trust=True"):
        tfdump.layers(cnn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": True}, "training=True needs a Keras model"),
        ({"eager": True}, "eager=True needs a Keras model"),
        ({"dequantize": True}, "dequantize=True is for quantized .tflite and .onnx files"),
    ],
)
def test_options_that_need_layers_are_refused(cnn: Path, options: dict[str, bool], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tfdump.activations(cnn, np.load(SAMPLES / "digits.npy")[:3], trust=True, **options)


# --- gradients


def test_input_gradients_against_finite_differences(tmp_path: Path) -> None:
    model = sample("wine_mlp")
    x = np.load(SAMPLES / "wine.npy")[:4]
    folder = exported(model, tmp_path / "m")
    got = tfdump.gradients(folder, x, wrt="inputs", objective="output_0[1]", trust=True)["analysis"]
    step = 1e-2
    for row, column in ((0, 0), (1, 5), (3, 12)):
        ahead, behind = x.copy(), x.copy()
        ahead[row, column] += step
        behind[row, column] -= step
        slope = (np.asarray(model(ahead))[row, 1] - np.asarray(model(behind))[row, 1]) / (2 * step)
        np.testing.assert_allclose(got[row, column], slope, rtol=2e-2, atol=2e-5)


def test_a_loss_by_name_against_the_tape(cnn: Path) -> None:
    model = sample("digits_cnn")
    x, y = np.load(SAMPLES / "digits.npy")[:6], np.load(SAMPLES / "digits_labels.npy")[:6]
    got = tfdump.gradients(cnn, x, y, wrt="inputs", loss="sparse_categorical_crossentropy", trust=True, batch_size=4)
    watched = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        picked = tf.gather(model(watched), y, axis=1, batch_dims=1)
        loss = -tf.reduce_mean(tf.math.log(picked))
    np.testing.assert_allclose(got["image"], tape.gradient(loss, watched), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(got.loss, float(loss), rtol=1e-4)


@pytest.mark.parametrize("wrt", ["weights", "activations", ("inputs", "weights")])
def test_other_gradients_of_a_saved_model_are_refused(cnn: Path, wrt: object) -> None:
    with pytest.raises(ModelError, match=r"gradients with respect to its inputs only \(use wrt='inputs'"):
        tfdump.gradients(cnn, np.load(SAMPLES / "digits.npy")[:3], wrt=wrt, objective="sum", trust=True)
