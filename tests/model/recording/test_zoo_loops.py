"""Loops, branches and layers inside them: captured, or named with a reason; and layers that wrap layers."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from support import zoo, zoo_models
from support.tiny_models import floats
from support.zoo_models import Inner

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

X = floats(4, 3)


def inner(kind: str) -> tuple[Inner, list[np.ndarray]]:
    """A model, and the weights of its two layers."""
    model = Inner(kind)
    model(X)
    return model, [*model.inside.get_weights(), *model.out.get_weights()]


HIDDEN = ["while_loop", "fori_loop", "scan", "map", "cond", "both_branches", "switch"]


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_is_inside_is_named_and_what_follows_is_right(tmp_path: Path, kind: str) -> None:
    model, (w, b, v, c) = inner(kind)
    dump = zoo.checked(model, X, tmp_path)
    assert {name.partition("@")[0] for name in dump.missing} == {"inside"}
    assert all(dump.missing.values())
    assert "not captured: inside" in dump.stderr
    value = X
    for _ in range(3 if kind in ("while_loop", "fori_loop", "scan") else 1):
        value = value @ w + b + (X if kind == "scan" else 0)
    assert list(dump.values) == ["out"]
    np.testing.assert_allclose(dump.values["out"], value @ v + c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["direct", "remat", "associative_scan", "nothing", "fft", "complex"])
def test_what_is_no_loop_is_captured(tmp_path: Path, kind: str) -> None:
    model, (w, b, v, c) = inner(kind)
    dump = zoo.checked(model, X, tmp_path)
    assert not dump.missing
    inside = (np.cumsum(X, axis=1) if kind == "associative_scan" else X) @ w + b
    np.testing.assert_allclose(dump.values["inside"], inside, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dump.values["out"], inside @ v + c, rtol=1e-4, atol=1e-5)
    if kind == "nothing":
        assert dump.outputs["2"].shape == (4, 0)
        assert "1" not in dump.outputs
    if kind in ("fft", "complex"):
        spectrum = np.fft.fft(inside)
        got = dump.outputs["1"] + 1j * dump.outputs["2"] if kind == "fft" else dump.outputs["1"]
        np.testing.assert_allclose(got, spectrum, rtol=1e-4, atol=1e-4)


def test_the_same_in_an_eager_run(tmp_path: Path) -> None:
    """Eagerly, a branch is Python: the layer in it is captured; what is in a loop is called many times."""
    model, (w, b, _, _) = inner("cond")
    dump = zoo.checked(model, X, tmp_path, "--eager")
    np.testing.assert_allclose(dump.values["inside"], X @ w + b, rtol=1e-4, atol=1e-5)


def test_what_python_calls_from_within_the_graph(tmp_path: Path) -> None:
    model, (w, b, v, c) = inner("py_function")
    model.save(tmp_path / "m.keras")
    dump = zoo.dumped(tmp_path / "m.keras", X)
    assert dump.missing == {"inside": "never called, or within tf.py_function, which --eager sees"}
    np.testing.assert_allclose(dump.values["out"], (X @ w + b) @ v + c, rtol=1e-4, atol=1e-5)
    dump = zoo.dumped(tmp_path / "m.keras", X, "--eager")
    np.testing.assert_allclose(dump.values["inside"], X @ w + b, rtol=1e-4, atol=1e-5)


def sub_model() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")], name="sub")


NESTED = {
    "time_distributed": lambda: ((3, 4), [layers.TimeDistributed(layers.Dense(2, name="d"), name="td")]),
    "time_distributed_model": lambda: ((3, 4), [layers.TimeDistributed(sub_model(), name="td")]),
    "time_distributed_bidirectional": lambda: (
        (3, 5, 4),
        [layers.TimeDistributed(layers.Bidirectional(layers.LSTM(2, name="l"), name="both"), name="td")],
    ),
    "bidirectional_time_distributed": lambda: (
        (3, 4),
        [
            layers.Bidirectional(layers.GRU(2, return_sequences=True, name="g"), name="both"),
            layers.TimeDistributed(layers.Dense(2, name="d"), name="td"),
        ],
    ),
    "bidirectional_of_cells": lambda: (
        (3, 4),
        [layers.Bidirectional(layers.RNN([layers.LSTMCell(2, name="one"), layers.GRUCell(2, name="two")], name="r"))],
    ),
    "stacked_cells": lambda: (
        (3, 4),
        [layers.RNN(layers.StackedRNNCells([layers.LSTMCell(2), layers.LSTMCell(2)]), return_sequences=True)],
    ),
    "convolutional_lstm": lambda: ((3, 6, 6, 1), [layers.ConvLSTM2D(2, 3), layers.Flatten()]),
    "spectral": lambda: ((4,), [layers.SpectralNormalization(layers.Dense(3, name="d"), name="norm")]),
    "wrapper": lambda: ((4,), [zoo_models.Doubled(layers.Dense(3, name="d"), name="w")]),
    "wrapper_directly": lambda: ((4,), [zoo_models.DoubledDirectly(layers.Dense(3, name="d"), name="w")]),
    "time_distributed_wrapper": lambda: (
        (3, 4),
        [layers.TimeDistributed(zoo_models.Doubled(layers.Dense(3, name="d"), name="w"), name="td")],
    ),
    "wrapper_of_spectral_of_a_model": lambda: (
        (4,),
        [zoo_models.Doubled(zoo_models.Doubled(sub_model(), name="v"), name="w")],
    ),
    "pipeline": lambda: ((8, 8, 3), [layers.Pipeline([layers.Rescaling(0.5, name="r"), layers.Resizing(4, 4)])]),
    "attention": lambda: ((5, 8), [SelfAttention(name="self")]),
}


@zoo_models.register
class SelfAttention(layers.Layer):
    """Attention of a sequence to itself, in groups, after a MultiHeadAttention."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.heads = layers.MultiHeadAttention(2, 4, name="heads")
        self.groups = layers.GroupQueryAttention(4, 4, 2, name="groups")

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.heads.build(shape, shape)
        self.groups.build(shape, shape)

    def call(self, x: object) -> object:
        y = self.heads(x, x)
        return self.groups(y, y)


@pytest.mark.parametrize("name", NESTED)
def test_nothing_is_missing_without_a_name(tmp_path: Path, name: str) -> None:
    """`checked` fails where the second recorder sees a call that is neither in the dump nor named."""
    shape, stack = NESTED[name]()
    model = keras.Sequential([keras.Input(shape), *stack])
    dump = zoo.checked(model, floats(4, *shape), tmp_path)
    layers_owned = [layer for layer in model._flatten_layers(include_self=False) if layer not in model.layers]
    named = {address.rpartition(".")[2].partition("@")[0] for address in [*dump.values, *dump.missing]}
    owned = {layer.name for layer in layers_owned if not isinstance(layer, layers.InputLayer)}
    assert {name.partition(":")[0] for name in named} >= owned - {"functional"}


def test_a_wrapper_and_what_it_wraps_by_hand(tmp_path: Path) -> None:
    dense = layers.Dense(3, name="d")
    model = keras.Sequential([keras.Input((4,)), zoo_models.Doubled(dense, name="w")])
    kernel, bias = dense.get_weights()
    x = floats(5, 4)
    dump = zoo.dumped(save(model, tmp_path), x)
    np.testing.assert_allclose(dump.values["w.d"], x @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dump.values["w"], (x @ kernel + bias) * 2, rtol=1e-5, atol=1e-6)


def save(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "m.keras")
    return folder / "m.keras"
