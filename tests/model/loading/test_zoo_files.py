"""Every file that Keras writes, and files that other Kerases wrote: Keras 2, and Keras 3 on JAX and PyTorch."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from support import zoo
from support.command import ROOT
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

PARTS = {
    *(f"attention.{part}" for part in ("query", "key", "value", "attention_output")),
    "both.forward_lstm",
    "both.backward_lstm",
    "not_equal",  # the mask of the tokens
    "steps.step",
}
"""Addresses without a value from elsewhere."""

HALF = {"transposed": 2e-3, "frames": 2e-3, "film": 2e-4, "rows": 2e-4}
"""What is computed in float16, which not every processor rounds alike, and what follows; with absolute tolerances."""

DATA = ROOT / "tests" / "data"


def two_layers() -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """A model, an input, and its activations worked out by hand."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh", name="a"), layers.Dense(2, name="b")])
    x = floats(5, 4)
    (w1, b1), (w2, b2) = model.layers[0].get_weights(), model.layers[1].get_weights()
    a = np.tanh(x @ w1 + b1)
    return model, x, {"a": a, "b": a @ w2 + b2}


def assert_equal(dump: zoo.Dumped, expected: dict[str, np.ndarray]) -> None:
    assert list(dump.values) == list(expected)
    for address, value in expected.items():
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-4, atol=1e-5, err_msg=address)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.hdf5"])
def test_a_file(tmp_path: Path, name: str) -> None:
    model, x, expected = two_layers()
    model.save(tmp_path / name)
    assert_equal(zoo.dumped(tmp_path / name, x), expected)


@pytest.mark.parametrize("name", ["folder", "folder.keras", "folder.h5"])
def test_an_unzipped_archive(tmp_path: Path, name: str) -> None:
    """Keras opens a folder whose name ends in .keras as if it were a file."""
    model, x, expected = two_layers()
    model.save(tmp_path / "m.keras")
    zipfile.ZipFile(tmp_path / "m.keras").extractall(tmp_path / name)
    dump = zoo.dumped(tmp_path / name, x)
    assert_equal(dump, expected)
    assert dump.stderr == ""


def test_layers_lists_a_folder_that_ends_in_keras(tmp_path: Path, tfdump: Any) -> None:
    model, _, expected = two_layers()
    model.save(tmp_path / "m.keras")
    zipfile.ZipFile(tmp_path / "m.keras").extractall(tmp_path / "folder.keras")
    done = tfdump("layers", "folder.keras", "--json")
    assert done.returncode == 0
    assert [item["address"] for item in json.loads(done.stdout)["items"]] == list(expected)


def test_a_shared_sub_model_of_keras_3_in_a_legacy_file(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")], name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, layers.Add(name="sum")([inner(inner(x)), x]))
    model.save(tmp_path / "m.h5")
    kernel, bias = inner.get_weights()
    data = floats(3, 4)
    once = data @ kernel + bias
    again = once @ kernel + bias
    expected = {"inner.dense": once, "inner": once, "inner@1.dense": again, "inner@1": again, "sum": again + data}
    assert_equal(zoo.dumped(tmp_path / "m.h5", data), expected)


def test_attention_in_a_legacy_file(tmp_path: Path) -> None:
    """Keras's own loader takes the argument `score_mode='dot'` for a function of that name."""
    x = keras.Input((3, 4))
    model = keras.Model(x, layers.Attention(name="scores")([x, x]))
    model.save(tmp_path / "m.h5")
    data = floats(2, 3, 4)
    logits = data @ data.transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = {"scores": weights / weights.sum(-1, keepdims=True) @ data}
    assert_equal(zoo.dumped(tmp_path / "m.h5", data), expected)


def from_elsewhere(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs and activations that were computed where the model was saved."""
    with np.load(DATA / f"{name}.npz") as archive:
        stored = dict(archive)
    return (
        {key[2:]: value for key, value in stored.items() if key.startswith("x:")},
        {key[2:]: value for key, value in stored.items() if key.startswith("y:")},
    )


@pytest.mark.parametrize("name", ["jax.keras", "torch.keras", "keras2.h5", "keras2_words.h5"])
def test_a_file_from_elsewhere_gives_what_it_gave_there(tmp_path: Path, name: str) -> None:
    x, expected = from_elsewhere(name.partition(".")[0])
    shutil.copy(DATA / name, tmp_path)
    dump = zoo.dumped(tmp_path / name, x)
    parts = set(dump.values) - set(expected)
    assert parts <= PARTS
    assert not set(expected) - set(dump.values)
    for address, value in expected.items():
        tolerance = HALF.get(address, 2e-5)
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-4, atol=tolerance, err_msg=address)


def test_gradients_of_a_keras_2_file_use_the_loss_it_was_compiled_with(tmp_path: Path) -> None:
    x, expected = from_elsewhere("keras2")
    shutil.copy(DATA / "keras2.h5", tmp_path)
    np.savez(tmp_path / "x.npz", **x)
    np.save(tmp_path / "y.npy", np.array([2, 0]))
    data = (tmp_path / "x.npz", tmp_path / "y.npy")
    status, stderr = zoo.command("gradients", tmp_path / "keras2.h5", *data, "-o", tmp_path / "g.h5")
    assert status == 0, stderr
    probabilities = expected["logits"].astype("float64")
    with h5py.File(tmp_path / "g.h5") as file:
        loss = -np.log(probabilities[[0, 1], [2, 0]]).mean()
        np.testing.assert_allclose(file["loss"][()], loss, rtol=1e-4)
        wanted = (probabilities - np.eye(3)[[2, 0]]).mean(axis=0)
        np.testing.assert_allclose(file["gradients/weights/logits.bias"], wanted, rtol=1e-3, atol=1e-5)


def refused(tmp_path: Path, change: Any) -> str:
    """Change the architecture in a copy of the Keras 2 file; return what the command says."""
    shutil.copy(DATA / "keras2.h5", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["name"]: layer for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)
    status, stderr = zoo.command("layers", tmp_path / "m.h5")
    assert status == 2
    assert stderr.startswith("Error: ")
    assert stderr.count("\n") == 1
    return stderr


def test_what_only_keras_2_can_do_is_said(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda configs: configs["gru"]["config"].update(time_major=True))
    assert "layer 'gru' (GRU) has time_major=True, which Keras 3 does not support" in message
    assert "SavedModel" in message


def test_operations_that_keras_2_saved_as_layers_are_explained(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda configs: configs["sum"].update(class_name="TFOpLambda"))
    assert "TFOpLambda" in message
    assert "SavedModel" in message
