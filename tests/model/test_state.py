"""Running a model changes nothing in it, and what it changes while it runs begins anew each time."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Operation, layers, ops

import tfdump
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


class Doubling(layers.Layer):
    """Doubles its weight, and counts its calls in a variable, a metric and a tf.Variable."""

    def build(self, shape: tuple) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")
        self.plain = [tf.Variable(0.0)]
        self.mean = keras.metrics.Mean()

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.factor.assign(self.factor * 2)
        self.plain[0].assign_add(1.0)
        self.mean.update_state(x)
        return x * self.factor


@pytest.mark.parametrize("eager", [False, True])
def test_what_a_call_assigns_starts_anew_and_is_put_back(eager: bool) -> None:
    x = keras.Input((2,))
    layer = Doubling(name="doubling")
    model = keras.Model(x, layer(x))
    data = np.ones((9, 2), "float32")
    got = tfdump.activations(model, data, batch_size=3, eager=eager)["doubling"]
    np.testing.assert_array_equal(got[:, 0], [2, 2, 2, 4, 4, 4, 8, 8, 8])
    np.testing.assert_array_equal(layer.factor.numpy(), [1, 1])
    assert layer.plain[0].numpy() == 0
    assert float(layer.mean.count.numpy()) == 0


def test_a_model_that_changes_its_variables_is_named() -> None:
    x = keras.Input((2,))
    model = keras.Model(x, Doubling(name="doubling")(x))
    with pytest.warns(tfdump.TfdumpWarning, match="the model changes variables while it runs.*factor"):
        tfdump.activations(model, floats(4, 2))


@pytest.mark.parametrize("eager", [False, True])
def test_states_of_a_stateful_layer_are_put_back(eager: bool) -> None:
    x = keras.Input(batch_shape=(3, 5, 2))
    lstm = layers.LSTM(2, stateful=True)
    model = keras.Model(x, lstm(x))
    data = floats(9, 5, 2)
    model(data[:3])
    before = [state.numpy() for state in lstm.states]
    assert any(state.any() for state in before)
    tfdump.activations(model, data, eager=eager)
    for state, value in zip(lstm.states, before, strict=True):
        np.testing.assert_array_equal(state.numpy(), value)


class Noisy(layers.Layer):
    """Draws from generators in a list, and from the global one."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.generators = [keras.random.SeedGenerator(1)]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        own = keras.random.normal(ops.shape(x), seed=self.generators[0])
        return own + keras.random.normal(ops.shape(x))


def test_every_random_generator_follows_the_seed_and_is_put_back() -> None:
    x = keras.Input((3,))
    layer = Noisy(name="noisy")
    model = keras.Model(x, layer(x))
    data = floats(4, 3)
    state = random.getstate()
    first, again, other = (tfdump.activations(model, data, seed=seed)["noisy"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert random.getstate() == state
    expected = keras.random.normal((2,), seed=keras.random.SeedGenerator(1))
    np.testing.assert_array_equal(keras.random.normal((2,), seed=layer.generators[0]), expected)


def test_threads_do_not_disturb_each_other() -> None:
    models = [keras.Sequential([keras.Input((6,)), *[layers.Dense(8) for _ in range(10)]]) for _ in range(3)]
    before, results = Operation.__call__, []

    def dump(model: keras.Model) -> None:
        results.extend(len(tfdump.activations(model, floats(8, 6))) for _ in range(3))

    threads = [threading.Thread(target=dump, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [10] * 9
    assert Operation.__call__ is before
    assert not tf.config.functions_run_eagerly()
