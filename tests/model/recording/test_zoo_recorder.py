"""Calls that are hard to watch: inside a vectorized_map, over an open time axis, and past `__call__`."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from support import zoo
from support.tiny_models import floats
from support.zoo_models import Inner

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

X = floats(4, 3)


def test_a_layer_inside_a_vectorized_map_is_named_and_not_dumped_for_one_row(tmp_path: Path) -> None:
    model = Inner("vectorized_map")
    model(X)
    kernel, bias = model.inside.get_weights()
    model.save(tmp_path / "m.keras")
    dump = zoo.dumped(tmp_path / "m.keras", X)
    if "inside" in dump.values:  # every row, if any
        np.testing.assert_allclose(np.reshape(dump.values["inside"], (4, 3)), X @ kernel + bias, rtol=1e-4, atol=1e-5)
    else:
        assert "inside" in dump.missing


def test_a_model_over_an_open_time_axis_is_named_or_dumped_whole(tmp_path: Path) -> None:
    dense = layers.Dense(2, name="dense")
    inner = keras.Sequential([keras.Input((3,)), dense], name="inner")
    model = keras.Sequential([keras.Input((None, 3)), layers.TimeDistributed(inner, name="steps")])
    model.save(tmp_path / "m.keras")
    kernel, bias = dense.get_weights()
    x = floats(4, 5, 3)
    dump = zoo.dumped(tmp_path / "m.keras", x)
    np.testing.assert_allclose(dump.values["steps"], x @ kernel + bias, rtol=1e-4, atol=1e-5)
    addresses = [address for address in dump.values if address.endswith("dense")]
    assert addresses or any(address.endswith("dense") for address in dump.missing)
    for address in addresses:
        np.testing.assert_allclose(dump.values[address], x @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_a_direct_call_of_a_layer_that_is_also_called_is_named(tmp_path: Path) -> None:
    model = Inner("direct_and_called")
    model(X)
    model.save(tmp_path / "m.keras")
    dump = zoo.dumped(tmp_path / "m.keras", X)
    calls = [address for address in [*dump.values, *dump.missing] if address.partition("@")[0] == "inside"]
    assert len(calls) == 2
