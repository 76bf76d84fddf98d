"""`diff` on one network that was built twice, the second time after other layers: the names are shifted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump as library
from support.combinations import combinations
from support.command import Run
from support.saved_formats import exported

pytestmark = pytest.mark.tensorflow

register = keras.saving.register_keras_serializable(package="pairing")
X = np.random.default_rng(1).standard_normal((5, 6)).astype("f4")


@register
class Block(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.up, self.down = layers.Dense(6, "relu"), layers.Dense(6)
        self.normal = layers.LayerNormalization()

    def build(self, shape: Any) -> None:
        for layer in (self.up, self.down, self.normal):
            layer.build(shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        return self.normal(x + self.down(self.up(x)))


@register
class Stack(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks, self.head = [Block(), Block()], layers.Dense(6)

    def build(self, shape: Any) -> None:
        for layer in (*self.blocks, self.head):
            layer.build(shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def sequential() -> keras.Model:
    inner = [layers.Dense(6, "relu"), layers.Dense(6, "relu"), layers.BatchNormalization(), layers.Dense(6)]
    return keras.Sequential([keras.Input((6,)), *inner])


def functional() -> keras.Model:
    """Two branches of equal shapes, and operations that are no layers."""
    x = keras.Input((6,))
    left, right = layers.Dense(6, "tanh")(x), layers.Dense(6, "tanh")(x)
    both = layers.Add()([left, right])
    both = ops.relu((both + left) * 2.0)
    return keras.Model(x, layers.Dense(6)(both))


def nested() -> keras.Model:
    def inner() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, layers.Dense(6)(layers.Dense(6, "relu")(x)))

    x = keras.Input((6,))
    hidden = keras.Sequential([layers.Dense(6), layers.ReLU()])(inner()(inner()(x)))
    return keras.Model(x, layers.Dense(6)(hidden))


def subclassed() -> keras.Model:
    model = Stack()
    model(X[:1])
    return model


def blocks() -> keras.Model:
    x = keras.Input((6,))
    return keras.Model(x, Block()(Block()(x)))


MODELS = (sequential, functional, nested, subclassed, blocks)


def twins(make: Callable[[], keras.Model]) -> tuple[keras.Model, keras.Model]:
    """A model with random weights, and the same network as one gets it after other layers were built."""
    keras.backend.clear_session()
    golden = make()
    keras.backend.clear_session()
    for _ in range(1 if make is not functional else 2):
        for layer in (
            layers.Dense,
            layers.LayerNormalization,
            layers.BatchNormalization,
            layers.Add,
            layers.ReLU,
            Block,
        ):
            layer(1) if layer is layers.Dense else layer()
        x = keras.Input((6,))
        keras.Sequential([keras.Input((6,)), layers.Dense(2)])
        keras.Model(x, ops.relu(x + 1.0) * 2.0)
    new = make()
    random = np.random.default_rng(7)
    values = [random.standard_normal(weight.shape) * 0.4 for weight in golden.weights]
    values = [np.abs(v) + 0.5 if "variance" in w.name else v for v, w in zip(values, golden.weights, strict=True)]
    for model in (golden, new):
        model.set_weights(values)
        model.compile(loss="mse")
    return golden, new


def changed(model: keras.Model) -> None:
    """Change one weight in the middle."""
    weight = model.weights[len(model.weights) // 2]
    weight.assign(np.asarray(weight) + 0.25)


@pytest.mark.parametrize("make", MODELS)
def test_a_network_that_was_built_later_is_the_same(
    make: Callable[[], keras.Model], tfdump: Run, tmp_path: Path
) -> None:
    golden, new = twins(make)
    expected = [np.asarray(model(X)) for model in (golden, new)]
    np.testing.assert_array_equal(*expected)  # one function, by the models themselves
    sides = {"g": golden, "n": new}
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X[::-1])
    for name, model in sides.items():
        model.save(tmp_path / f"{name}.keras")
        assert tfdump("activations", f"{name}.keras", "x.npy", "-o", f"{name}.h5").returncode == 0
        wrt = ("--wrt", "weights", "--wrt", "activations", "--wrt", "inputs")
        done = tfdump("gradients", f"{name}.keras", "x.npy", "y.npy", "-o", f"{name}.g.h5", *wrt)
        assert done.returncode == 0, done.stderr
    for ending in ("h5", "g.h5"):
        done = tfdump("diff", f"g.{ending}", f"n.{ending}")
        assert done.returncode == 0, done.stderr
        assert "missing" not in done.stderr
    memory = {name: library.activations(model, X) for name, model in sides.items()}
    assert list(memory["g"]) != list(memory["n"])
    assert library.diff(tmp_path / "g.h5", memory["n"], allow_missing=True, ignore="outputs/*").same
    assert library.diff(memory["g"], memory["n"]).same
    np.savez(tmp_path / "n.npz", **memory["n"])
    assert library.diff(memory["g"], tmp_path / "n.npz").same

    changed(new)
    new.save(tmp_path / "n.keras")
    assert tfdump("activations", "n.keras", "x.npy", "-o", "n.h5", "-f").returncode == 0
    assert tfdump("diff", "g.h5", "n.h5").returncode == 1
    assert not library.diff(memory["g"], library.activations(new, X)).same


@pytest.mark.parametrize("make", combinations(MODELS, tested=lambda make: make in (functional, subclassed)))
def test_the_saved_model_of_a_network_that_was_built_later(
    make: Callable[[], keras.Model], tfdump: Run, tmp_path: Path
) -> None:
    golden, new = twins(make)
    np.save(tmp_path / "x.npy", X)
    golden.save(tmp_path / "g.keras")
    assert tfdump("activations", "g.keras", "x.npy", "-o", "g.h5").returncode == 0
    for number, model in enumerate((golden, new)):
        folder = exported(model, tmp_path / f"saved{number}")
        assert tfdump("activations", folder, "x.npy", "-o", f"s{number}.h5", "--trust-model").returncode == 0
    report = library.diff(tmp_path / "g.h5", tmp_path / "s1.h5", allow_missing=True)
    assert report.same
    assert report.count("missing") == 0
    assert library.diff(tmp_path / "s0.h5", tmp_path / "s1.h5").same


@pytest.mark.parametrize("front", [True, False])
def test_a_layer_that_was_put_in_is_extra(front: bool, tfdump: Run, tmp_path: Path) -> None:
    """Of another class, so that the others are all found."""
    golden, _ = twins(sequential)
    place = 0 if front else 2
    inner = [layers.Dense.from_config({**layer.get_config(), "name": None}) if isinstance(layer, layers.Dense)
             else layers.BatchNormalization() for layer in golden.layers]  # fmt: skip
    new = keras.Sequential([keras.Input((6,)), *inner[:place], layers.Dropout(0.5), *inner[place:]])
    new.set_weights(golden.get_weights())
    report = library.diff(library.activations(golden, X), library.activations(new, X))
    assert [tensor.shown_name.rstrip("_0123456789") for tensor in report.tensors if tensor.status == "extra"] == [
        "dropout"
    ]
    assert report.count("missing", "differs") == 0
