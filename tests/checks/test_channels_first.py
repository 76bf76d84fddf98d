"""`check` on models whose channels come first: dead channels and saturated probabilities along that axis."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump as library
from support.command import Run

pytestmark = pytest.mark.tensorflow

register = keras.saving.register_keras_serializable(package="channels")
X = np.random.default_rng(3).standard_normal((16, 3, 6, 6)).astype("f4")
DEAD = 2


def parts(sharp: float = 40.0) -> dict[str, layers.Layer]:
    return {
        "conv": layers.Conv2D(5, 3, data_format="channels_first", activation="relu", name="conv"),
        "norm": layers.BatchNormalization(axis=1, name="norm"),
        "drop": layers.Dropout(0.5, name="drop"),
        "rectifier": layers.ReLU(name="rectifier"),
        "scale": layers.Rescaling(sharp, name="scale"),
        "share": layers.Softmax(axis=1, name="share"),
        "pool": layers.GlobalAveragePooling2D(data_format="channels_first", name="pool"),
    }


def functional() -> keras.Model:
    x = inputs = keras.Input((3, 6, 6))
    for layer in parts().values():
        x = layer(x)
    return keras.Model(inputs, x)


@register
class Own(keras.Model):
    """Its configuration names none of its layers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, layer in parts().items():
            setattr(self, name, layer)

    def call(self, x: Any) -> Any:
        for name in parts():
            x = getattr(self, name)(x)
        return x

    def build(self, shape: Any) -> None:
        self.conv.build(shape)
        self.norm.build((None, 5, 4, 4))
        super().build(shape)


def subclassed() -> keras.Model:
    model = Own()
    model(X[:1])
    return model


def operations() -> keras.Model:
    """The softmax and the rectifier are operations, not layers."""
    outputs = parts()
    inputs = keras.Input((3, 6, 6))
    x = ops.relu(outputs["norm"](outputs["conv"](inputs)))
    x = ops.softmax(outputs["scale"](x), axis=1)
    return keras.Model(inputs, outputs["pool"](x))


def with_dead_channels(model: keras.Model) -> keras.Model:
    """Random weights; one channel of the convolution, and another one of the normalization, is negative everywhere."""
    random = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(np.abs(random.standard_normal(weight.shape)) + 0.2 if "variance" in weight.path
                      else random.standard_normal(weight.shape))  # fmt: skip
    by_name = {weight.path.rsplit("/", 2)[-2] + "/" + weight.name: weight for weight in model.weights}
    bias, gamma, beta = (np.array(by_name[name]) for name in ("conv/bias", "norm/gamma", "norm/beta"))
    bias[DEAD], gamma[DEAD + 1], beta[DEAD + 1] = -100, 0, -3
    bias[:DEAD], gamma[DEAD], beta[DEAD] = 1, 1, 5
    for name, value in (("conv/bias", bias), ("norm/gamma", gamma), ("norm/beta", beta)):
        by_name[name].assign(value)
    return model


@pytest.mark.parametrize("make", [functional, subclassed, operations])
@pytest.mark.parametrize("eager", [False, True])
def test_dead_channels_and_sure_softmax_along_the_first_axis(
    make: Any, eager: bool, tfdump: Run, tmp_path: Path
) -> None:
    model = with_dead_channels(make())
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", X)
    done = tfdump("activations", "m.keras", "x.npy", "-o", "d.h5", *(["--eager"] if eager else []))
    assert done.returncode == 0, done.stderr
    report = library.check(tmp_path / "d.h5")
    dead = {finding.tensor.removeprefix("activations/"): finding.units for finding in report.findings
            if finding.check == "dead"}  # fmt: skip
    rectifier, share = ("relu", "softmax") if make is operations else ("rectifier", "share")
    with h5py.File(tmp_path / "d.h5") as file:
        values = {name: np.array(file[f"activations/{name}"]) for name in ("conv", "norm", rectifier, share)}
    expected = {name: tuple(np.flatnonzero((values[name] == 0).all((0, 2, 3)))) for name in ("conv", "norm", rectifier)}
    assert expected["conv"] == (DEAD,)
    assert DEAD + 1 in expected[rectifier]
    assert dead == {name: units for name, units in expected.items() if units}
    np.testing.assert_allclose(values[share].sum(1), 1, rtol=1e-5)
    sure = values[share].max(1) >= 0.99
    assert sure.mean() > 0.5
    (saturated,) = [finding for finding in report.findings if finding.check == "saturated"]
    assert (saturated.tensor, saturated.count, saturated.of) == (f"activations/{share}", sure.sum(), sure.size)


def test_layers_along_the_last_axis_have_no_further_attributes(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input((4, 4, 2))
    y = layers.Softmax()(layers.BatchNormalization()(layers.Conv2D(3, 2)(x)))
    keras.Model(x, y).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4, 2), "f4"))
    assert tfdump("activations", "m.keras", "x.npy", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert not any({"axis", "data_format"} & set(tensor.attrs) for tensor in file["activations"].values())
