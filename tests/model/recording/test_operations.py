"""Every operation inside the layers (`--ops`), against TensorFlow's own callback for operations and NumPy."""

import importlib
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.framework import op_callbacks

import tfdump as api
from tfdump.run.layers import ListedTensor

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]


THIS_FILE = f"{__name__.replace('.', '/')}.py"


@keras.saving.register_keras_serializable("test_operations")
class Norm(layers.Layer):
    """The logarithm of the distance from the mean, doubled."""

    def call(self, x: Any) -> Any:
        centered = x - ops.mean(x, axis=-1, keepdims=True)
        return ops.log(centered) * 2.0


def line_of(text: str) -> str:
    """The line of `Norm.call` that holds a text, as a source."""
    lines, first = inspect.getsourcelines(Norm)
    number = next(number for number, line in enumerate(lines) if text in line)
    return f"{THIS_FILE}:{first + number}"


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def randomized(model: keras.Model) -> keras.Model:
    """The model with other weights than those that initializers give, such as zeros and ones."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.uniform(0.2, 1.0, weight.shape))
    return model


def listed(model: keras.Model, *x: Any, **options: Any) -> dict[str, ListedTensor]:
    return {tensor.address: tensor for tensor in api.layers(model, *x, ops=True, **options)}


def normed() -> keras.Model:
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, activation="relu", name="hidden")(x)
    return randomized(keras.Model(x, layers.Dropout(0.5, name="drop")(Norm(name="norm")(hidden))))


@contextmanager
def operations_run() -> Iterator[list[tuple[str, np.ndarray]]]:
    """Collect the type and the values of every operation that TensorFlow runs eagerly."""
    seen: list[tuple[str, np.ndarray]] = []

    def called(op_type: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None) -> None:
        kind = op_type.decode() if isinstance(op_type, bytes) else op_type
        seen.extend((kind, output.numpy()) for output in outputs if output.dtype not in (tf.resource, tf.variant))

    op_callbacks.add_op_callback(called)
    try:
        yield seen
    finally:
        op_callbacks.remove_op_callback(called)


def test_the_operations_of_a_layer_with_what_they_read_and_their_lines() -> None:
    model, x = normed(), np.abs(floats(5, 4))
    tensors = listed(model)
    got = {
        address: (tensor.class_name, tensor.operation, tensor.inputs, tensor.operands)
        for address, tensor in tensors.items()
    }
    assert got == {
        "hidden:op.MatMul": ("MatMul", None, ("inputs/x",), None),
        "hidden:op.BiasAdd": ("BiasAdd", None, ("hidden:op.MatMul",), None),
        "hidden": ("Dense", "Relu", ("inputs/x",), ("hidden:op.BiasAdd",)),
        "norm:op.Mean": ("Mean", None, ("hidden",), None),
        "norm:op.sub": ("Sub", None, ("hidden", "norm:op.Mean"), None),
        "norm:op.Log": ("Log", None, ("norm:op.sub",), None),
        "norm": ("Norm", "Mul", ("hidden",), ("norm:op.Log",)),
        "drop": ("Dropout", "Identity", ("norm",), ("norm",)),
    }
    sources = {address: tensor.source for address, tensor in tensors.items()}
    assert sources["norm:op.Mean"] == sources["norm:op.sub"] == line_of("centered = ")
    assert sources["norm:op.Log"] == sources["norm"] == line_of("ops.log")
    assert str(sources["hidden:op.MatMul"]).startswith("keras/src/layers/core/dense.py:")
    assert sources["drop"] is None, "tfdump itself copies what a dropout hands on"
    values = api.activations(model, x, ops=True)
    assert list(values) == list(tensors)
    kernel, bias = (np.asarray(weight, np.float64) for weight in model.get_layer("hidden").get_weights())
    product = x @ kernel
    np.testing.assert_allclose(values["hidden:op.MatMul"], product, rtol=1e-5)
    np.testing.assert_allclose(values["hidden:op.BiasAdd"], product + bias, rtol=1e-5)
    hidden = np.maximum(product + bias, 0)
    mean = hidden.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(values["norm:op.Mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(values["norm:op.sub"], hidden - mean, rtol=1e-3, atol=1e-6)
    assert np.isnan(values["norm:op.Log"]).any(), "half of the differences are negative"
    positive = hidden > mean
    np.testing.assert_allclose(values["norm:op.Log"][positive], np.log((hidden - mean)[positive]), rtol=1e-2)
    assert np.isnan(values["norm:op.Log"][~positive]).all()


def several_kinds() -> dict[str, tuple[keras.Model, Any]]:
    """Models of several kinds, with inputs."""
    keras.utils.clear_session()
    x = keras.Input((8, 8, 2), name="x")
    h = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    h = layers.BatchNormalization(name="bn")(h)
    h = layers.Activation("gelu", name="act")(h)
    h = layers.AveragePooling2D(2, name="pool")(h)
    convolutional = keras.Model(x, layers.Dense(3, activation="softmax", name="out")(layers.Flatten(name="flat")(h)))
    t = keras.Input((6,), dtype="int32", name="t")
    h = layers.Embedding(10, 8, name="embed")(t)
    attended = layers.MultiHeadAttention(2, 4, name="mha")(h, h)
    h = layers.LayerNormalization(name="ln")(layers.Add(name="residual")([h, attended]))
    transformer = keras.Model(t, layers.GlobalAveragePooling1D(name="mean")(h))
    inner_x = keras.Input((3,))
    inner = keras.Sequential([inner_x, layers.Dense(4, activation="tanh", name="a"), Norm(name="n")], name="inner")
    p, q = keras.Input((3,), name="p"), keras.Input((3,), name="q")
    siamese = keras.Model([p, q], ops.abs(layers.Subtract(name="minus")([inner(p), inner(q)])))
    tokens = np.random.default_rng(0).integers(0, 10, (4, 6)).astype("int32")
    return {
        "convolutional": (randomized(convolutional), floats(4, 8, 8, 2)),
        "transformer": (randomized(transformer), tokens),
        "siamese": (randomized(siamese), {"p": floats(4, 3), "q": floats(4, 3, seed=1)}),
    }


@pytest.mark.parametrize("name", ["convolutional", "transformer", "siamese"])
def test_every_operation_is_one_that_tensorflow_runs_eagerly(name: str) -> None:
    model, x = several_kinds()[name]
    values = api.activations(model, x, ops=True)
    kinds = {address: tensor.class_name for address, tensor in listed(model, x).items()}
    with operations_run() as seen:
        model(x, training=False)
    inside = [address for address in values if ":op." in address]
    assert len(inside) > 7
    for address in inside:
        value = values[address]
        partners = [array for kind, array in seen if kind == kinds[address] and array.size == value.size]
        if "Tensordot.transpose" in address or not partners:
            assert kinds[address] in ("Transpose", "Reshape"), "eager TensorFlow skips those that change nothing"
            continue
        alike = [np.allclose(array.reshape(value.shape), value, 1e-4, 1e-5, equal_nan=True) for array in partners]
        assert any(alike), address


@pytest.mark.parametrize("name", ["convolutional", "transformer", "siamese"])
def test_every_operation_of_the_graph_that_follows_from_the_inputs_is_there(name: str) -> None:
    """The graph is built again here, and walked from its inputs."""
    model, x = several_kinds()[name]
    arrays = x if isinstance(x, dict) else {"x": x}
    specs = {key: tf.TensorSpec((None, *array.shape[1:]), array.dtype) for key, array in arrays.items()}
    function = tf.function(lambda fed: model(fed if isinstance(x, dict) else fed["x"], training=False), autograph=False)
    graph = function.get_concrete_function(specs).graph
    varying = {tensor.name for tensor in graph.inputs if tensor.dtype != tf.resource}
    shapes = {"Shape", "Size", "Rank", "ZerosLike", "OnesLike"}
    count: dict[str, int] = {}
    for operation in graph.get_operations():
        if operation.type not in shapes and any(read.name in varying for read in operation.inputs):
            varying |= {output.name for output in operation.outputs}
            count[operation.type] = count.get(operation.type, 0) + 1
    tensors = listed(model)
    got: dict[str, int] = {}
    for tensor in tensors.values():
        kind = tensor.operation or tensor.class_name
        if kind != "Identity":
            got[kind] = got.get(kind, 0) + 1
    for address in ("inner", "inner@1", "mha"):  # the tensor is also that of a layer inside
        if address in tensors:
            got[str(tensors[address].operation)] -= 1
    assert got == {kind: number for kind, number in count.items() if kind != "Identity"}


@pytest.mark.parametrize("name", ["convolutional", "transformer", "siamese"])
def test_the_other_tensors_stay_the_same_to_the_last_bit(name: str) -> None:
    model, x = several_kinds()[name]
    plain, more = api.activations(model, x), api.activations(model, x, ops=True)
    assert [address for address in more if ":op." not in address] == list(plain)
    for address, value in plain.items():
        assert value.tobytes() == more[address].tobytes(), address


def test_addresses_are_those_of_a_saved_model(tmp_path: Path) -> None:
    for name, (model, _) in several_kinds().items():
        model.export(tmp_path / name, verbose=False)
        saved = {tensor.address: tensor.class_name for tensor in api.layers(tmp_path / name, trust=True)}
        keras_ones = {a: tensor.operation or tensor.class_name for a, tensor in listed(model).items()}
        assert saved == keras_ones, name


def test_shared_layers_and_nested_ones_have_operations_per_call() -> None:
    model, x = several_kinds()["siamese"]
    tensors = listed(model)
    assert {"inner.n:op.Log", "inner@1.n:op.Log"} <= set(tensors)
    values = api.activations(model, x, ops=True)
    assert not np.array_equal(values["inner.n:op.sub"], values["inner@1.n:op.sub"])
    assert tensors["inner@1.a:op.MatMul"].inputs == ("inputs/q",)


class Split(layers.Layer):
    def call(self, x: Any) -> Any:
        first, second = ops.split(x, 2, axis=-1)
        return first * second


def test_an_operation_with_several_outputs() -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, Split(name="halves")(x))
    array = floats(3, 4)
    values = api.activations(model, array, ops=True)
    assert list(values) == ["halves:op.split.0", "halves:op.split.1", "halves"]
    np.testing.assert_array_equal(values["halves:op.split.0"], array[:, :2])
    np.testing.assert_array_equal(values["halves:op.split.1"], array[:, 2:])


class Looped(layers.Layer):
    def call(self, x: Any) -> Any:
        doubled = x * 2.0
        summed = tf.map_fn(lambda row: row + 1.0, doubled)
        chosen = tf.cond(tf.reduce_sum(x) > 0.0, lambda: summed + 1.0, lambda: summed)
        return chosen - 1.0


def test_loops_and_branches_are_named(tmp_path: Path) -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, Looped(name="loop")(x))
    model.save(tmp_path / "m.keras")
    from tfdump.address import Selection
    from tfdump.captures import Captures
    from tfdump.model.loading.load import in_memory
    from tfdump.run.layers import list_tensors

    listing = list_tensors(in_memory(model), [], Selection(), lambda text: None, Captures(ops=True))
    missing = {item.address: item.reason for item in listing.not_captured}
    assert set(missing) == {"loop:op.map.while.body", "loop:op.cond.body"}
    assert all("loop or branch" in reason for reason in missing.values())
    values = api.activations(model, np.ones((3, 4), "float32"), ops=True)
    np.testing.assert_array_equal(values["loop:op.mul"], np.full((3, 4), 2.0))


class Chain(keras.Model):
    """A subclassed model with operations of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first = layers.Dense(3, name="first")

    def call(self, x: Any) -> Any:
        return ops.sqrt(self.first(ops.exp(x)))


