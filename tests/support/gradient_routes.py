"""Routes to gradients that share no code with tfdump: a tape written out by hand, and finite differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdump.api.gradients import Gradients

Named = dict[str, Any]


def weights_by_address(layer: keras.Layer, path: str = "") -> Named:
    """The trainable variables of a model whose layers are called once and bear different names."""
    weights = {f"{path}{variable.name}": variable for variable in layer._trainable_variables if layer.trainable}
    for inner in layer._layers:
        weights |= weights_by_address(inner, f"{path}{inner.name}.")
    return weights


def taped(loss: Callable[[], Any], weights: Mapping[str, Any]) -> tuple[float, Named]:
    """The value of a loss and its gradients with respect to variables, dense; None where there is none."""
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [variable.value for variable in weights.values()])
    dense = [None if gradient is None else tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
    return float(value), dict(zip(weights, dense, strict=True))


def taped_by_keras(
    model: keras.Model, x: Any, y: Any, sample_weight: Any = None, training: bool = False
) -> tuple[float, Named]:
    """The compiled loss of all examples in one batch, by Keras's own `compute_loss` in a graph, as `fit` has it."""
    weights = weights_by_address(model)
    inputs = keras.tree.map_structure(tf.constant, x)

    def loss() -> Any:
        return model.compute_loss(inputs, y, model(inputs, training=training), sample_weight, training=training)

    loss()  # Keras makes its metrics at the first call

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = loss()
        gradients = tape.gradient(value, [variable.value for variable in weights.values()])
        return value, [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]

    value, gradients = step()
    dense = [None if gradient is None else gradient.numpy() for gradient in gradients]
    return float(value), dict(zip(weights, dense, strict=True))


def assert_gradients(got: Mapping[str, Any], expected: Mapping[str, Any], near: float = 1e-5) -> None:
    """The same addresses, and every gradient equal to `near`, relative to its largest value; None equals None.

    What is zero but for rounding, as a bias before a normalization, is compared with the largest of all.
    """
    assert set(got) == set(expected)
    floor = 1e-7 * max(
        (np.max(np.abs(value), initial=0) for value in expected.values() if value is not None), default=0
    )
    for address in expected:
        assert_near(got[address], expected[address], near, address, floor + 1e-12)


def assert_near(got: Any, expected: Any, near: float = 1e-5, message: str = "", floor: float = 1e-12) -> None:
    assert (got is None) == (expected is None), message
    if expected is None:
        return
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape, message
    largest = np.max(np.abs(expected), initial=0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=near * largest + floor, err_msg=message)


@dataclass
class Shifts:
    """Stands in a forward pass written by hand: adds a constant to the tensor of one address."""

    shifted: str = ""
    shift: Any = 0.0
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, address: str, value: Any) -> Any:
        value = tf.convert_to_tensor(value)
        self.shapes[address] = tuple(value.shape)
        return value + self.shift if address == self.shifted else value


Loss = Callable[[Shifts], Any]


def assert_finite_differences(
    loss: Loss, gradients: Gradients, weights: Mapping[str, Any], inputs: Sequence[str] = (), near: float = 1e-7
) -> None:
    """Every gradient found equals central differences of `loss` along random directions, in float64.

    `loss` calls its argument for each input and activation, by address.
    """
    assert set(gradients.weights) == set(weights)
    places = Shifts()
    value = float(loss(places))
    assert_near(gradients.loss, value, 1e-12)
    assert set(inputs) <= set(places.shapes)
    for address, gradient in gradients.weights.items():
        difference = _along(gradient.shape, gradient, lambda step, v=weights[address]: _moved(v, step, loss))
        assert_near(*difference, near, address, floor=1e-9)
    for address, shape in places.shapes.items():
        gradient = gradients.inputs[address] if address in inputs else gradients.activations[address]
        assert gradient.shape == shape, address
        difference = _along(shape, gradient, lambda step, a=address: float(loss(Shifts(a, step))))
        assert_near(*difference, near, address, floor=1e-9)


def _along(shape: tuple[int, ...], gradient: Any, value: Callable[[Any], float]) -> tuple[list[float], list[float]]:
    """The derivatives along some random directions: by the gradient, and by central differences."""
    random = np.random.default_rng(7)
    directions = [random.standard_normal(shape) for _ in range(2)]
    step = 1e-5
    return [float(np.sum(gradient * d)) for d in directions], [
        (value(step * d) - value(-step * d)) / (2 * step) for d in directions
    ]


def _moved(variable: Any, step: Any, loss: Loss) -> float:
    before = variable.numpy()
    variable.assign(before + step)
    try:
        return float(loss(Shifts()))
    finally:
        variable.assign(before)


def in_float64() -> Iterator[None]:
    """Make Keras compute in float64; the body of a fixture."""
    before, policy = keras.backend.floatx(), keras.config.dtype_policy()
    keras.backend.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.backend.set_floatx(before)
        keras.config.set_dtype_policy(policy)
