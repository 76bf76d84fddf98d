"""What NumPy or HDF5 has no type for, among the outputs of layers: stored exactly, or named as not captured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]


def quantized(x: Any, dtype: Any = tf.qint8) -> Any:
    return tf.quantization.quantize(x, -3.0, 3.0, dtype)[0]


def handle_of_list(x: Any) -> Any:
    return tf.raw_ops.EmptyTensorList(
        element_shape=tf.constant([2]), max_num_elements=tf.constant(3), element_dtype=tf.float32
    )


HANDLES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "variant": (handle_of_list, "variant, a handle without numbers of its own"),
    "resource": (
        lambda x: tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2]),
        "resource, a handle without numbers of its own",
    ),
    "array": (
        lambda x: tf.TensorArray(tf.float32, 1, element_shape=(None, 3)).write(0, x),
        "a TensorArray, whose elements TensorFlow keeps elsewhere",
    ),
    "slices": (
        lambda x: tf.IndexedSlices(x, tf.range(tf.shape(x)[0])),
        "IndexedSlices that do not tell their dense shape",
    ),
    "optional": (tf.experimental.Optional.from_value, "which is neither a dense, a ragged nor a sparse tensor"),
    "data set": (tf.data.Dataset.from_tensors, "which is neither a dense, a ragged nor a sparse tensor"),
}


class Beside(layers.Layer):
    """Gives something beside a tensor, or alone."""

    def __init__(self, make: Callable[[Any], Any], alone: bool = False) -> None:
        super().__init__(name="odd")
        self.make, self.alone = make, alone

    def call(self, x: Any) -> Any:
        return self.make(x) if self.alone else {"odd": self.make(x), "x": x * 2.0}


class Odd(keras.Model):
    """A layer of uncommon outputs, and a plain one; `outputs` hands on what the first gives."""

    def __init__(self, make: Callable[[Any], Any], alone: bool = False, outputs: bool = False) -> None:
        super().__init__()
        self.odd, self.out, self.outputs = Beside(make, alone), layers.Dense(2, name="out"), outputs

    def call(self, x: Any) -> Any:
        odd = self.odd(x)
        out = self.out(x if self.odd.alone else odd["x"])
        return {"out": out, "odd": odd if self.odd.alone else odd["odd"]} if self.outputs else out


def dumped(model: keras.Model, x: Any, folder: Path, **options: Any) -> Path:
    """The dump that a callback makes of a model at the end of an epoch."""
    watch = tfdump.DumpCallback(folder / "run", x, **options)
    watch.set_model(model)
    model(x)
    watch.on_train_begin()
    watch.on_epoch_begin(0)
    watch.on_train_batch_end(0)
    watch.on_epoch_end(0)
    return folder / "run" / "epoch-0001.activations.h5"


@pytest.mark.parametrize("kind", HANDLES)
@pytest.mark.parametrize("eager", [False, True])
def test_a_handle_is_named_and_the_rest_is_there(kind: str, eager: bool) -> None:
    make, reason = HANDLES[kind]
    x = floats(5, 3)
    with pytest.warns(tfdump.TfdumpWarning, match=f"not captured: odd:odd .*{reason}"):
        activations = tfdump.activations(Odd(make), x, batch_size=2, eager=eager)
    assert set(activations) == {"odd:x", "out"}
    np.testing.assert_array_equal(activations["odd:x"], x * 2)
    with pytest.warns(tfdump.TfdumpWarning, match=f"not captured: odd .*{reason}"):
        assert set(tfdump.activations(Odd(make, alone=True), x, batch_size=2, eager=eager)) == {"out"}


@pytest.mark.parametrize("kind", HANDLES)
def test_gradients_go_past_a_handle(kind: str) -> None:
    model, x = Odd(HANDLES[kind][0]), floats(5, 3)
    gradients = tfdump.gradients(model, x, objective="sum", wrt=("weights", "activations"), batch_size=2)
    np.testing.assert_allclose(gradients.weights["out.kernel"], np.repeat(x.sum(0)[:, None] * 2, 2, axis=1), rtol=1e-5)
    assert set(gradients.activations) == {"odd:x", "out"}


@pytest.mark.parametrize("eager", [False, True])
def test_a_final_output_that_is_a_handle_is_named(eager: bool, tmp_path: Path) -> None:
    model = Odd(handle_of_list, outputs=True)
    with tfdump.open(dumped(model, floats(4, 3), tmp_path, outputs=True, eager=eager)) as dump:
        assert {item.address for item in dump.not_captured} == {"odd:odd", "outputs/odd"}
        assert list(dump.groups["outputs"]) == ["out"]


def test_what_a_layer_is_fed_with_is_named_too() -> None:
    class Fed(layers.Layer):
        def call(self, x: Any, extra: Any = None) -> Any:
            return x + 1.0

    class Chain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.odd, self.fed = Beside(HANDLES["array"][0]), Fed(name="fed")

        def call(self, x: Any) -> Any:
            outputs = self.odd(x)
            return self.fed(outputs["x"], extra=outputs["odd"])

    with pytest.warns(tfdump.TfdumpWarning, match=r"not captured: .*fed:input\.extra"):
        activations = tfdump.activations(Chain(), floats(5, 3), batch_size=2, layer_inputs=True)
    assert {"odd:input", "fed:input.x", "fed"} <= set(activations)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", ["qint8", "quint8", "qint16", "quint16", "qint32"])
def test_quantized_numbers_are_the_integers_that_they_are(name: str, eager: bool) -> None:
    """Rounded by hand: 2^bits - 1 steps over the range, the least integer at its lower end."""
    x = np.array([[-3, 0, 2.9], [1, -1, 0.5], [2, 2.5, -2]], np.float32)
    activations = tfdump.activations(Odd(lambda x: quantized(x, getattr(tf, name))), x, batch_size=2, eager=eager)
    stored = np.dtype(name[1:])
    assert activations["odd:odd"].dtype == stored
    listed = {item.address: item for item in tfdump.layers(Odd(lambda x: quantized(x, getattr(tf, name))), x)}
    assert listed["odd:odd"].dtype == name
    assert listed["odd:odd"].example_bytes == 3 * stored.itemsize
    bits, least = 8 * stored.itemsize, np.iinfo(stored).min
    steps = (x.astype(np.float64) + 3) * ((2.0**bits - 1) / 6) + least
    np.testing.assert_allclose(activations["odd:odd"].astype(np.float64), steps, atol=max(0.51, 2.0 ** (bits - 24)))


NARROW = [
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn",
    "int2", "uint2", "int4", "uint4",
]  # fmt: skip


@pytest.mark.parametrize("name", NARROW)
def test_narrow_numbers_are_stored_without_loss(name: str, tmp_path: Path) -> None:
    """Every number of the dtype, by its bits, in a model that has them as a constant."""
    if not (hasattr(ml_dtypes, name) and hasattr(tf.dtypes.experimental, name)):
        pytest.skip(f"TensorFlow {tf.__version__} has no {name}")
    dtype = np.dtype(getattr(ml_dtypes, name))
    bits = int(name.lstrip("uint")) if "int" in name else 4 if "float4" in name else 8
    if "int" in name:
        least, largest = int(ml_dtypes.iinfo(dtype).min), int(ml_dtypes.iinfo(dtype).max)
        numbers = np.arange(least, largest + 1)
        values = numbers.astype(dtype)
    else:
        values = np.arange(2**bits, dtype=np.uint8).view(dtype)
        numbers = values.astype(np.float64)
    table = tf.constant(values, getattr(tf.dtypes.experimental, name))
    model = Odd(lambda x: tf.identity(table))
    with tfdump.open(dumped(model, floats(4, 3), tmp_path, layers="odd:odd")) as dump:
        tensor = dump["odd:odd"]
        assert tensor.dtype == name
        np.testing.assert_array_equal(tensor.read().astype(np.float64), numbers)
        finite = numbers[np.isfinite(numbers)]
        assert tensor.statistics["max"] == finite.max()
        assert tensor.statistics["min"] == finite.min()
        assert tensor.statistics["nan"] == np.isnan(numbers).sum()


# --- tensors that change their form from batch to batch


class Changing(layers.Layer):
    """Gives a tensor in one form until a batch begins with a negative number, then in another."""

    def __init__(self, before: Callable[[Any], Any], after: Callable[[Any], Any]) -> None:
        super().__init__(name="changing")
        self.before, self.after = before, after

    def call(self, x: Any) -> Any:
        return {"form": self.after(x) if float(x[0, 0]) < 0 else self.before(x), "x": x + 1.0}


class Formless(keras.Model):
    def __init__(self, before: Callable[[Any], Any], after: Callable[[Any], Any]) -> None:
        super().__init__()
        self.changing, self.out = Changing(before, after), layers.Dense(2, name="out")

    def call(self, x: Any) -> Any:
        return self.out(self.changing(x)["x"])


FORMS: dict[str, Callable[[Any], Any]] = {
    "dense": lambda x: x * 1.0,
    "sparse": tf.sparse.from_dense,
    "ragged": tf.RaggedTensor.from_tensor,
    "sparse of higher rank": lambda x: tf.sparse.from_dense(x[:, :, None]),
    "more ragged": lambda x: tf.RaggedTensor.from_tensor(x[:, :, None], ragged_rank=2),
}
CHANGES = [(a, b) for a in FORMS for b in FORMS if a != b]


@pytest.mark.parametrize(("before", "after"), CHANGES)
@pytest.mark.parametrize("stats_only", [False, True])
def test_a_tensor_that_changes_its_form_is_named(before: str, after: str, stats_only: bool, tmp_path: Path) -> None:
    x = np.abs(floats(6, 3)) + 0.1
    x[4] *= -1
    model = Formless(FORMS[before], FORMS[after])
    with pytest.warns(tfdump.TfdumpWarning, match=r"not captured: changing:form \(.* in the first batches and "):
        path = dumped(model, x, tmp_path, batch_size=2, eager=True, stats_only=stats_only)
    with tfdump.open(path) as dump:
        assert set(dump.groups["activations"]) == {"changing:x", "out"}
        assert {item.address for item in dump.not_captured} == {"changing:form"}
        if not stats_only:
            np.testing.assert_array_equal(dump["changing:x"].read(), x + 1)


def test_gradients_of_a_tensor_that_changes_its_form_are_named() -> None:
    x = np.abs(floats(6, 3)) + 0.1
    x[4] *= -1
    model = Formless(FORMS["dense"], FORMS["sparse"])
    gradients = tfdump.gradients(model, x, objective="sum", wrt=("weights", "activations"), batch_size=2, eager=True)
    np.testing.assert_allclose(gradients.weights["out.bias"], [6, 6])
    assert set(gradients.activations) >= {"changing:x", "out"}


# --- weights that the first call makes


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("per_example", [False, True])
def test_gradients_of_weights_that_the_first_call_makes(eager: bool, per_example: bool) -> None:
    model, x = Odd(lambda x: x), floats(5, 3)
    gradients = tfdump.gradients(model, x, objective="sum", batch_size=2, eager=eager, per_example=per_example)
    each = np.repeat(x[:, :, None] * 2, 2, axis=2)
    expected = each if per_example else each.sum(0)
    np.testing.assert_allclose(gradients.weights["out.kernel"], expected, rtol=1e-5)
