"""Preprocessing by the names of `keras.applications`, against its own functions."""

import keras
import numpy as np
import pytest

from tfdump.inputs.preprocessing import KERAS_NAMES, preprocessed
from tfdump.inputs.readers import ArrayReader
from tfdump.model.applications.preprocessing import preprocessed_by_keras
from tfdump.tensors import InputSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)


def test_the_names_are_those_of_keras() -> None:
    modules = {name: module for name, module in vars(keras.applications).items() if hasattr(module, "preprocess_input")}
    modules.pop("imagenet_utils")  # what the others share
    assert set(KERAS_NAMES) == set(modules)


@pytest.mark.parametrize("name", KERAS_NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_values_are_those_of_keras(name: str, dtype: str) -> None:
    pixels = PIXELS.astype(dtype)
    expected = np.asarray(getattr(keras.applications, name).preprocess_input(pixels.copy()))
    spec = InputSpec("x", (None, 6, 5, 3), "float32")
    reader = preprocessed({"x": ArrayReader(pixels, "x.npy")}, [spec], [name], preprocessed_by_keras)["x"]
    assert reader.dtype == expected.dtype
    np.testing.assert_array_equal(np.concatenate([reader.read(0, 3), reader.read(3, 4)]), expected)
    first = preprocessed_by_keras(name, pixels.transpose(0, 3, 1, 2).copy())
    np.testing.assert_allclose(first.transpose(0, 2, 3, 1), expected, rtol=1e-6)
