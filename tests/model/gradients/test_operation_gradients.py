"""Gradients with respect to the operations inside layers, against the chain rule by hand."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump as api

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]


@keras.saving.register_keras_serializable("test_operation_gradients")
class Root(layers.Layer):
    """The root of a square: its gradient at 0 is NaN."""

    def call(self, x: Any) -> Any:
        doubled = x * 2.0
        return ops.sqrt(ops.square(doubled))


def model_with(kernel: np.ndarray) -> keras.Model:
    x = keras.Input((3,), name="x")
    hidden = layers.Dense(2, use_bias=False, name="hidden")
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(Root(name="root")(hidden(x))))
    hidden.set_weights([kernel])
    return model


KERNEL = np.array([[1.0, -2.0], [0.5, 1.0], [2.0, 3.0]], np.float32)
X = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 0.5]], np.float32)


def test_the_gradients_of_operations_follow_the_chain_rule() -> None:
    x = X[[0, 2]]
    gradients = api.gradients(model_with(KERNEL), x, wrt="activations", ops=True, objective="sum")
    doubled = x @ KERNEL * 2
    assert list(gradients.activations) == ["hidden", "root:op.mul", "root:op.Square", "root", "drop"]
    one = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(gradients.activations["drop"], one)
    np.testing.assert_array_equal(gradients.activations["root"], one)
    np.testing.assert_allclose(gradients.activations["root:op.Square"], 0.5 / np.abs(doubled), rtol=1e-6)
    np.testing.assert_allclose(gradients.activations["root:op.mul"], np.sign(doubled), rtol=1e-6)
    np.testing.assert_allclose(gradients.activations["hidden"], 2 * np.sign(doubled), rtol=1e-6)


@pytest.mark.parametrize("per_example", [False, True])
def test_a_root_at_zero_is_found_between_two_operations(per_example: bool) -> None:
    gradients = api.gradients(
        model_with(KERNEL), X, wrt="activations", ops=True, objective="sum", per_example=per_example
    ).activations
    assert np.isinf(gradients["root:op.Square"][1]).all()
    assert np.isnan(gradients["root:op.mul"][1]).all()
    assert np.isfinite(gradients["root"]).all()
    assert np.isfinite(gradients["root:op.mul"][[0, 2]]).all()


def test_the_other_gradients_stay_the_same_to_the_last_bit() -> None:
    x = keras.Input((6,), dtype="int32", name="x")
    h = layers.Embedding(9, 4, name="embed")(x)
    h = layers.LayerNormalization(name="norm")(layers.MultiHeadAttention(2, 3, name="mha")(h, h))
    model = keras.Model(x, layers.Dense(2, name="out")(layers.GlobalMaxPooling1D(name="top")(h)))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(-1, 1, weight.shape))
    tokens = rng.integers(0, 9, (5, 6))
    options: dict[str, Any] = {"wrt": ("weights", "activations"), "objective": "sum"}
    plain, more = (api.gradients(model, tokens, ops=ops, **options) for ops in (False, True))
    inside = [address for address in more.activations if ":op." in address]
    assert "norm:op.Mean" in inside or len(inside) > 5
    for before, after in ((plain.weights, more.weights), (plain.activations, more.activations)):
        for address, value in before.items():
            assert value.tobytes() == after[address].tobytes(), address


def test_operations_need_activations() -> None:
    with pytest.raises(api.TfdumpError, match="ops=True adds operations to the gradients of activations"):
        api.gradients(model_with(KERNEL), X, ops=True, objective="sum")
