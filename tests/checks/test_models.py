"""`tfdump check` on real models: where a NaN is made, which unit died, where the gradient vanishes."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from support.command import Run

pytestmark = pytest.mark.tensorflow


def faulty_model(x: np.ndarray) -> keras.Model:
    """The logarithm of what is negative for some examples, behind a rectifier of which unit 2 is always off."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6,), name="image")
    first = layers.Dense(5, activation="relu", name="first")
    second = layers.Dense(4, name="second")
    logarithm = ops.log(second(first(image)))
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="last")(logarithm))
    bias = np.zeros(5)
    bias[2] = -100
    first.set_weights([first.get_weights()[0], bias])
    positive = np.abs(second.get_weights()[0])
    quantile = np.quantile(np.asarray(first(x)) @ positive[:, 3], 0.2)
    second.set_weights([positive, np.array([1, 1, 1, -quantile])])
    return model


def test_the_layer_that_makes_nan_and_the_dead_unit_are_named(tfdump: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(3).random((30, 6), dtype="float32")
    model = faulty_model(x)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    second = np.asarray(model.get_layer("second")(model.get_layer("first")(x)))
    rows, columns = np.nonzero(second < 0)
    assert rows[0] > 0
    assert len(rows) == 6
    assert tfdump("activations", "m.keras", "x.npy", "-o", "a.h5", "--preactivation").returncode == 0
    done = tfdump("check", "a.h5", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    (log,) = (item for item in document["items"] if (item["check"], item["tensor"]) == ("nan", "activations/log"))
    assert (log["count"], log["of"]) == (len(rows), second.size)
    assert (log["example"], log["index"]) == (rows[0], [rows[0], columns[0]])
    value = f"{second[rows[0], columns[0]]:.6g}"
    text = f"NaN starts in 'log' (Log), example {rows[0]}: its input 'second' is {value} there"
    assert done.stderr.splitlines()[-1] == text
    (dead,) = (item for item in document["items"] if item["check"] == "dead")
    assert (dead["tensor"], dead["units"]) == ("activations/first", [2])


def test_the_gradient_of_a_deep_sigmoid_net_vanishes(tfdump: Run, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    deep = [layers.Dense(8, activation="sigmoid", name=f"d{n}") for n in range(12)]
    model = keras.Sequential([keras.Input((6,)), *deep, layers.Dense(1, name="out")])
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((16, 6), dtype="float32"))
    np.save(tmp_path / "y.npy", np.ones((16, 1), np.float32))
    arguments = ("m.keras", "x.npy", "y.npy", "--loss", "mse", "--wrt", "weights", "--wrt", "activations")
    reports = []
    for name, more in (("g.h5", ()), ("n.h5", ("--norms-only",))):
        assert tfdump("gradients", *arguments, *more, "-o", name).returncode == 0
        done = tfdump("check", name, "--json", "--fail-on", "vanishing")
        assert done.returncode == 1
        items = json.loads(done.stdout)["items"]
        reports.append([item for item in items if item["check"] == "vanishing"])
    whole, norms = reports
    assert [item["tensor"] for item in whole] == [item["tensor"] for item in norms]
    tensors = {item["tensor"] for item in whole}
    assert {"gradients/weights/d0.kernel", "gradients/activations/d0"} <= tensors
    assert {"gradients/weights/out.kernel", "gradients/activations/out"}.isdisjoint(tensors)
    for group in ("gradients/weights/*.kernel", "gradients/activations/*"):
        (depth,) = (item for item in whole if item["tensor"] == group)
        assert 0 < depth["value"] < 0.5