def test_operations_of_a_subclassed_model_itself() -> None:
    model, x = Chain(name="chain"), floats(3, 2)
    model(x)
    randomized(model)
    values = api.activations(model, x, ops=True)
    assert set(values) == {"exp", "first:op.MatMul", "first", "sqrt"}
    np.testing.assert_allclose(values["exp"], np.exp(x), rtol=1e-6)
    tensors = listed(model, x)
    assert tensors["first"].inputs == ("inputs/x",), "what the layer read was recorded without operations"
    assert tensors["first:op.MatMul"].inputs == ("exp",)
    assert tensors["sqrt"].inputs == ("first",)
    assert str(tensors["sqrt"].source).startswith(f"{THIS_FILE}:")


def test_patterns_choose_operations() -> None:
    model = normed()
    assert list(listed(model, layers="norm:op.*")) == ["norm:op.Mean", "norm:op.sub", "norm:op.Log"]
    assert list(listed(model, layers="type:Log")) == ["norm:op.Log"]
    assert list(listed(model, layers="norm")) == ["norm:op.Mean", "norm:op.sub", "norm:op.Log", "norm"]
    assert list(listed(model, layers="type:Norm")) == ["norm:op.Mean", "norm:op.sub", "norm:op.Log", "norm"]
    with pytest.raises(api.TfdumpError, match=r"tfdump.activations\(..., ops=True\) captures such tensors"):
        api.layers(model, layers="norm:op.Log")


