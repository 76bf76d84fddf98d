"""A callback that watches a part of what is trained: a GAN, which has no `call`, and a moving average of weights."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from tfdump.errors import ModelError, TfdumpError

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

REAL = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
NOISE = np.random.default_rng(1).standard_normal((5, 3)).astype("float32")


class Gan(keras.Model):
    """A generator and a discriminator, trained in turn by a step of its own, and no `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.Sequential(
            [keras.Input((3,), name="noise"), layers.Dense(6, "tanh", name="hidden"), layers.Dropout(0.2, name="drop"),
             layers.Dense(4, name="fake")], name="generator",
        )  # fmt: skip
        self.discriminator = keras.Sequential(
            [keras.Input((4,)), layers.Dense(5, "relu", name="look"), layers.Dense(1, name="score")],
            name="discriminator",
        )
        self.rates = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1)
        self.loss_of = keras.losses.BinaryCrossentropy(from_logits=True)

    def train_step(self, real: Any) -> dict[str, Any]:
        noise = tf.random.normal((tf.shape(real)[0], 3))
        with tf.GradientTape() as tape:
            scores = self.discriminator(tf.concat([self.generator(noise, training=True), real], 0), training=True)
            labels = tf.concat([tf.zeros((tf.shape(real)[0], 1)), tf.ones((tf.shape(real)[0], 1))], 0)
            loss = self.loss_of(labels, scores)
        weights = self.discriminator.trainable_weights
        self.rates[0].apply(tape.gradient(loss, weights), weights)
        with tf.GradientTape() as tape:
            fooled = self.loss_of(tf.ones((tf.shape(real)[0], 1)), self.discriminator(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.rates[1].apply(tape.gradient(fooled, weights), weights)
        return {"loss": loss}


def trained(*callbacks: Any, model: Gan | None = None) -> tuple[Gan, list[np.ndarray]]:
    """A GAN after three epochs, and its weights."""
    keras.utils.set_random_seed(3)
    gan = model or Gan()
    gan.compile()
    made = [callback(gan) for callback in callbacks]
    gan.fit(REAL, batch_size=8, epochs=3, verbose=0, callbacks=made)
    return gan, gan.get_weights()


def test_the_generator_of_a_gan(tmp_path: Path) -> None:
    epochs: list[list[np.ndarray]] = []

    class Weights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            epochs.append(self.model.generator.get_weights())

    _, alone = trained()
    _, watched = trained(
        lambda gan: tfdump.DumpCallback(tmp_path, NOISE, model=gan.generator),
        lambda gan: tfdump.DumpCallback(
            tmp_path, NOISE, model=gan.generator, wrt="weights", objective="sum", layers="fake*"
        ),
        lambda gan: Weights(),
    )
    for plain, dumped in zip(alone, watched, strict=True):
        np.testing.assert_array_equal(plain, dumped)
    for epoch, (kernel, bias, last, offset) in enumerate(epochs, 1):
        with h5py.File(tmp_path / f"epoch-{epoch:04d}.activations.h5") as file:
            assert list(file["activations"]) == ["hidden", "drop", "fake"]
            assert file.attrs["model_class"] == "Sequential"
            hidden = np.tanh(NOISE @ kernel + bias)
            np.testing.assert_allclose(file["activations/hidden"][()], hidden, atol=1e-5)
            np.testing.assert_allclose(file["activations/fake"][()], hidden @ last + offset, atol=1e-5)
        with h5py.File(tmp_path / f"epoch-{epoch:04d}.gradients.h5") as file:
            expected = np.repeat(hidden.sum(0)[:, None], 4, 1)
            np.testing.assert_allclose(file["gradients/weights/fake.kernel"][()], expected, rtol=1e-4, atol=1e-5)


def test_without_a_part_the_advice_comes_before_the_first_batch(tmp_path: Path) -> None:
    gan = Gan()
    before = gan.get_weights()
    with pytest.raises(
        ModelError, match=r"Gan does not define call, .* DumpCallback\(\.\.\., model=model\.generator\)"
    ):
        trained(lambda gan: tfdump.DumpCallback(tmp_path, NOISE), model=gan)
    for old, new in zip(before, gan.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ModelError, match="Gan does not define call"):
        tfdump.DumpCallback(tmp_path, NOISE, model=gan)


@pytest.mark.parametrize("part", ["generator", 3, np.zeros(3), keras.Model])
def test_what_is_no_part_is_refused_at_once(tmp_path: Path, part: Any) -> None:
    with pytest.raises(TfdumpError, match="must be a Keras model or layer"):
        tfdump.DumpCallback(tmp_path, NOISE, model=part)


def test_what_does_not_fit_the_part_is_an_error_before_the_first_batch(tmp_path: Path) -> None:
    for options, words in (
        ({"layers": "look"}, "look"),
        ({"wrt": "weights", "y": REAL[:5]}, "loss"),
    ):
        with pytest.raises(TfdumpError, match=words):
            trained(lambda gan, o=options: tfdump.DumpCallback(tmp_path / "run", NOISE, model=gan.generator, **o))


def test_a_layer_and_another_model_that_the_training_changes(tmp_path: Path) -> None:
    x = keras.Input((4,))
    block = layers.Dense(3, name="block")
    model = keras.Model(x, layers.Dense(4)(block(x)))
    average = keras.models.clone_model(model)
    average.set_weights(model.get_weights())

    class Averaging(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            pairs = zip(average.get_weights(), self.model.get_weights(), strict=True)
            average.set_weights([0.5 * old + 0.5 * new for old, new in pairs])

    model.compile("sgd", "mse")
    callbacks = [
        Averaging(),
        tfdump.DumpCallback(tmp_path / "average", REAL, model=average),
        tfdump.DumpCallback(tmp_path / "block", REAL, model=block),
    ]
    model.fit(REAL, REAL, epochs=2, verbose=0, callbacks=callbacks)
    with h5py.File(tmp_path / "average" / "epoch-0002.activations.h5") as file:
        np.testing.assert_allclose(file["activations/block"][()], average.layers[1](REAL), atol=1e-5)
    with h5py.File(tmp_path / "block" / "epoch-0002.activations.h5") as file:
        np.testing.assert_allclose(file["outputs/output"][()], block(REAL), atol=1e-5)
