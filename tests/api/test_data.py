"""Data that is not arrays, and preprocessing, as arguments of the Python API."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdump
from tfdump import TfdumpError
from tfdump.testing import assert_models_match

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 3)).astype("float32")
Y = RANDOM.normal(size=(10, 1)).astype("float32")
W = np.linspace(0.5, 2, 10).astype("float32")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(inputs))
    model.set_weights([RANDOM.normal(size=weight.shape) for weight in model.get_weights()])
    return model


class Batches(keras.utils.PyDataset):
    """The arrays in batches of 4."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        part = slice(4 * index, 4 * index + 4)
        return X[part], Y[part], W[part]


def yields() -> Iterator[Any]:
    for index in range(3):
        yield Batches()[index]


def by_range(start: int, stop: int) -> Any:
    return X[start:stop], Y[start:stop], W[start:stop]


KINDS: dict[str, Callable[[], Any]] = {
    "data set": lambda: tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(4),
    "unbatched data set": lambda: tf.data.Dataset.from_tensor_slices((X, Y, W)),
    "PyDataset": Batches,
    "generator": lambda: yields,
    "range": lambda: by_range,
}


def test_options_of_data_that_is_not_there_are_told(model: keras.Model) -> None:
    options = tfdump.DataOptions(image_size=(8, 8), sample_rate=16000)
    with pytest.warns(tfdump.TfdumpWarning) as warned:
        tfdump.activations(model, X, data=options)
    assert [str(warning.message) for warning in warned] == [
        "image_size of data is for images, and x holds none (nothing is changed)",
        "sample_rate of data is for sound, and x holds none (nothing is changed)",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_data_sets_and_functions(model: keras.Model, kind: str) -> None:
    expected = tfdump.activations(model, X)
    acts = tfdump.activations(model, KINDS[kind]())
    np.testing.assert_array_equal(acts["out"], expected["out"])
    grads = tfdump.gradients(model, KINDS[kind](), loss="mse")
    by_hand = 2 * np.mean((W[:, None] * (X @ model.get_weights()[0] + model.get_weights()[1] - Y)) * X, axis=0)
    np.testing.assert_allclose(grads["out.kernel"][:, 0], by_hand, rtol=1e-4)
    assert tfdump.compare(model, model, KINDS[kind]()).same


def test_targets_that_are_given_count_more(model: keras.Model) -> None:
    expected = tfdump.gradients(model, X, -Y, sample_weight=W, loss="mse")
    np.testing.assert_array_equal(
        tfdump.gradients(model, Batches(), -Y, loss="mse")["out.kernel"], expected["out.kernel"]
    )
    with pytest.raises(TfdumpError, match=r"'mse' needs them \(give y, or choose an objective\)"):
        tfdump.gradients(model, lambda: X, loss="mse")


def test_data_options(model: keras.Model, tmp_path: Path) -> None:
    options = tfdump.DataOptions(random=6, seed=3)
    first, second = (tfdump.activations(model, data=options)["out"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (6, 1)
    assert not np.isin(first, tfdump.activations(model, data=tfdump.DataOptions(random=6))["out"]).any()
    assert tfdump.compare(model, model, data=options).same
    assert assert_models_match(model, model, data=options).same
    assert tfdump.gradients(model, data=options, objective="sum", wrt="inputs")["x"].shape == (6, 3)
    (tmp_path / "numbers.py").write_text("import numpy as np\n\ndef ones():\n    return np.ones((2, 3), 'float32')\n")
    for function in (f"{tmp_path}/numbers.py:ones", lambda: np.ones((2, 3), "float32")):
        acts = tfdump.activations(model, data=tfdump.DataOptions(function=function))
        np.testing.assert_array_equal(acts["out"], tfdump.activations(model, np.ones((2, 3), "float32"))["out"])
    endless = tfdump.DataOptions(most_examples=7)
    assert tfdump.activations(model, tf.data.Dataset.from_tensors(X).repeat(), data=endless)["out"].shape == (7, 1)


def double(rows: Any) -> Any:
    return rows * 2


@pytest.mark.parametrize(
    "preprocess", ["scale=2", double, ["scale=4", "scale=1/2"], {"x": "scale=2"}, {"x": [double, "scale=1"]}]
)
def test_preprocessing(model: keras.Model, preprocess: Any) -> None:
    expected = tfdump.activations(model, X * 2)["out"]
    both = {"preprocess": preprocess}, {"data": tfdump.DataOptions(preprocess=preprocess)}
    for options in both:
        np.testing.assert_array_equal(tfdump.activations(model, X, **options)["out"], expected)
    grads = tfdump.gradients(model, X, Y, loss="mse", preprocess=preprocess)
    assert grads.loss == tfdump.gradients(model, X * 2, Y, loss="mse").loss
    assert tfdump.compare(model, model, X, preprocess=preprocess).same


def test_preprocessing_of_both_sides_goes_by_the_names_of_the_first() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    first = keras.Model([a, b], keras.layers.Concatenate(name="both")([a, b]))
    c, d = keras.Input((3,), name="c"), keras.Input((2,), name="d")
    second = keras.Model([c, d], keras.layers.Concatenate(name="both")([c, d]))
    x = (X, X[:, :2])
    with pytest.warns(tfdump.TfdumpWarning, match="inputs correspond by order and shape: a = c, b = d"):
        assert tfdump.compare(first, second, x, preprocess={"b": "scale=2"}).same


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "the input is None"),
        ({"x": X, "data": tfdump.DataOptions(random=3)}, "x and random of data exclude each other"),
        ({"data": tfdump.DataOptions(random=3, function=yields)}, "random and function of data exclude each other"),
        ({"data": {"random": 3}}, "is no tfdump.DataOptions"),
        ({"data": tfdump.DataOptions(random=0)}, "random 0 is not a whole number of at least 1"),
        ({"data": tfdump.DataOptions(random=1, seed=-1)}, "seed -1 is not a whole number of at least 0"),
        ({"x": X, "preprocess": 3}, "preprocess 3 is neither text nor a function"),
        ({"x": X, "preprocess": [3]}, "preprocess 3 is neither text nor a function"),
        ({"x": X, "preprocess": "resnet5"}, "preprocess='resnet5' is nothing that is known; near: 'resnet50'"),
        ({"x": X, "preprocess": {"z": "scale=2"}}, "the model gets no input 'z'"),
    ],
)
def test_arguments_that_are_not_valid(model: keras.Model, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        tfdump.activations(model, **arguments)


class Subclassed(keras.Model):
    """A model without declared inputs, which takes a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = keras.layers.Dense(2, name="da"), keras.layers.Dense(2, name="db")

    def call(self, inputs: Any) -> Any:
        return self.a(inputs["left"]) + self.b(inputs["right"])


def test_a_model_that_declares_nothing_gets_names_from_the_data() -> None:
    model = Subclassed()
    model({"left": X, "right": Y})
    model = Subclassed()

    def batches() -> Iterator[Any]:
        for index in range(3):
            x, y, _ = Batches()[index]
            yield {"left": x, "right": y}, y

    acts = tfdump.activations(model, batches)
    np.testing.assert_allclose(acts["da"], X @ np.asarray(model.a.kernel) + np.asarray(model.a.bias), rtol=1e-4)
    np.testing.assert_allclose(acts["db"], Y @ np.asarray(model.b.kernel) + np.asarray(model.b.bias), rtol=1e-4)
    with pytest.raises(TfdumpError, match=r"does not declare the shape of its input .* so random examples"):
        tfdump.activations(Subclassed(), data=tfdump.DataOptions(random=3))
