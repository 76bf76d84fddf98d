"""What the Python API takes, and what it says of what it does not take."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdump
from tfdump.errors import TfdumpError

pytestmark = pytest.mark.tensorflow

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
Y = np.arange(5, dtype="float32")[:, None]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A nested model whose weights are not zero."""
    layers = [keras.Input((3,)), keras.layers.Dense(4, name="fc"), keras.layers.ReLU(name="act")]
    inner = keras.Sequential(layers, name="enc")
    inputs = keras.Input((3,), name="x")
    out = keras.layers.Dense(1, name="out")(inner(inputs))
    made = keras.Model(inputs, out)
    random = np.random.default_rng(1)
    made.set_weights([random.normal(size=weight.shape) for weight in made.get_weights()])
    return made


@pytest.mark.parametrize("layers", [None, (), []])
def test_no_layers_are_all_layers(model: keras.Model, layers: Any) -> None:
    assert list(tfdump.activations(model, X, layers=layers, exclude=None)) == ["enc.fc", "enc.act", "enc", "out"]


def test_a_layer_stands_for_its_address(model: keras.Model) -> None:
    inner = model.get_layer("enc")
    acts = tfdump.activations(model, X, layers=inner.get_layer("act"))
    assert list(acts) == ["enc.act"]
    kernel, bias = inner.get_layer("fc").get_weights()
    assert np.allclose(acts["enc.act"], np.maximum(X @ kernel + bias, 0), atol=1e-5)
    assert list(tfdump.activations(model, X, layers=[inner, "out"])) == ["enc", "out"]
    assert list(tfdump.activations(model, X, exclude=inner.get_layer("fc"))) == ["enc.act", "enc", "out"]
    assert [item.address for item in tfdump.layers(model, layers=inner)] == ["enc"]
    assert list(tfdump.gradients(model, X, Y, loss="mse", layers=model.get_layer("out"))) == ["out.kernel", "out.bias"]


def test_sizes_may_be_numbers_of_numpy(model: keras.Model) -> None:
    acts = tfdump.activations(model, X, batch_size=np.int64(2), depth=np.int32(1), seed=np.uint8(3))
    assert list(acts) == ["enc", "out"]
    steps = tfdump.gradients(model, X, Y, loss="mse", steps=np.int64(2), learning_rate=np.float32(0.1))
    assert steps["out.bias"].shape == (2, 1)


