"""Quantized models, adapters, number formats and open shapes, on saved files."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support import eager_recorder, zoo, zoo_models
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

X = floats(4, 8)


def dense_model() -> keras.Model:
    stack = [layers.Dense(8, "relu", name="a"), layers.Dense(4, name="b")]
    return keras.Sequential([keras.Input((8,)), *stack])


def int8_dense(x: np.ndarray, layer: Any) -> np.ndarray:
    """A dense layer as Keras computes it in int8: rows of the input scaled to 127, products in integers."""
    scale = 127 / np.abs(x).max(axis=-1, keepdims=True)
    quantized = np.clip(np.round(x * scale), -127, 127)
    kernel, kernel_scale = np.asarray(layer._kernel).astype("int32"), np.asarray(layer.kernel_scale)
    return quantized @ kernel / (scale * kernel_scale) + np.asarray(layer.bias)


def test_int8_by_hand(tmp_path: Path) -> None:
    model = dense_model()
    model.quantize("int8")
    dump = zoo.checked(model, X, tmp_path)
    a, b = model.layers
    hidden = np.maximum(int8_dense(X, a), 0)
    np.testing.assert_allclose(dump.values["a"], hidden, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(dump.values["b"], int8_dense(dump.values["a"], b), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["int4", "float8"])
def test_other_quantisation_equals_the_eager_pass(tmp_path: Path, mode: str) -> None:
    model = dense_model()
    model.quantize(mode)
    assert list(zoo.checked(model, X, tmp_path).values) == ["a", "b"]


def test_int8_embeddings_and_einsums(tmp_path: Path) -> None:
    einsum = layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), name="einsum")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(10, 8, name="table"), einsum])
    model.quantize("int8")
    tokens = np.random.default_rng(0).integers(0, 10, (3, 5)).astype("int32")
    dump = zoo.checked(model, tokens, tmp_path)
    table = np.asarray(model.layers[0]._embeddings) / np.asarray(model.layers[0].embeddings_scale)[:, None]
    np.testing.assert_allclose(dump.values["table"], table[tokens], rtol=1e-4, atol=1e-5)


def test_gradients_of_a_quantized_model_are_those_of_what_can_be_trained(tmp_path: Path) -> None:
    model = dense_model()
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", X)
    command = ["gradients", tmp_path / "m.keras", tmp_path / "x.npy", "--objective", "sum", "-o", tmp_path / "g.h5"]
    status, stderr = zoo.command(*command)
    assert status == 0, stderr
    with tfdump.open(tmp_path / "g.h5") as dump:
        np.testing.assert_allclose(dump["b.bias"].read(), np.full(4, 4.0), rtol=1e-5)
        assert {item.address for item in dump.not_captured} >= {"a.kernel", "b.kernel"}
    assert "a.kernel" in stderr


def test_what_keras_cannot_load_again_is_one_clear_line(tmp_path: Path) -> None:
    x = keras.Input((5, 8))
    model = keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x))
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    with pytest.raises(Exception, match="could not be loaded"):
        keras.models.load_model(tmp_path / "m.keras")
    status, stderr = zoo.command("layers", tmp_path / "m.keras")
    assert status == 2
    assert stderr.count("\n") == 1
    assert "4 layers do not fit the weights" in stderr
    assert "in memory" in stderr


def with_lora() -> keras.Model:
    model = dense_model()
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(floats(2, 8, seed=3))
    return model


def test_lora_by_hand(tmp_path: Path) -> None:
    model = with_lora()
    layer = model.layers[0]
    kernel = np.asarray(layer._kernel) + np.asarray(layer.lora_kernel_a) @ np.asarray(layer.lora_kernel_b)
    dump = zoo.checked(model, X, tmp_path)
    np.testing.assert_allclose(dump.values["a"], np.maximum(X @ kernel, 0), rtol=1e-4, atol=1e-5)


def test_lora_on_int8(tmp_path: Path) -> None:
    """Keras merges the adapter into the integers when it saves, and loses digits: the file is what counts."""
    model = with_lora()
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    dump = zoo.dumped(tmp_path / "m.keras", X)
    zoo.fresh()
    zoo.compared(keras.models.load_model(tmp_path / "m.keras"), X, dump)


def test_remat(tmp_path: Path) -> None:
    with keras.RematScope(mode="full"):
        model = dense_model()
    (w, b), (v, c) = model.layers[0].get_weights(), model.layers[1].get_weights()
    dump = zoo.checked(model, X, tmp_path)
    hidden = np.maximum(X @ w + b, 0)
    np.testing.assert_allclose(dump.values["a"], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dump.values["b"], hidden @ v + c, rtol=1e-4, atol=1e-5)


def test_remat_in_memory() -> None:
    """Layers made in a remat scope, as they are before they were saved."""
    with keras.RematScope(mode="full"):
        model = dense_model()
    calls, _ = eager_recorder.record(model, X, training=False)
    eager_recorder.compare(tfdump.activations(model, X), calls, [])


def test_number_formats_in_one_model(tmp_path: Path) -> None:
    kinds = ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16", "float64"]
    stack = [layers.Dense(3, dtype=kind, name=kind) for kind in kinds]
    model = keras.Sequential([keras.Input((8,)), *stack])
    dump = zoo.checked(model, X, tmp_path)
    stored = ["float32", "float16", "float32", "float16", "float64"]  # bfloat16 as float32
    assert [value.dtype.name for value in dump.values.values()] == stored


@pytest.mark.parametrize("size", [(7, 6), (12, 5)])
def test_pictures_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    x = keras.Input((None, None, 3))
    y = layers.GlobalAveragePooling2D(name="mean")(layers.Conv2D(2, 1, name="conv")(x))
    model = keras.Model(x, y)
    kernel, bias = model.get_layer("conv").get_weights()
    data = floats(3, *size, 3)
    dump = zoo.checked(model, data, tmp_path)
    conv = data @ kernel[0, 0] + bias
    np.testing.assert_allclose(dump.values["conv"], conv, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dump.values["mean"], conv.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_ragged_and_sparse_tensors_between_layers(tmp_path: Path) -> None:
    model = zoo_models.WithPositive()
    x = floats(4, 5)
    model(x)
    dump = zoo.checked(model, x, tmp_path)
    ragged, sparse = dump.values["positive:ragged"], dump.values["positive:sparse"]
    lengths = (x > 0).sum(axis=1)
    np.testing.assert_array_equal(ragged.values, np.concatenate([row[:n] for row, n in zip(x, lengths, strict=True)]))
    np.testing.assert_array_equal(sparse.values, x[x > 0])
    expected = [row[:n].sum() + row[row > 0].sum() for row, n in zip(x, lengths, strict=True)]
    np.testing.assert_allclose(dump.values["sums"], expected, rtol=1e-5)


def test_complex_numbers(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8,)), zoo_models.Fourier(name="fourier")])
    values = zoo.checked(model, X, tmp_path).values["fourier"]
    assert values.dtype == "complex64"
    np.testing.assert_allclose(values, np.fft.fft(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "shape", "options"),
    [
        ("STFTSpectrogram", (64, 1), {"frame_length": 16, "frame_step": 8, "fft_length": 16}),
        ("MelSpectrogram", (2000,), {"fft_length": 256}),
    ],
)
def test_spectrograms(tmp_path: Path, layer: str, shape: tuple[int, ...], options: dict[str, int]) -> None:
    model = keras.Sequential([keras.Input(shape), getattr(layers, layer)(**options, name="layer")])
    assert zoo.checked(model, floats(2, *shape), tmp_path).values["layer"].size
