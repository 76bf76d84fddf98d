"""The addresses of operations in TFLite files: `op.MatMul` has no bias, `op.BiasAdd` has it."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.saved_formats import lite
from support.tiny_models import floats
from tfdump.errors import TfdumpWarning

pytestmark = pytest.mark.tensorflow


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_product_with_its_bias_is_the_sum(tmp_path: Path) -> None:
    """The softmax at the end has no name, so that the layer of the product before it is not certain."""
    x = keras.Input((6,), name="x")
    model = keras.Model(x, layers.Softmax(name="p")(layers.Dense(4, name="logits")(x)), name="m")
    kernel, bias = floats(6, 4), floats(4, seed=1)
    model.get_layer("logits").set_weights([kernel, bias])
    data = floats(5, 6, seed=2)
    with pytest.warns(TfdumpWarning):
        values = tfdump.activations(lite(model, tmp_path / "m.tflite", "float", data), data)
    products = {name: value for name, value in values.items() if name.startswith("logits")}
    assert list(products) == ["logits:op.BiasAdd"]
    close(products["logits:op.BiasAdd"], data @ kernel + bias)


@pytest.mark.parametrize("how", ["float", "float16", "dynamic"])
def test_every_operation_holds_its_own_value(how: str, tmp_path: Path) -> None:
    """Products with and without a bias, before and behind other layers that are fused or that move a bias."""
    x = keras.Input((6,), name="x")
    a = layers.Dense(5, name="a")(x)
    b = layers.Dense(5, use_bias=False, name="b")(a)
    c = layers.Activation("relu", name="c")(layers.Dense(4, name="d")(b))
    model = keras.Model(x, layers.Softmax(name="p")(layers.Dense(3, name="e")(layers.Add(name="f")([c, c]))), name="m")
    weights = {}
    for number, layer in enumerate(layer for layer in model.layers if layer.get_weights()):
        weights[layer.name] = [
            floats(*array.shape, seed=10 * number + n) for n, array in enumerate(layer.get_weights())
        ]
        layer.set_weights(weights[layer.name])
    data = floats(7, 6, seed=3)
    with pytest.warns(TfdumpWarning):
        values = tfdump.activations(lite(model, tmp_path / "m.tflite", how, data), data)
    inputs = {"a": data}
    inputs["b"] = data @ weights["a"][0] + weights["a"][1]
    inputs["d"] = inputs["b"] @ weights["b"][0]
    inputs["e"] = 2 * np.maximum(inputs["d"] @ weights["d"][0] + weights["d"][1], 0)
    known = 0
    for name, value in values.items():
        layer, _, operation = name.partition(":")
        if layer not in inputs:
            continue
        product = inputs[layer] @ weights[layer][0]
        total = product + weights[layer][1] if len(weights[layer]) > 1 else product
        expected = {"op.MatMul": product, "op.BiasAdd": total, "": total}[operation]
        np.testing.assert_allclose(
            value, expected, rtol=0.05 if how == "dynamic" else 1e-2, atol=0.1 if how != "float" else 1e-4
        )
        known += 1
    assert known >= 3