def test_a_path_is_opened_as_on_the_command_line(model: keras.Model, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", x=X, y=Y)
    expected = tfdump.activations(model, X)
    for path in (tmp_path / "x.npy", str(tmp_path / "x.npy"), f"{tmp_path}/x.npz::x"):
        acts = tfdump.activations(model, path)
        assert all(np.array_equal(acts[address], expected[address]) for address in expected)


def test_losses_by_output() -> None:
    """A dict of losses as `compile` takes it: names and objects, of which two bear one name."""
    inputs = keras.Input((3,))
    outputs = {"a": keras.layers.Dense(1, name="a")(inputs), "b": keras.layers.Dense(1, name="b")(inputs)}
    two = keras.Model(inputs, outputs)
    random = np.random.default_rng(2)
    two.set_weights([random.normal(size=weight.shape) for weight in two.get_weights()])
    targets = {"a": Y, "b": -Y}
    prediction = {name: np.asarray(value) for name, value in two(X).items()}
    squared = {name: np.mean((prediction[name] - targets[name]) ** 2) for name in targets}
    absolute = np.mean(np.abs(prediction["b"] - targets["b"]))
    grads = tfdump.gradients(two, X, targets, loss={"a": "mse", "b": keras.losses.MeanAbsoluteError()})
    assert grads.loss == pytest.approx(squared["a"] + absolute, rel=1e-5)

    def double(y_true: Any, y_pred: Any) -> Any:
        return 2 * keras.losses.mean_squared_error(y_true, y_pred)

    def single(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.mean_squared_error(y_true, y_pred)

    single.__name__ = "double"
    grads = tfdump.gradients(two, X, targets, loss={"a": double, "b": single})
    assert grads.loss == pytest.approx(2 * squared["a"] + squared["b"], rel=1e-5)


def _dataset() -> Any:
    return tf.data.Dataset.from_tensor_slices(X).batch(2)


class _Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return X[index : index + 1]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (lambda: None, "the input is None"),
        (lambda: (row for row in X), "the input is a generator, which can be read only once"),
        (lambda: iter([X]), "which can be read only once"),
        (lambda: "nope.npy", "no such input file: nope.npy"),
        (lambda: {"x": None}, "input 'x' is None"),
        (lambda: [[1.0, 2.0, 3.0], [1.0]], "the input is not an array"),
        (object, "and not an array"),
    ],
)
def test_what_holds_no_arrays_is_refused_with_what_to_give(
    model: keras.Model, x: Callable[[], Any], words: str
) -> None:
    with pytest.raises(TfdumpError, match=words):
        tfdump.activations(model, x())


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (lambda: {"out": None}, "target 'out' is None"),
        (_dataset, "which yields batches and is not an array"),
        (_Batches, "_Batches, which yields batches and is not an array"),
    ],
)
def test_targets_that_are_none(model: keras.Model, y: Callable[[], Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        tfdump.gradients(model, X, y(), loss="mse")


def test_a_keras_tensor_is_explained(model: keras.Model) -> None:
    symbolic = model.get_layer("out").output
    for call in (
        lambda: tfdump.activations(symbolic, X),
        lambda: tfdump.activations(model, symbolic),
        lambda: tfdump.activations(model, {"x": symbolic}),
        lambda: tfdump.activations(model, X, layers=symbolic),
        lambda: tfdump.gradients(model, X, symbolic, loss="mse"),
    ):
        with pytest.raises(TfdumpError, match="is a KerasTensor: the symbolic output of the layer 'out'") as raised:
            call()
    advice = str(raised.value).partition("runs on data: ")[2]
    acts = eval(advice, {"tfdump": tfdump, "model": model, "array": X})
    assert list(acts) == ["out"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layers": 3}, "layers: 3 is not a pattern"),
        ({"layers": keras.layers.Dense(1, name="stranger")}, "the layer 'stranger' is not part of the model"),
        ({"batch_size": 1.5}, "batch_size 1.5 is not a whole number of at least 1"),
        ({"batch_size": True}, "batch_size True is not a whole number of at least 1"),
        ({"memory": 0}, "memory 0 is not a whole number of at least 1"),
        ({"seed": -1}, "seed -1 is not a whole number of at least 0"),
        ({"seed": 2**32}, "seed 4294967296 is not between 0 and"),
        ({"exclude": 3}, "exclude: 3 is not a pattern"),
        ({"layers": b"out"}, "layers: b'out' is not a pattern"),
        ({"reduce": 3}, "reduce 3 is not a string"),
        ({"dtype": object}, "is none of float16, float32, float64"),
        ({"training": "no"}, "training 'no' is neither True nor False"),
        ({"eager": 2}, "eager 2 is neither True nor False"),
        ({"trust": "no"}, "trust 'no' is neither True nor False"),
        ({"rnn_steps": "states"}, "rnn_steps 'states' is neither True nor False"),
        ({"dequantize": "yes"}, "dequantize 'yes' is neither True nor False"),
        ({"signature": "serving_default"}, "signature is for SavedModels and .tflite files"),
        ({"max_bytes": "much"}, "'much' is not a number of bytes"),
    ],
)
def test_arguments_of_activations_that_are_none(model: keras.Model, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        tfdump.activations(model, X, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizer": keras.optimizers.Adam(0.01)}, "optimizer='Adam'"),
        ({"optimizer": keras.optimizers.Adam}, "optimizer='Adam'"),
        ({"learning_rate": "fast"}, "learning_rate 'fast' is not a number"),
        ({"loss": keras.losses.MeanSquaredError}, "create one: MeanSquaredError()"),
        ({"loss": [keras.losses.MeanSquaredError()]}, "give a dict: loss="),
        ({"loss": 3}, "loss 3 is neither the name of a loss, nor a loss"),
        ({"loss": {"out": 3}}, "loss 3 is neither the name of a loss, nor a loss"),
        ({"loss": keras.Input((1,), name="k")}, "loss is a KerasTensor"),
        ({"learning_rate": 0}, "learning_rate 0 is not above 0"),
        ({"learning_rate": float("nan")}, "learning_rate nan is not above 0"),
        ({"loss_scale": 0}, "loss_scale 0 is not above 0"),
        ({"loss_scale": [2]}, "loss_scale [2] is not a number"),
        ({"reduction": "total"}, "reduction 'total' is not one of mean, sum"),
        ({"reduction": ["sum"]}, "reduction ['sum'] is not one of mean, sum"),
        ({"objective": 3}, "objective 3 is not a string"),
        ({"wrt": 3}, "wrt: 3 is not a string"),
        ({"wrt": keras.Input((1,), name="k")}, "is not a string"),
        ({"per_example": "yes"}, "per_example 'yes' is neither True nor False"),
        ({"norms_only": "yes"}, "norms_only 'yes' is neither True nor False"),
        ({"save_weights": "yes"}, "save_weights 'yes' is neither True nor False"),
        (
            {"steps": None, "learning_rate": None, "save_weights": True},
            "save_weights is for a gradient descent (add steps)",
        ),
        (
            {"steps": None, "learning_rate": None, "optimizer": "Adam"},
            "optimizer is for a gradient descent (add steps)",
        ),
    ],
)
def test_arguments_of_gradients_that_are_none(model: keras.Model, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=re.escape(words)):
        tfdump.gradients(model, X, Y, **{"loss": "mse", "steps": 1, "learning_rate": 0.1} | arguments)


@pytest.mark.parametrize("pairs", [False, True])
def test_what_is_advised_of_a_data_set_makes_an_array(model: keras.Model, pairs: bool) -> None:
    dataset = tf.data.Dataset.from_tensor_slices((X, Y) if pairs else X).batch(2)
    with pytest.raises(TfdumpError, match="put a part of it together") as raised:
        tfdump.layers(model, dataset)
    advice = str(raised.value).partition("together: ")[2].removesuffix(")").replace("...", "dataset")
    np.testing.assert_array_equal(eval(advice, {"np": np, "dataset": dataset}), X)


def test_switches_may_be_those_of_numpy(model: keras.Model) -> None:
    """And None, which is how Keras writes that nothing was said of `training`."""
    expected = tfdump.activations(model, X)["out"]
    output = tfdump.activations(model, X, training=None, eager=np.bool_(False), attention=0)["out"]
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"training": "no"}, "training 'no' is neither True nor False"),
        ({"overwrite": "no"}, "overwrite 'no' is neither True nor False"),
        ({"stats": "no"}, "stats 'no' is neither True nor False"),
        ({"stats_only": "no"}, "stats_only 'no' is neither True nor False"),
        ({"outputs": "no"}, "outputs 'no' is neither True nor False"),
        ({"attention": "no"}, "attention 'no' is neither True nor False"),
        ({"reduce": 3}, "reduce 3 is not a string"),
        ({"compression": ["gzip"]}, "compression ['gzip'] is not one of none, gzip"),
        ({"wrt": 3}, "wrt: 3 is not a string"),
        ({"wrt": "weights", "objective": 3}, "objective 3 is not a string"),
        ({"wrt": "weights", "norms_only": "no"}, "norms_only 'no' is neither True nor False"),
    ],
)
def test_arguments_of_a_callback_that_are_none(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=re.escape(words)):
        tfdump.DumpCallback("run", X, **arguments)


