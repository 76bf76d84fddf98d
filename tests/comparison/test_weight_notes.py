"""Two dumps of weights compared: what changed, what did not, frozen weights that moved, and transposed kernels."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfdump
from support.check_dumps import normal, write_dump
from support.command import Run
from support.saved_formats import lite

pytestmark = pytest.mark.tensorflow


def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    x = keras.Input((6, 6, 2), name="x")
    y = keras.layers.BatchNormalization(name="free")(keras.layers.Conv2D(4, 3, name="conv")(x))
    y = keras.layers.BatchNormalization(name="bn")(y)
    y = keras.layers.Flatten(name="flat")(y)
    return keras.Model(x, keras.layers.Dense(3, name="out")(y), name="net")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two frozen layers before and after training, and one whose frozen weights moved."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = network()
    model.get_layer("conv").trainable = model.get_layer("bn").trainable = False
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.save(folder / "before.keras")
    model.fit(normal(8, 6, 6, 2), normal(8, 3, seed=1), epochs=1, verbose=0)
    model.save(folder / "after.keras")
    for layer, name in (("conv", "kernel"), ("bn", "moving_mean")):
        variable = next(v for v in model.get_layer(layer).weights if v.name == name)
        variable.assign(variable + 1e-7 * keras.ops.ones_like(variable))
    model.save(folder / "bug.keras")
    return folder


def test_what_changed_and_what_did_not(checkpoints: Path, tmp_path: Path, tfdump: Run) -> None:
    for name in ("before", "after"):
        done = tfdump("weights", checkpoints / f"{name}.keras", "-o", f"{name}.h5")
        assert done.returncode == 0, done.stderr
    done = tfdump("diff", "before.h5", "after.h5")
    assert done.returncode == 1
    frozen = "conv.kernel, conv.bias, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance"
    assert f"6 of 12 weights changed; exactly equal: {frozen}\n" in done.stderr
    assert "frozen weight" not in done.stderr
    assert "made differently" not in done.stderr


def test_a_frozen_weight_that_moved_is_named_however_little(checkpoints: Path, tmp_path: Path, tfdump: Run) -> None:
    """Moving averages of a layer in training move, those of a frozen one do not."""
    for name in ("before", "bug"):
        assert tfdump("weights", checkpoints / f"{name}.keras", "-o", f"{name}.h5").returncode == 0
    done = tfdump("diff", "before.h5", "bug.h5")
    bug = "2 frozen weights changed, although training must not change what is not trainable: conv.kernel, "
    assert f"{bug}bn.moving_mean\n" in done.stderr
    import tfdump as api

    report = api.diff(tmp_path / "before.h5", tmp_path / "bug.h5", layers="conv")
    assert any(note.startswith("a frozen weight changed, although") for note in report.notes)


def test_equal_dumps_have_no_list(tmp_path: Path) -> None:
    paths = [write_dump(tmp_path / f"{n}.h5", {"weights/a.kernel": (normal(3, 4), {"axis0": "none"})}) for n in "ab"]
    report = tfdump.diff(*paths)
    assert report.same
    assert report.notes == ("0 of 1 weights changed",)


def test_the_kernels_of_a_converted_file(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input((6, 6, 2), name="x")
    y = keras.layers.Conv2D(4, 3, activation="tanh", name="conv")(x)
    model = keras.Model(x, keras.layers.Dense(3, name="out")(keras.layers.Flatten(name="flat")(y)))
    for layer in ("conv", "out"):
        bias = model.get_layer(layer).bias
        bias.assign(np.arange(bias.shape[0]) + 0.5)
    model.save(tmp_path / "m.keras")
    lite(model, tmp_path / "m.tflite")
    for file in ("m.keras", "m.tflite"):
        assert tfdump("weights", file, "-o", f"{file}.h5").returncode == 0
    done = tfdump("diff", "m.keras.h5", "m.tflite.h5", "--pair", "names")
    assert done.returncode == 1
    options = ["--transpose", "*.kernel=1,2,3,0", "--transpose", "*.kernel=1,0"]
    advice = f"add --transpose '{options[1]}' --transpose '{options[3]}'"
    assert f"a file has its kernels with the axes in another order; {advice}\n" in done.stderr
    done = tfdump("diff", "m.keras.h5", "m.tflite.h5", "--pair", "names", "--exact", *options)
    assert "agree in" in done.stderr, done.stderr
    assert "0 of 4 weights changed" in done.stderr
