"""`--like`: the tensors of a `.tflite` file have the addresses of a Keras model, or plain ones, but no wrong ones."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.command import SAMPLES, Run
from support.converted_models import branches, eager, examples, judged, randomized
from support.saved_formats import exported, lite, sample, without_names
from tfdump.errors import ModelError

pytestmark = pytest.mark.tensorflow


def network() -> keras.Model:
    """Convolutions with and without a bias, each with a batch normalization; a branch, a dense layer and a softmax."""
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, use_bias=False, name="conv")(x)
    y = short = layers.BatchNormalization(name="norm")(y)
    y = layers.ReLU(name="relu")(y)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="deep")(y)
    y = layers.BatchNormalization(name="deep_norm")(y)
    y = layers.Add(name="sum")([short, y])
    y = layers.Conv2D(4, 3, activation="relu", name="second")(y)
    y = layers.GlobalAveragePooling2D(name="mean")(y)
    y = layers.Dense(6, name="logits")(layers.Dense(5, activation="tanh", name="hidden")(y))
    return keras.Model(x, layers.Softmax(name="shares")(y), name="net")


def untrained() -> keras.Model:
    keras.utils.set_random_seed(3)
    return network()


def trained() -> keras.Model:
    return randomized(network())


FUSED = {"conv", "deep"}
"""The convolutions, whose outputs are in the tensors of what follows them."""


@pytest.mark.parametrize("make", [untrained, trained])
def test_every_tensor_is_what_its_layer_gives(tmp_path: Path, make: Callable[[], keras.Model]) -> None:
    model = make()
    data = examples(model)
    file = lite(model, tmp_path / "m.tflite")
    verdict = judged(model, file, eager(model, data), data, like=model)
    assert (verdict.wrong, verdict.missing) == (set(), FUSED)
    assert "conv (fused into" in verdict.notes


@pytest.mark.parametrize("make", [untrained, trained])
def test_a_file_without_names(tmp_path: Path, make: Callable[[], keras.Model]) -> None:
    model = make()
    data = examples(model)
    file = without_names(lite(model, tmp_path / "m.tflite"))
    assert judged(model, file, eager(model, data), data).right == set()
    verdict = judged(model, file, eager(model, data), data, like=model)
    assert not verdict.wrong
    assert verdict.missing == FUSED


@pytest.mark.parametrize("how", ["float16", "dynamic", "int8_inside"])
def test_a_quantized_file(tmp_path: Path, how: str) -> None:
    model = trained()
    data = examples(model)
    file = lite(model, tmp_path / "m.tflite", how, data)
    got = tfdump.activations(file, data, like=model, dequantize=True)
    expected = eager(model, data)
    assert set(expected) - set(got) == FUSED
    for address in set(expected) & set(got):
        far = np.linalg.norm(got[address] - expected[address]) / np.linalg.norm(expected[address])
        assert far < 0.1, address


def test_weights_of_another_model_name_nothing(tmp_path: Path) -> None:
    model = trained()
    file = without_names(lite(model, tmp_path / "m.tflite"))
    other = keras.models.clone_model(model)
    rng = np.random.default_rng(8)
    other.set_weights([rng.uniform(0.5, 1.5, w.shape).astype("float32") * w for w in model.get_weights()])
    other.get_layer("second").set_weights([rng.normal(size=w.shape) for w in model.get_layer("second").get_weights()])
    got = tfdump.activations(file, examples(model), like=other)
    assert "second" not in got
    expected = eager(model, examples(model))
    for address in set(got) & {"norm", "relu", "deep_norm"}:
        np.testing.assert_allclose(got[address], expected[address], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("rank", "names"), [(1, ["act_softsign", "dense_celu", "gate"]), (2, ["permute", "flatten"])])
def test_an_operation_that_became_several_or_was_exchanged(tmp_path: Path, rank: int, names: list[str]) -> None:
    """The last part of softsign is fused with the relu behind it; relu is computed before the transposition."""
    model = branches(rank, names, "relu")
    data = examples(model)
    verdict = judged(model, lite(model, tmp_path / "m.tflite"), eager(model, data), data, like=model)
    assert not verdict.wrong
    missing = {1: {"act_softsign_target"}, 2: {"permute_target"}}[rank]
    assert missing <= verdict.missing


@pytest.mark.parametrize("name", ["digits_cnn", "siamese", "wine_mlp"])
def test_sample_models_have_all_their_addresses(tmp_path: Path, name: str) -> None:
    model = sample(name)
    image, analysis = np.load(SAMPLES / "digits.npy")[:5], np.load(SAMPLES / "wine.npy")[:5]
    x = {"wine_mlp": analysis, "siamese": (image, image[::-1])}.get(name, image)
    expected = tfdump.activations(model, x)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite"), x, like=SAMPLES / f"{name}.keras")
    fused = {"digits_cnn": {"conv1", "bn1", "conv2", "add", "dropout"}}.get(name, set())
    assert set(expected) - set(got) == fused
    for address in set(expected) & set(got):
        np.testing.assert_allclose(got[address], expected[address], rtol=1e-4, atol=1e-5)


def test_what_told_an_address_is_recorded(tmp_path: Path, tfdump: Run) -> None:
    model = untrained()
    model.save(tmp_path / "m.keras")
    file = lite(model, tmp_path / "m.tflite")
    np.save(tmp_path / "x.npy", examples(model))
    line = ("activations", file, tmp_path / "x.npy", "--like", tmp_path / "m.keras", "-o", tmp_path / "d.h5")
    assert tfdump(*line).returncode == 0
    with h5py.File(tmp_path / "d.h5") as dump:
        told = {name: item.attrs.get("address_by") for name, item in dump["activations"].items()}
        assert "--like m.keras" in dump.attrs["command"]
    assert told["norm"] == "weights"
    assert told["shares"] == "flow"
    assert told["mean"] is None
    listed = json.loads(tfdump("layers", file, "--like", tmp_path / "m.keras", "--json").stdout)
    assert [item["address"] for item in listed["items"]] == list(told)


def test_what_cannot_be_named_is_refused(tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path / "m.keras")
    file = lite(model, tmp_path / "m.tflite")
    with pytest.raises(ModelError, match=r"like names the tensors of a \.tflite file, but m\.keras is not one"):
        tfdump.layers(tmp_path / "m.keras", like=file)
    with pytest.raises(ModelError, match=r"like needs a Keras model, but m\.tflite is not one"):
        tfdump.layers(file, like=file)
    folder = exported(model, tmp_path / "saved")
    with pytest.raises(ModelError, match="like names the tensors"):
        tfdump.layers(folder, trust=True, like=model)
