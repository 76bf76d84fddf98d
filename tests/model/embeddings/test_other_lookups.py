"""Which inputs of other formats are ids: the formats that Keras itself writes of models with embeddings."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from support.onnx_files import exported_onnx
from support.saved_formats import exported, lite
from tfdump.model.loading.load import load_model
from tfdump.model.runnable import runnable


@pytest.fixture(scope="module")
def model() -> keras.Model:
    tokens, segments = keras.Input((5,), dtype="int32", name="tokens"), keras.Input((5,), dtype="int32", name="kinds")
    other = keras.Input((2,), dtype="int32", name="other")
    sum_of_both = layers.Embedding(30, 4)(tokens) + layers.Embedding(3, 4)(segments)
    mean = layers.GlobalAveragePooling1D()(sum_of_both)
    return keras.Model([tokens, segments, other], layers.Concatenate()([mean, layers.Rescaling(0.5)(other)]))


def ids(path: Path, trust: bool = False) -> dict[str, int | None]:
    """The vocabularies of the inputs of a file."""
    loaded = load_model(path, trust=trust)
    return {spec.name: spec.vocabulary for spec in runnable(loaded.model).signature([]).specs}


EXPECTED = {"tokens": 30, "kinds": 3, "other": None}


def test_a_saved_model(model: keras.Model, tmp_path: Path) -> None:
    assert ids(exported(model, tmp_path / "saved"), trust=True) == EXPECTED


@pytest.mark.parametrize("how", ["float", "float16", "dynamic"])
def test_a_tflite_file(model: keras.Model, tmp_path: Path, how: str) -> None:
    assert ids(lite(model, tmp_path / "model.tflite", how)) == EXPECTED


def test_an_onnx_file(model: keras.Model, tmp_path: Path) -> None:
    arrays = [np.zeros((1, size), "int32") for size in (5, 5, 2)]
    assert ids(exported_onnx(model, tmp_path / "model.onnx", *arrays)) == EXPECTED
