"""A `.tflite` file beside a Keras model has the addresses of the model."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.converted_models import randomized
from support.saved_formats import lite, without_names
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

ADDRESSES = [f"activations/{name}" for name in ("first", "hidden", "third", "last")]


def network(fault: float = 0.0) -> keras.Model:
    """Four layers; `fault` is added to the kernel of the second one, with changing signs."""
    keras.utils.clear_session()
    x = keras.Input((6,), name="x")
    y = layers.Dense(5, activation="tanh", name="first")(x)
    y = layers.Dense(5, activation="tanh", name="hidden")(y)
    y = layers.Dense(3, activation="relu", name="third")(y)
    model = randomized(keras.Model(x, layers.Dense(4, activation="sigmoid", name="last")(y)))
    kernel = model.get_layer("hidden").kernel
    kernel.assign(kernel.numpy() + fault * np.where(np.indices((5, 5)).sum(0) % 2, 1, -1))
    return model


@pytest.mark.parametrize("pair", ["names", "values"])
@pytest.mark.parametrize("golden_is_file", [False, True])
def test_a_fault_is_named_in_a_file_without_names(tmp_path: Path, pair: str, golden_is_file: bool) -> None:
    file = without_names(lite(network(0.2), tmp_path / "m.tflite"))
    sides = [network(), file][:: -1 if golden_is_file else 1]
    report = tfdump.compare(*sides, floats(9, 6), pair=pair, allow_missing=True)
    assert (report.first and report.first.name) == "activations/hidden"
    compared = {t.name: (t.new_name, t.status, t.paired_by) for t in report.tensors if t.name in ADDRESSES}
    status = dict(zip(ADDRESSES, ("same", "differs", "differs", "differs"), strict=True))
    assert compared == {name: (name, status[name], "address") for name in ADDRESSES}


class Branching(keras.Model):
    """Its call depends on the data, so it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(4, name="dense")

    def call(self, inputs: object) -> object:
        values = keras.ops.convert_to_numpy(inputs)
        return self.dense(inputs) if np.all(np.isfinite(values)) else inputs


def test_a_model_that_cannot_be_traced_names_nothing_and_is_said(tmp_path: Path) -> None:
    x = keras.Input((6,), name="x")
    twin = randomized(keras.Model(x, layers.Dense(4, name="dense")(x)))
    file = lite(twin, tmp_path / "m.tflite")
    eager = Branching()
    eager(floats(1, 6))
    eager.set_weights(twin.get_weights())
    with pytest.warns(tfdump.TfdumpWarning) as warned:
        assert tfdump.compare(eager, file, floats(9, 6), allow_missing=True).same
    (said,) = [str(one.message) for one in warned if "m.tflite" in str(one.message)]
    assert "does not name the tensors of m.tflite: the Keras model " in said