def test_a_callback_takes_addresses_only(model: keras.Model) -> None:
    with pytest.raises(TfdumpError, match=r"only where the model is in memory \(layers='out'\)"):
        tfdump.DumpCallback("run", X, layers=model.get_layer("out"))


class ZeroMasked(keras.layers.Layer):
    """Zeros where the mask is false."""

    def call(self, x: Any, mask: Any = None) -> Any:
        return x if mask is None else tf.where(mask, x, 0.0)


def masked() -> keras.Model:
    x, keep = keras.Input((2,), name="x"), keras.Input((2,), name="keep", dtype="bool")
    return keras.Model([x, keep], ZeroMasked(name="kept")(x, mask=keep))


@pytest.mark.parametrize("item", [bool, np.bool_, int, float])
def test_an_array_of_objects_that_are_booleans_or_numbers_is_taken_as_such(item: type) -> None:
    keep = np.array([[True, False], [False, True]])
    objects = np.empty((2, 2), object)
    objects[...] = [[item(value) for value in row] for row in keep]
    x = np.array([[1, 2], [3, 4]], "float32")
    got = tfdump.activations(masked(), {"x": x, "keep": objects})
    np.testing.assert_array_equal(got["kept"], x * keep)
    numbers = tfdump.activations(masked(), {"x": x.astype(object), "keep": keep})
    np.testing.assert_array_equal(numbers["kept"], x * keep)


@pytest.mark.parametrize("odd", ["yes", None, 3])
def test_an_array_of_objects_of_several_kinds_is_refused(odd: Any) -> None:
    keep = np.array([[True, odd], [False, True]], object)
    with pytest.raises(TfdumpError, match="'keep'"):
        tfdump.activations(masked(), {"x": np.ones((2, 2), "float32"), "keep": keep})


def test_a_layer_by_itself_says_that_nothing_is_inside(model: keras.Model) -> None:
    layer = model.get_layer("out")
    with pytest.raises(TfdumpError, match=r"the Dense 'out' has no layers inside.*layers='out'"):
        tfdump.activations(layer, np.ones((2, 4), "float32"))
    assert list(tfdump.activations(model, X, layers="out")) == ["out"]


def test_a_callback_on_a_layer_by_itself_dumps_its_output_or_says_what_to_give(
    model: keras.Model, tmp_path: Path
) -> None:
    made = keras.models.clone_model(model)
    made.compile("sgd", "mse")
    layer, x = made.get_layer("out"), np.ones((2, 4), "float32")
    made.fit(X, Y, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path / "a", x, model=layer)])
    with tfdump.open(tmp_path / "a" / "epoch-0001.activations.h5") as dump:
        np.testing.assert_allclose(dump["outputs/output"][:], layer(x), rtol=1e-6)
    callback = tfdump.DumpCallback(tmp_path / "b", x, model=layer, outputs=False)
    with pytest.raises(TfdumpError, match="no layers inside"):
        made.fit(X, Y, verbose=0, callbacks=[callback])