def test_files_of_one_name_in_a_package_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import keras\n\n\nclass Step(keras.layers.Layer):\n    def call(self, x):\n        return keras.ops.{}(x)\n"
    root = tmp_path / "stepping"
    for folder, text in ((root, code.format("exp")), (root / "down", ""), (root / "up", "")):
        folder.mkdir()
        (folder / "__init__.py").write_text(text)
    for name in ("down", "up"):
        (root / name / "step.py").write_text(code.format("sqrt"))
    monkeypatch.syspath_prepend(tmp_path)
    x = keras.Input((4,), name="x")
    y = x
    for module, name in (("stepping.down.step", "a"), ("stepping.up.step", "b"), ("stepping", "c")):
        y = importlib.import_module(module).Step(name=name)(y)
    sources = {address: tensor.source for address, tensor in listed(keras.Model(x, y)).items()}
    assert sources == {"a": "stepping/down/step.py:6", "b": "stepping/up/step.py:6", "c": "stepping/__init__.py:6"}


def test_a_type_of_operations_also_chooses_the_layers_whose_outputs_are_computed_by_it() -> None:
    model = normed()
    assert list(listed(model, layers="type:Mul")) == ["norm"]
    assert list(listed(model, layers="type:Relu")) == ["hidden"]


def test_other_captures_add_no_operations_of_tfdump() -> None:
    for model, x in several_kinds().values():
        alone = {address for address in listed(model, x) if ":op." in address}
        more = listed(model, x, attention=True, preactivation=True, layer_inputs=True)
        inside = {address for address in more if ":op." in address}
        assert alone - inside == ({"mha:op.Softmax"} if "mha:attention_scores" in more else set())
        assert inside <= alone


def test_steps_of_a_loop_in_python_are_named() -> None:
    x = keras.Input((3, 4), name="x")
    model = keras.Model(x, layers.TimeDistributed(layers.Dense(2, name="dense"), name="over")(x))
    values = api.activations(model, floats(2, 3, 4), ops=True)
    assert {address for address in values if not address.startswith("over:op")} == {"over.dense", "over"}


def test_an_eager_model_tells_that_operations_need_a_graph() -> None:
    with pytest.warns(api.TfdumpWarning, match="operations need a graph, but the model runs eagerly"):
        values = api.activations(normed(), floats(2, 4), ops=True, eager=True)
    assert list(values) == ["hidden", "norm", "drop"]


def test_layers_of_a_single_operation_are_no_reason_for_a_note() -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.ReLU(name="relu")(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error", api.TfdumpWarning)
        assert list(listed(model)) == ["relu"]
        assert list(api.activations(model, floats(2, 4), ops=True)) == ["relu"]
