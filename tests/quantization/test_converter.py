"""The scales that the converter of TensorFlow Lite derives from calibration data, against those of the float model."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump as library
from support.check_dumps import write_dump
from support.command import Run
from support.saved_formats import lite

pytestmark = pytest.mark.tensorflow


def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(5, 3, activation="relu", name="first")(x)
    y = layers.Conv2D(4, 3, name="second")(y)
    y = layers.Flatten(name="flat")(y)
    model = keras.Model(x, layers.Dense(3, name="last")(y))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.standard_normal(weight.shape) * 0.4 + 0.05)
    return model


def test_scales_by_max_are_those_of_the_converter(tfdump: Run, tmp_path: Path) -> None:
    model = network()
    x = np.random.default_rng(2).standard_normal((40, 8, 8, 3)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    model.save(tmp_path / "m.keras")
    lite(model, tmp_path / "m.tflite", "int8", x)
    lite(model, tmp_path / "wide.tflite", "int16", x)
    options = ("--stats-only", "--stats", "quantiles", "--save-inputs", "-q", "-o")
    assert tfdump("activations", "m.keras", "x.npy", *options, "float.h5").returncode == 0
    assert tfdump("activations", "m.tflite", "x.npy", "-q", "-o", "int8.h5").returncode == 0
    assert tfdump("activations", "wide.tflite", "x.npy", "-q", "-o", "int16.h5").returncode == 0
    told = {one.tensor: one for one in library.ranges(tmp_path / "float.h5").ranges}
    with library.open(tmp_path / "int8.h5") as converted, library.open(tmp_path / "int16.h5") as wide:
        for name in ("first", "second", "last"):
            tensor = converted[name]
            way = told[f"activations/{name}"].integer(8, False, "max")
            assert way is not None
            assert way.scale == pytest.approx(float(tensor.attributes["scale"]), rel=1e-6)
            assert way.zero_point == int(tensor.attributes["zero_point"])
            wider = told[f"activations/{name}"].integer(16, True, "max")
            assert wider is not None
            if "scale" in wide[name].attributes:  # the last one is computed as a float
                assert wider.scale == pytest.approx(float(wide[name].attributes["scale"]), rel=1e-6)
    kernel = model.get_layer("first").kernel.numpy()
    path = write_dump(tmp_path / "w.h5", {"weights/first.kernel": (kernel, {"axis0": "none"})})
    scales = [one.integer(8, True, "max") for one in library.ranges(path, per_channel=True, show="int8").ranges]
    (details,) = (
        tensor["quantization_parameters"]
        for tensor in tf.lite.Interpreter(str(tmp_path / "m.tflite")).get_tensor_details()
        if tensor["shape"].tolist() == [5, 3, 3, 3]
    )
    np.testing.assert_allclose([way.scale for way in scales if way is not None], details["scales"], rtol=1e-6)
