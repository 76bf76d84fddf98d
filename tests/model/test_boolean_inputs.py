"""Masks of 0 and 1, as tokenizers give them, for inputs that take booleans."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from support import zoo

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

TOKENS = np.array([[3, 1, 4, 0], [2, 0, 0, 0], [1, 2, 3, 4]], np.int32)
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])


def masked_model() -> keras.Model:
    keras.utils.set_random_seed(2)
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    mask = keras.Input((4,), dtype="bool", name="mask")
    x = layers.Embedding(5, 3, embeddings_initializer="normal", name="embedding")(tokens)
    x = layers.MultiHeadAttention(2, 2, bias_initializer="normal", name="attention")(
        x, x, attention_mask=ops.expand_dims(mask, 1)
    )
    return keras.Model([tokens, mask], layers.Dense(2, name="out")(x))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "bool"])
def test_the_values_are_those_of_booleans(dtype: str, tmp_path: Path) -> None:
    model = masked_model()
    expected = model([TOKENS, MASK.astype(bool)]).numpy()
    assert np.abs(expected - model([TOKENS, np.ones((3, 4), bool)]).numpy()).max() > 1e-3  # the mask matters
    x = {"tokens": TOKENS, "mask": MASK.astype(dtype)}
    np.testing.assert_allclose(tfdump.activations(model, x, batch_size=2)["out"], expected, rtol=1e-5, atol=1e-6)
    gradients = tfdump.gradients(model, x, objective="out[0,1]", wrt="activations", batch_size=2)
    assert gradients.loss == pytest.approx(expected[:, 0, 1].sum(), rel=1e-5)
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", **x)
    status, stderr = zoo.command(
        "activations", tmp_path / "m.keras", tmp_path / "x.npz", "-o", tmp_path / "a.h5", "--batch-size", 1
    )
    assert status == 0, stderr
    cast = f"Note: {tmp_path / 'x.npz'}::mask is cast from {dtype} to bool for the input 'mask'"
    assert (cast in stderr) == (dtype != "bool")


def test_the_first_other_number_is_shown(tmp_path: Path) -> None:
    masked_model().save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", tokens=TOKENS, mask=MASK * 2 - 1)
    status, stderr = zoo.command("activations", tmp_path / "m.keras", tmp_path / "x.npz", "-o", tmp_path / "a.h5")
    assert status == 2
    assert "mask: -1 in row 0 at [3] is neither 0 nor 1, and the model takes booleans here" in stderr
    assert not (tmp_path / "a.h5").exists()
