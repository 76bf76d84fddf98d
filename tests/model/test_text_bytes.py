"""Strings of TensorFlow that are no text: what a model gives and is fed with comes out as the bytes that it is."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support import zoo
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow


class Bytes(layers.Layer):
    """Gives the raw bytes of every row, a constant, and a scalar that ends in NUL."""

    def call(self, x: Any) -> Any:
        rows = tf.map_fn(tf.io.serialize_tensor, x, fn_output_signature=tf.string)
        sign = tf.where(x[:, 0] < 0, tf.constant(b"\xff\0"), tf.constant("plus"))
        return {"raw": rows, "sign": sign, "constant": tf.constant([b"\xfe", b"ok"]), "scalar": tf.constant(b"end\0")}


class Raw(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.raw, self.out = Bytes(name="raw"), layers.Dense(2, name="out")

    def call(self, x: Any) -> Any:
        self.raw(x)
        return self.out(x)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("batch_size", [2, 6])
def test_the_bytes_of_activations(eager: bool, batch_size: int) -> None:
    x = np.abs(floats(6, 3))
    x[5, 0] = -1  # the first bytes that are no text come in the last batch
    with pytest.warns(tfdump.TfdumpWarning, match="stored as bytes, because some of the text is not UTF-8") as record:
        activations = tfdump.activations(Raw(), x, batch_size=batch_size, eager=eager)
    (note,) = [str(item.message) for item in record if "stored as bytes" in str(item.message)]
    assert all(f"activations/raw:{key}" in note for key in ("raw", "sign", "constant", "scalar"))
    assert activations["raw:raw"].tolist() == [tf.io.serialize_tensor(tf.constant(row)).numpy() for row in x]
    assert activations["raw:sign"].tolist() == [b"plus"] * 5 + [b"\xff\0"]
    assert activations["raw:constant"].tolist() == [b"\xfe", b"ok"]
    assert activations["raw:scalar"].item() == b"end\0"


def lookup(path: Path) -> Path:
    word = keras.Input((), dtype="string", name="word")
    keras.Model(word, layers.StringLookup(vocabulary=["a", "ü"], name="lookup")(word)).save(path)
    return path


@pytest.mark.parametrize("place", [0, 3])
def test_saved_inputs_are_what_was_fed(place: int, tmp_path: Path) -> None:
    words = [b"a", "ü".encode(), b"a", b"b"]
    words[place] = b"\xff"
    model, dump = lookup(tmp_path / "m.keras"), tmp_path / "d.h5"
    np.save(tmp_path / "words.npy", np.array(words))
    options = ("--save-inputs", "--checksums", "--batch-size", 2)
    status, stderr = zoo.command("activations", model, tmp_path / "words.npy", *options, "-o", dump)
    assert (status, "Note: stored as bytes, because" in stderr, "inputs/word" in stderr) == (0, True, True)
    with h5py.File(dump) as file:
        assert [item.tobytes() for item in file["inputs/word"][()]] == words
        assert file["activations/lookup"][()].tolist() == [{b"a": 1, "ü".encode(): 2}.get(word, 0) for word in words]
    again = tmp_path / "again.h5"
    assert zoo.command("activations", model, f"{dump}::/inputs/word", *options, "-o", again)[0] == 0
    assert zoo.command("diff", dump, again)[0] == 0
    assert zoo.command("check", "--verify", again)[0] == 0
    exported = tmp_path / "back.npy"
    assert zoo.command("cat", dump, "inputs/word", "-o", exported)[0] == 0
    assert np.load(exported).tolist() == words


def test_text_needs_no_note(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(["a", "ü"]))
    command = ("activations", lookup(tmp_path / "m.keras"), tmp_path / "words.npy", "--save-inputs")
    status, stderr = zoo.command(*command, "-o", tmp_path / "d.h5")
    assert (status, stderr) == (0, "")
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["inputs/word"].asstr()[()].tolist() == ["a", "ü"]
        assert "stored_as" not in file["inputs/word"].attrs
