"""Shapes that only the running graph computes do not make a small model look large, nor a large one small."""

from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from support.command import Run
from tfdump.model.tracing.memory import LiveMemory

pytestmark = pytest.mark.tensorflow

SAMPLES = 16_000

FRONT = '''
import keras, tensorflow as tf

@keras.saving.register_keras_serializable("front")
class Spectrum(keras.layers.Layer):
    """Magnitudes of a short-time Fourier transform, (examples, frames, frequencies, channels)."""
    def call(self, x):
        waves = tf.transpose(x, (0, 2, 1))
        return tf.abs(tf.transpose(tf.signal.stft(waves, 512, 128, 512), (0, 2, 3, 1)))

@keras.saving.register_keras_serializable("front")
class Decibels(keras.layers.Layer):
    """In decibels, those more than 80 below the loudest raised."""
    def call(self, x):
        level = 10.0 * tf.math.log(tf.maximum(x, 1e-5)) / tf.math.log(tf.constant(10.0))
        return tf.maximum(level, tf.reduce_max(level, axis=(1, 2, 3), keepdims=True) - 80.0)
'''


@pytest.fixture
def front(tmp_path: Path) -> ModuleType:
    """The layers of an audio model, and `audio.keras` made of them with its input `x.npy`."""
    (tmp_path / "front.py").write_text(FRONT)
    module = ModuleType("front")
    exec(FRONT, module.__dict__)
    x = keras.Input((SAMPLES, 1), name="sound")
    pooled = layers.GlobalAveragePooling2D(name="pool")(module.Decibels(name="db")(module.Spectrum(name="stft")(x)))
    keras.Model(x, layers.Dense(2, name="out")(pooled)).save(tmp_path / "audio.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((3, SAMPLES, 1)).astype("float32"))
    return module


def test_the_gradient_of_a_spectrum_in_decibels(front: ModuleType, tfdump: Run, tmp_path: Path) -> None:
    options = ("--import", "front.py", "--objective", "sum", "--wrt", "inputs", "-o", "g.h5", "--max-bytes", "512MiB")
    done = tfdump("gradients", "audio.keras", "x.npy", *options)
    assert done.returncode == 0, done.stderr
    model = keras.models.load_model(tmp_path / "audio.keras")
    x = tf.constant(np.load(tmp_path / "x.npy"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(model(x))
    import tfdump as api

    with api.open(tmp_path / "g.h5") as dump:
        got = dump["gradients/inputs/sound"][()]
        assert dump.attributes["batch_size"] > 1
    np.testing.assert_allclose(got, tape.gradient(total, x), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("command", ["activations", "gradients"])
def test_a_limit_that_one_example_does_exceed(command: str, front: ModuleType, tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((SAMPLES, 1), name="sound")
    wide = layers.UpSampling1D(4000, name="wide")(front.Decibels(name="db")(front.Spectrum(name="stft")(x))[..., 0])
    keras.Model(x, wide).save(tmp_path / "wide.keras")
    options = ("--objective", "sum", "--wrt", "inputs") if command == "gradients" else ()
    done = tfdump(command, "wide.keras", "x.npy", "--import", "front.py", *options, "--max-bytes", "256MiB")
    assert done.returncode == 2
    assert "one example takes about" in done.stderr


def peak_of(function: object, *shapes: tuple[int | None, ...], batch: int, longest: int) -> tuple[int, int]:
    """What one batch takes by a guess at open axes, and by shapes that follow from the inputs."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    traced = tf.function(function).get_concrete_function(*specs)
    wanted = [traced.structured_outputs]
    guessed, resolved = (LiveMemory(traced.graph, wanted, longest, resolve) for resolve in (False, True))
    return guessed.peak(batch), resolved.peak(batch)


def test_axes_that_the_graph_computes_are_resolved() -> None:
    """(batch, 100) seen as (batch, 10, 10) by a computed shape, and the outer product of each row: 1000 numbers."""

    def run(x: tf.Tensor) -> tf.Tensor:
        square = tf.reshape(x, (tf.shape(x)[0], -1, tf.cast(tf.sqrt(tf.cast(tf.shape(x)[1], tf.float32)), tf.int32)))
        return square[:, :, :, None] * square[:, :, None, :]

    for batch in (1, 8):
        guessed, resolved = peak_of(run, (None, 100), batch=batch, longest=100)
        assert guessed > 100 * 100 * 4 * batch
        assert 1000 * 4 * batch <= resolved <= 2 * 1000 * 4 * batch + 400


def test_tensors_of_several_batch_axes_and_of_further_rows() -> None:
    """A similarity of all examples is (batch, batch); a table of 1000 rows put behind the batch does not shrink."""

    def similar(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.matmul(x, x, transpose_b=True), (-1,))

    def beside(x: tf.Tensor) -> tf.Tensor:
        return tf.concat([x, tf.ones((1000, 3))], 0)

    assert peak_of(similar, (None, 3), batch=64, longest=3)[1] == 64 * 64 * 4
    assert peak_of(beside, (None, 3), batch=1, longest=3)[1] >= 1001 * 3 * 4


def test_results_of_loops_are_batches() -> None:
    """What a loop gives is as long as the batch, and what follows from it is resolved too."""

    def run(x: tf.Tensor) -> tf.Tensor:
        y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, x))[1]
        wide = tf.reshape(y, tf.stack([tf.shape(y)[0], tf.size(y) // tf.shape(y)[0] // 5, 5]))
        return wide[:, :, :, None] * wide[:, :, None, :]

    guessed, resolved = peak_of(run, (None, 20), batch=2, longest=1000)
    assert guessed > 100 * resolved
    assert 100 * 4 * 2 <= resolved <= 4 * 100 * 4 * 2


def test_a_loop_keeps_one_state_a_step_and_not_one_a_feature(tfdump: Run, tmp_path: Path) -> None:
    """Ten steps of 128 units and gates; the 20,000 features make the weights large, and not the loop."""
    x = keras.Input((10, 20_000), name="x")
    keras.Model(x, layers.LSTM(128, name="lstm")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 10, 20_000), "float32"))
    options = ("--objective", "sum", "--wrt", "inputs", "--max-bytes", "256MiB")
    done = tfdump("gradients", "m.keras", "x.npy", *options)
    assert done.returncode == 0, done.stderr


def test_a_graph_that_takes_no_batches_of_these_sizes() -> None:
    """It is guessed at as before."""

    def run(x: tf.Tensor) -> tf.Tensor:
        return tf.add_n(tf.split(x, 3))

    guessed, resolved = peak_of(run, (None, 5), batch=3, longest=5)
    assert guessed == resolved
