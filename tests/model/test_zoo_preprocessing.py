"""Preprocessing layers on saved files: text and integers in, augmentation that rests at inference."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from support import zoo
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

LETTERS = np.array([["a", "x"], ["b", "c"], ["c", "c"]])
NUMBERS = np.array([[10, 20], [30, 99], [20, 20]])
TEXTS = np.array(["the mat", "Cat! sat on", "dog"])
VOCABULARY = ["", "[UNK]", "the", "cat", "sat", "on", "mat"]
WORDS = np.array([[2, 6, 0, 0], [3, 4, 5, 0], [1, 0, 0, 0]])
PICTURES = np.clip(floats(3, 8, 8, 3) * 50 + 100, 0, 255)


def one_layer(layer: Any, shape: tuple[int, ...], dtype: str) -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), layer])


def adapted(layer: Any, data: Any) -> Any:
    layer.adapt(data)
    return layer


def vectorizer(**options: Any) -> Any:
    return layers.TextVectorization(vocabulary=VOCABULARY[2:], name="layer", **options)


def counts(multi_hot: bool, size: int, ids: np.ndarray, pad: int | None = 0) -> np.ndarray:
    """How often each id is in each row; `pad` does not count."""
    table = np.array([[np.sum(row == number) for number in range(size)] for row in ids], "float32")
    if pad is not None:
        table[:, pad] = 0
    return np.minimum(table, 1) if multi_hot else table


TABLE = {
    "text_to_ids": lambda: (
        one_layer(layers.StringLookup(vocabulary=["a", "b", "c"], name="layer"), (2,), "string"),
        LETTERS,
        np.array([[1, 0], [2, 3], [3, 3]]),
    ),
    "ids_to_text": lambda: (
        one_layer(layers.StringLookup(vocabulary=["a", "b"], invert=True, name="layer"), (2,), "int64"),
        np.array([[1, 2], [0, 1]]),
        np.array([["a", "b"], ["[UNK]", "a"]]),
    ),
    "text_one_hot": lambda: (
        one_layer(layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot", name="layer"), (1,), "string"),
        np.array([["b"], ["q"]]),
        np.float32([[0, 0, 1], [1, 0, 0]]),
    ),
    "integers_to_ids": lambda: (
        one_layer(layers.IntegerLookup(vocabulary=[10, 20, 30], name="layer"), (2,), "int64"),
        NUMBERS,
        np.array([[1, 2], [3, 0], [2, 2]]),
    ),
    "integers_counted": lambda: (
        one_layer(layers.IntegerLookup(vocabulary=[10, 20], output_mode="count", name="layer"), (2,), "int64"),
        NUMBERS,
        np.float32([[0, 1, 1], [2, 0, 0], [0, 0, 2]]),
    ),
    "words": lambda: (one_layer(vectorizer(output_sequence_length=4), (), "string"), TEXTS, WORDS),
    "words_in_a_column": lambda: (
        one_layer(vectorizer(output_sequence_length=4), (1,), "string"),
        TEXTS[:, None],
        WORDS,
    ),
    "words_counted": lambda: (
        one_layer(vectorizer(output_mode="count"), (1,), "string"),
        TEXTS[:, None],
        counts(False, 7, WORDS)[:, 1:],
    ),
    "bins": lambda: (
        one_layer(layers.Discretization([-1.0, 0.0, 1.0], name="layer"), (2,), "float32"),
        np.float32([[-2, -0.5], [0.5, 7]]),
        np.array([[0, 1], [2, 3]]),
    ),
    "categories": lambda: (
        one_layer(layers.CategoryEncoding(5, output_mode="multi_hot", name="layer"), (2,), "int64"),
        np.array([[1, 2], [3, 3]]),
        np.float32([[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]),
    ),
    "mean_and_variance": lambda: (
        one_layer(adapted(layers.Normalization(name="layer"), np.float32([[0, 1], [2, 5]])), (2,), "float32"),
        np.float32([[0, 1], [2, 5], [3, 3]]),
        np.float32([[-1, -1], [1, 1], [2, 0]]),
    ),
    "rescaling": lambda: (
        one_layer(layers.Rescaling(1 / 127.5, offset=-1, name="layer"), (8, 8, 3), "float32"),
        PICTURES,
        PICTURES / 127.5 - 1,
    ),
    "resizing": lambda: (
        one_layer(layers.Resizing(4, 4, interpolation="nearest", name="layer"), (8, 8, 3), "float32"),
        PICTURES,
        PICTURES[:, 1::2, 1::2],
    ),
    "cropping": lambda: (
        one_layer(layers.CenterCrop(4, 4, name="layer"), (8, 8, 3), "float32"),
        PICTURES,
        PICTURES[:, 2:6, 2:6],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_by_hand(tmp_path: Path, name: str) -> None:
    model, x, expected = TABLE[name]()
    dump = zoo.checked(model, x, tmp_path)
    value = dump.values["layer"]
    assert value.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(value, expected)


def test_hashing_gives_what_the_layer_gives_and_one_bin_a_text(tmp_path: Path) -> None:
    model = one_layer(layers.Hashing(5, name="layer"), (2,), "string")
    bins = zoo.checked(model, LETTERS, tmp_path).values["layer"]
    assert bins.min() >= 0
    assert bins.max() < 5
    assert bins[1, 1] == bins[2, 0] == bins[2, 1]  # the letter c


def test_words_of_unequal_number_are_ragged(tmp_path: Path) -> None:
    model = one_layer(vectorizer(ragged=True), (), "string")
    words = zoo.checked(model, TEXTS, tmp_path).values["layer"]
    np.testing.assert_array_equal(words.values, [2, 6, 3, 4, 5, 1])
    np.testing.assert_array_equal(words.row_splits[0], [0, 2, 5, 6])


def test_sparse_encodings(tmp_path: Path) -> None:
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot", sparse=True, name="layer")
    encodings = zoo.checked(one_layer(lookup, (2,), "string"), LETTERS, tmp_path).values["layer"]
    dense = np.zeros(encodings.dense_shape if hasattr(encodings, "dense_shape") else encodings.shape, "float32")
    dense[tuple(np.transpose(encodings.indices))] = encodings.values
    np.testing.assert_array_equal(dense, [[1, 1, 0], [1, 0, 1], [1, 0, 0]])


def test_from_text_to_logits(tmp_path: Path) -> None:
    embedding, dense = layers.Embedding(7, 3, name="embedding"), layers.Dense(2, name="logits")
    stack = [vectorizer(output_sequence_length=4), embedding, layers.GlobalAveragePooling1D(name="mean"), dense]
    model = keras.Sequential([keras.Input((), dtype="string"), *stack])
    (table,), (kernel, bias) = embedding.get_weights(), dense.get_weights()
    dump = zoo.checked(model, TEXTS, tmp_path)
    np.testing.assert_array_equal(dump.values["layer"], WORDS)
    mean = table[WORDS].mean(axis=1)
    np.testing.assert_allclose(dump.values["embedding"], table[WORDS], rtol=1e-6)
    np.testing.assert_allclose(dump.values["logits"], mean @ kernel + bias, rtol=1e-5, atol=1e-6)
    assert "layer.string_lookup" in {**dump.values, **dump.missing}


def test_features_of_a_table(tmp_path: Path) -> None:
    """Two named columns, of text and of numbers."""
    city = keras.Input((1,), dtype="string", name="city")
    age = keras.Input((1,), name="age")
    lookup = layers.StringLookup(vocabulary=["Rome", "Oslo"], output_mode="one_hot", name="lookup")(city)
    scaled = layers.Normalization(mean=40.0, variance=100.0, name="scaled")(age)
    model = keras.Model({"city": city, "age": age}, layers.Concatenate(name="both")([lookup, scaled]))
    x = {"city": np.array([["Oslo"], ["Bonn"]]), "age": np.float32([[50], [20]])}
    dump = zoo.checked(model, x, tmp_path)
    np.testing.assert_allclose(dump.values["both"], [[0, 0, 1, 1], [1, 0, 0, -2]])


AUGMENTATION: dict[str, tuple[float, ...]] = {
    "RandomFlip": (),
    "RandomRotation": (0.2,),
    "RandomZoom": (0.2,),
    "RandomTranslation": (0.2, 0.2),
    "RandomContrast": (0.5,),
    "RandomBrightness": (0.5,),
    "RandomErasing": (),
    "RandomGrayscale": (),
    "RandomHue": (0.5,),
    "RandomSaturation": (0.5,),
    "RandomSharpness": (0.5,),
    "RandomPerspective": (),
    "RandomGaussianBlur": (),
    "RandomInvert": (),
    "RandomElasticTransform": (),
    "MixUp": (),
    "CutMix": (),
    "RandAugment": (),
}


@pytest.mark.parametrize("name", ["RandomFlip", "RandomRotation", "RandomErasing", "MixUp", "RandAugment"])
def test_augmentation_rests_at_inference(tmp_path: Path, name: str) -> None:
    model = one_layer(getattr(layers, name)(*AUGMENTATION[name], name="layer"), (8, 8, 3), "float32")
    np.testing.assert_array_equal(zoo.checked(model, PICTURES, tmp_path).values["layer"], PICTURES)


def test_every_augmentation_in_one_training_run_repeats_by_its_seed(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 3))
    branches = [getattr(layers, name)(*options, name=name)(x) for name, options in AUGMENTATION.items()]
    model = keras.Model(x, [layers.GlobalAveragePooling2D()(branch) for branch in branches])
    model.save(tmp_path / "m.keras")
    runs = [zoo.dumped(tmp_path / "m.keras", PICTURES, "--training", "--seed", seed).values for seed in (1, 1, 2)]
    assert set(runs[0]) >= set(AUGMENTATION)
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in AUGMENTATION)
    assert any(not np.array_equal(runs[0][name], runs[2][name]) for name in AUGMENTATION)
