"""Every option of `tfdump gradients`: what it changes, and that nothing else changes."""

import json
import os
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from support.command import SAMPLES, Ended, Run
from support.gradient_dumps import Datasets, Gradients, datasets, gradients_by, walk
from support.terminals import on_terminal

pytestmark = pytest.mark.tensorflow

DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", SAMPLES / "digits_labels.npy")
WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy", SAMPLES / "wine_labels.npy")
SIAMESE = (SAMPLES / "siamese.keras", SAMPLES / "pairs.npz", SAMPLES / "pairs_labels.npy")
EVERYTHING = ("--wrt", "weights", "--wrt", "activations", "--wrt", "inputs")


@pytest.fixture
def gradients(tfdump: Run, tmp_path: Path) -> Gradients:
    """Run the command, which must succeed, and return every dataset of the dump by its path."""
    return gradients_by(tfdump, tmp_path)


def assert_close(a: Datasets, b: Datasets, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    assert list(a) == list(b)
    for name, values in b.items():
        np.testing.assert_allclose(a[name], values, rtol=rtol, atol=atol, err_msg=name)


def two_outputs(folder: Path, **compiled: Any) -> Path:
    """A regression and a classification from one trunk; x of 7 examples, with targets and weights for both."""
    keras.utils.set_random_seed(7)
    x = keras.Input((4,), name="x")
    h = keras.layers.Dense(5, activation="tanh", name="h", kernel_regularizer=keras.regularizers.L2(0.1))(x)
    price = keras.layers.Dense(2, name="p")(h)
    kind = keras.layers.Dense(3, name="k")(h)
    model = keras.Model(x, {"price": price, "kind": kind})
    if compiled:
        model.compile("sgd", **compiled)
    model.save(folder / "two.keras")
    random = np.random.default_rng(0)
    np.save(folder / "x.npy", random.normal(size=(7, 4)).astype("float32"))
    np.save(folder / "price.npy", random.normal(size=(7, 2)).astype("float32"))
    np.save(folder / "kind.npy", random.integers(0, 3, 7))
    np.save(folder / "w.npy", random.uniform(0.1, 2, 7).astype("float32"))
    np.save(folder / "v.npy", random.uniform(0.1, 2, 7).astype("float32"))
    return folder / "two.keras"


def loads(folder: Path, *names: str) -> list[np.ndarray]:
    return [np.load(folder / f"{name}.npy") for name in names]


def by_tape(path: Path, loss_of: Callable[[Any, Any], Any], x: np.ndarray) -> tuple[float, Datasets]:
    """The scalar that `loss_of(model, outputs)` gives, and its gradients where it reaches, by `layer.variable`."""
    model = keras.models.load_model(path, compile=False)
    named = {f"{layer.name}.{weight.name}": weight for layer in model.layers for weight in layer.trainable_weights}
    with tf.GradientTape() as tape:
        loss = loss_of(model, model(x))
    arrays = tape.gradient(loss, [weight.value for weight in named.values()])
    return float(loss), {name: np.asarray(g) for name, g in zip(named, arrays, strict=True) if g is not None}


def assert_is(arrays_of_run: Datasets, expected: tuple[float, Datasets]) -> None:
    loss, values = expected
    assert arrays_of_run["loss"] == pytest.approx(loss, rel=1e-5)
    weights = {
        name.rpartition("/")[2]: item for name, item in arrays_of_run.items() if "/weights/" in name and item.size
    }
    assert sorted(weights) == sorted(values)
    for name, value in values.items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


# --- targets


def test_every_way_to_give_targets_gives_the_same(gradients: Gradients, tmp_path: Path) -> None:
    labels = np.load(WINE[2])
    np.savez(tmp_path / "y.npz", labels=labels, other=np.zeros(3))
    np.savez(tmp_path / "one.npz", anything=labels)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["g/labels"], file["alone/labels"], file["other"] = labels, labels, np.zeros(3)
    np.save(tmp_path / "column.npy", labels[:, None])
    for name, dtype in (("u1", "uint8"), ("f4", "float32"), ("f8", "float64")):
        np.save(tmp_path / f"{name}.npy", labels.astype(dtype))
    reference = gradients(*WINE)
    stdin = WINE[2].read_bytes()
    for way in (
        ["--targets", WINE[2]],
        ["--targets", "y.npz::labels"],
        ["--targets", "y.h5::/alone"],
        ["--targets", f"predictions={WINE[2]}"],
        ["--targets", "-"],
        ["y.h5::/g/labels"],
        ["one.npz"],
        ["column.npy"],
        ["u1.npy"],
        ["f4.npy"],
        ["f8.npy"],
    ):
        arrays = gradients(*WINE[:2], *way, stdin=stdin)
        assert list(arrays) == list(reference), way
        for name, values in reference.items():
            np.testing.assert_array_equal(arrays[name], values, err_msg=f"{way} {name}")


def test_the_input_from_a_pipe_and_targets_from_a_file(gradients: Gradients) -> None:
    assert_close(gradients(WINE[0], "-", WINE[2], stdin=WINE[1].read_bytes()), gradients(*WINE), 0, 0)


def test_one_hot_rows_and_class_indices_agree(gradients: Gradients, tmp_path: Path) -> None:
    np.save(tmp_path / "one_hot.npy", np.eye(3, dtype="float32")[np.load(WINE[2])])
    by_index = gradients(*WINE, "--loss", "sparse_categorical_crossentropy")
    by_row = gradients(*WINE[:2], "one_hot.npy", "--loss", "categorical_crossentropy")
    assert_close(by_row, by_index)


def test_targets_of_several_outputs(gradients: Gradients, tmp_path: Path) -> None:
    model = two_outputs(tmp_path)
    price, kind = loads(tmp_path, "price", "kind")
    one_hot = np.eye(3)[kind]
    np.save(tmp_path / "kind_rows.npy", one_hot)
    np.savez(tmp_path / "named.npz", kind=one_hot, price=price)
    with h5py.File(tmp_path / "named.h5", "w") as file:
        file["targets/price"], file["targets/kind"] = price, one_hot
    losses = ["--loss", "price=mse", "--loss", "kind=mse"]
    reference = gradients(model, "x.npy", "named.npz", *losses)

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean((outputs["price"] - price) ** 2) + tf.reduce_mean((outputs["kind"] - one_hot) ** 2)

    loss, expected = by_tape(model, loss_of, np.load(tmp_path / "x.npy"))
    assert len(expected) == 6
    assert_is(reference, (loss, expected))
    for way in (
        ["--targets", "named.npz"],
        ["--targets", "named.h5::/targets"],
        ["named.h5::targets"],
        ["--targets", "price=price.npy", "--targets", "kind=kind_rows.npy"],
        ["--targets", "kind=kind_rows.npy", "--targets", "price=named.npz::price"],
        ["--targets", "price=price.npy", "--targets", "kind_rows.npy"],
    ):
        assert_close(gradients(model, "x.npy", *way, *losses), reference, 0, 0)


def test_an_array_that_names_no_output_is_refused(tfdump: Run, tmp_path: Path) -> None:
    """It is not left out: the user may have misspelled an output."""
    model = two_outputs(tmp_path)
    price, kind = loads(tmp_path, "price", "kind")
    np.savez(tmp_path / "extra.npz", kind=np.eye(3)[kind], price=price, neither=np.zeros(2))
    losses = ["--loss", "price=mse", "--loss", "kind=mse"]
    done = tfdump("gradients", model, "x.npy", "--targets", "extra.npz", *losses)
    assert (done.returncode, done.stdout) == (2, "")
    assert "extra.npz::neither is no target of the model (its targets: 'kind', 'price')" in done.stderr


def test_targets_of_several_outputs_in_the_order_of_the_model(gradients: Gradients, tmp_path: Path) -> None:
    """A list of outputs has the names 0 and 1; an archive with other keys is read in order."""
    keras.utils.set_random_seed(2)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, [keras.layers.Dense(2, name="a")(x), keras.layers.Dense(3, name="b")(x)])
    model.save(tmp_path / "m.keras")
    random = np.random.default_rng(0)
    data, first, second = (random.normal(size=(5, n)).astype("float32") for n in (4, 2, 3))
    np.save(tmp_path / "x.npy", data)
    np.save(tmp_path / "first.npy", first)
    np.save(tmp_path / "second.npy", second)
    np.savez(tmp_path / "ordered.npz", first, second)
    np.savez(tmp_path / "numbered.npz", **{"1": second, "0": first})
    reference = gradients("m.keras", "x.npy", "ordered.npz", "--loss", "mse")
    (w, b), (v, c) = (layer.get_weights() for layer in model.layers[1:])
    assert reference["loss"] == pytest.approx(
        np.mean((data @ w + b - first) ** 2) + np.mean((data @ v + c - second) ** 2), rel=1e-5
    )
    for way in (["--targets", "numbered.npz"], ["--targets", "first.npy", "--targets", "second.npy"],
                ["--targets", "1=second.npy", "--targets", "0=first.npy"]):  # fmt: skip
        assert_close(gradients("m.keras", "x.npy", *way, "--loss", "mse"), reference, 0, 0)


def test_ragged_targets_are_padded_as_inputs_are(gradients: Gradients, tmp_path: Path) -> None:
    """A tag for each token; where the tokens are padding, the mask takes the padded tags out of the loss."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    h = keras.layers.Embedding(7, 3, mask_zero=True, name="embedding")(tokens)
    model = keras.Model(tokens, keras.layers.Dense(4, activation="softmax", name="tags")(h))
    model.save(tmp_path / "m.keras")
    splits = np.array([0, 1, 3, 6])
    np.savez(tmp_path / "x.npz", **{"tokens.values": np.arange(1, 7, dtype="int32"), "tokens.row_splits": splits})
    np.savez(tmp_path / "y.npz", **{"tags.values": np.array([1, 2, 3, 0, 1, 2]), "tags.row_splits": splits})
    np.save(tmp_path / "y.npy", np.array([[1, 0, 0], [2, 3, 0], [0, 1, 2]]))
    options = ["m.keras", "x.npz", "--loss", "sparse_categorical_crossentropy"]
    reference = gradients(*options, "--targets", "y.npy")
    assert_close(gradients(*options, "--targets", "y.npz"), reference, 0, 0)
    assert_close(gradients(*options, "--targets", "y.npz", "--batch-size", "1", "--pad-to", "5"), reference, 1e-4)
    rows = [np.arange(1, 2), np.arange(2, 4), np.arange(4, 7)]
    truth = [[1], [2, 3], [0, 1, 2]]
    alone = [np.asarray(model(row[None]))[0, np.arange(len(row)), tags] for row, tags in zip(rows, truth, strict=True)]
    assert reference["loss"] == pytest.approx(-np.log(np.concatenate(alone)).mean(), rel=1e-5)


def test_two_inputs_take_the_next_file_for_targets(gradients: Gradients, tmp_path: Path) -> None:
    pairs = np.load(SIAMESE[1])
    np.save(tmp_path / "l.npy", pairs["left"])
    np.save(tmp_path / "r.npy", pairs["right"])
    with h5py.File(tmp_path / "pairs.h5", "w") as file:
        file["g/left"], file["g/right"] = pairs["left"], pairs["right"]
    reference = gradients(*SIAMESE, "--examples", ":9")
    for way in (
        ["l.npy", "r.npy", SIAMESE[2]],
        ["right=r.npy", "left=l.npy", SIAMESE[2]],
        ["pairs.h5::/g", SIAMESE[2]],
        [SIAMESE[1], "--targets", SIAMESE[2]],
    ):
        assert_close(gradients(SIAMESE[0], *way, "--examples", ":9"), reference, 0, 0)


# --- losses, objectives, sample weights


def test_a_compiled_loss_with_weights_of_its_outputs_and_regularization(gradients: Gradients, tmp_path: Path) -> None:
    model = two_outputs(
        tmp_path,
        loss={"price": "mae", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        loss_weights={"price": 0.25, "kind": 3.0},
    )
    x, price, kind = loads(tmp_path, "x", "price", "kind")

    def loss_of(model: Any, outputs: Any) -> Any:
        crossentropy = tf.nn.sparse_softmax_cross_entropy_with_logits(kind, outputs["kind"])
        own = 0.1 * tf.reduce_sum(model.get_layer("h").kernel ** 2)
        return 0.25 * tf.reduce_mean(tf.abs(outputs["price"] - price)) + 3 * tf.reduce_mean(crossentropy) + own

    np.savez(tmp_path / "y.npz", price=price, kind=kind)
    expected = by_tape(model, loss_of, x)
    for extra in ([], ["--loss", "compiled"], ["--batch-size", "2"]):
        assert_is(gradients(model, "x.npy", "y.npz", *extra), expected)

    def summed(model: Any, outputs: Any) -> Any:
        crossentropy = tf.nn.sparse_softmax_cross_entropy_with_logits(kind, outputs["kind"])
        own = 0.1 * tf.reduce_sum(model.get_layer("h").kernel ** 2)
        absolute = tf.reduce_mean(tf.abs(outputs["price"] - price), axis=-1)  # Keras's mae is one number an example
        return 0.25 * tf.reduce_sum(absolute) + 3 * tf.reduce_sum(crossentropy) + own

    arrays = gradients(model, "x.npy", "y.npz", "--reduction", "sum", "--batch-size", "3")
    assert_is(arrays, by_tape(model, summed, x))


def test_a_loss_by_name_leaves_regularization_out(gradients: Gradients, tmp_path: Path) -> None:
    two_outputs(tmp_path)
    x, price = loads(tmp_path, "x", "price")

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean((outputs["price"] - price) ** 2)

    for name in ("mse", "mean_squared_error", "MeanSquaredError"):
        arrays = gradients("two.keras", "x.npy", "price.npy", "--loss", f"price={name}")
        assert_is(arrays, by_tape(tmp_path / "two.keras", loss_of, x))
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["loss"] == "price=MeanSquaredError"
        assert file.attrs["reduction"] == "mean"
        assert "regularization" not in file["loss"].attrs


def test_logits_are_told(gradients: Gradients, tmp_path: Path, tfdump: Run) -> None:
    two_outputs(tmp_path)
    x, kind = loads(tmp_path, "x", "kind")

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(kind, outputs["kind"]))

    for name in ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"):
        options = ["two.keras", "x.npy", "kind.npy", "--loss", f"kind={name}"]
        assert_is(gradients(*options, "--from-logits"), by_tape(tmp_path / "two.keras", loss_of, x))
        done = tfdump("gradients", *options, "-o", "e.h5", "-f")
        assert "(for logits: --loss NAME --from-logits)" in done.stderr
    assert "logits" in h5py.File(tmp_path / "d.h5").attrs["loss"]


def test_a_loss_of_the_users_own_module(gradients: Gradients, tmp_path: Path) -> None:
    model = two_outputs(tmp_path)
    (tmp_path / "own_loss.py").write_text(
        "import keras\ndef cubed(y_true, y_pred):\n    return keras.ops.mean(abs(y_pred - y_true) ** 3, axis=-1)\n"
    )
    x, price = loads(tmp_path, "x", "price")

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean(tf.abs(outputs["price"] - price) ** 3)

    arrays = gradients(model, "x.npy", "price.npy", "--loss", "price=cubed", "--import", "own_loss.py")
    assert_is(arrays, by_tape(model, loss_of, x))


def test_a_compiled_loss_of_the_users_own_module(gradients: Gradients, tmp_path: Path) -> None:
    (tmp_path / "own_compiled.py").write_text(
        "import keras\ndef fourth(y_true, y_pred):\n    return keras.ops.mean((y_pred - y_true) ** 4, axis=-1)\n"
    )

    def fourth(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean((y_pred - y_true) ** 4, axis=-1)

    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
    model.compile("sgd", fourth)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.eye(2, dtype="float32"))
    np.save(tmp_path / "y.npy", np.ones((2, 1), "float32"))

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean((outputs - 1) ** 4)

    arrays = gradients("m.keras", "x.npy", "y.npy", "--import", "own_compiled.py")
    assert_is(arrays, by_tape(tmp_path / "m.keras", loss_of, np.eye(2, dtype="float32")))
    assert h5py.File(tmp_path / "d.h5").attrs["loss"] == "compiled: fourth"


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_compiled_loss_object(gradients: Gradients, tmp_path: Path, suffix: str) -> None:
    """A legacy file has no module beside the class name of a loss object; Keras 2 called its reduction auto."""
    model = two_outputs(tmp_path, loss={"price": keras.losses.MeanSquaredError(reduction="sum"), "kind": None})
    loaded = keras.models.load_model(model)
    loaded.save(tmp_path / f"m{suffix}")
    x, price = loads(tmp_path, "x", "price")

    def loss_of(model: Any, outputs: Any, divisor: int = 1) -> Any:
        own = 0.1 * tf.reduce_sum(model.get_layer("h").kernel ** 2)
        return tf.reduce_sum(tf.reduce_mean((outputs["price"] - price) ** 2, axis=-1)) / divisor + own

    assert_is(gradients(f"m{suffix}", "x.npy", "price.npy"), by_tape(model, loss_of, x))
    if suffix == ".h5":
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            config = json.loads(file.attrs["training_config"])
            config["loss"]["price"]["config"]["reduction"] = "auto"
            file.attrs["training_config"] = json.dumps(config)
        mean = by_tape(model, lambda *values: loss_of(*values, divisor=7), x)
        assert_is(gradients("m.h5", "x.npy", "price.npy"), mean)


REGISTERED = """
import keras
import numpy as np

@keras.saving.register_keras_serializable("reg_pkg", "fourth")
def to_the_fourth(y_true, y_pred):
    return keras.ops.mean((y_pred - y_true) ** 4, axis=-1)

@keras.saving.register_keras_serializable("reg_pkg")
class Columns(keras.losses.Loss):
    def __init__(self, columns=None, **options):
        super().__init__(**options)
        self.columns = columns

    def call(self, y_true, y_pred):
        return keras.ops.sum(keras.ops.convert_to_tensor(self.columns) * (y_pred - y_true) ** 4, axis=-1)

    def get_config(self):
        return {**super().get_config(), "columns": self.columns}

@keras.saving.register_keras_serializable("reg_pkg")
class Decoding(Columns):
    @classmethod
    def from_config(cls, config):
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})
"""
HALVES = {"array": lambda: np.full(2, 0.5, "float32"), "tensor": lambda: tf.fill((2,), 0.5)}


@pytest.mark.parametrize("kind", ["function", "array", "tensor", "decoding"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_registered_compiled_loss(gradients: Gradients, tmp_path: Path, kind: str, suffix: str) -> None:
    """By its registered name; arrays among its parameters are what they were."""
    if (suffix, kind) == (".h5", "tensor"):
        pytest.skip("Keras cannot write a tensor into an .h5 file")
    (tmp_path / "reg_losses.py").write_text(REGISTERED)
    own = runpy.run_path(str(tmp_path / "reg_losses.py"))
    loss = own["to_the_fourth"]
    if kind != "function":
        loss = own["Decoding" if kind == "decoding" else "Columns"](HALVES.get(kind, HALVES["array"])())
    model = two_outputs(tmp_path, loss={"price": loss, "kind": None})
    x, price = loads(tmp_path, "x", "price")
    keras.models.load_model(model).save(tmp_path / f"m{suffix}")

    def loss_of(model: Any, outputs: Any) -> Any:
        own = 0.1 * tf.reduce_sum(model.get_layer("h").kernel ** 2)
        return tf.reduce_mean((outputs["price"] - price) ** 4) + own

    arrays = gradients(f"m{suffix}", "x.npy", "price.npy", "--import", "reg_losses.py")
    assert_is(arrays, by_tape(model, loss_of, x))


def test_a_regularization_alone(gradients: Gradients, tmp_path: Path) -> None:
    """A model that was compiled without a loss has that of its weights, and no targets."""
    model = two_outputs(tmp_path)
    loaded = keras.models.load_model(model)
    loaded.compile("sgd", None)
    loaded.save(model)
    kernel = loaded.get_layer("h").kernel.numpy().astype("float64")
    for more in ([], ["--batch-size", "2"], ["--eager"]):
        arrays = gradients(model, "x.npy", *more)
        np.testing.assert_allclose(arrays["gradients/weights/h.kernel"], 0.2 * kernel, rtol=1e-6)
        assert arrays["loss"] == pytest.approx(0.1 * np.square(kernel).sum(), rel=1e-6)
        assert arrays["gradients/weights/h.bias"].size == 0
    arrays = gradients(model, "x.npy", "--steps", "2", "--learning-rate", "0.5")
    expected = [0.2 * kernel, 0.2 * (kernel - 0.5 * 0.2 * kernel)]
    np.testing.assert_allclose(arrays["gradients/weights/h.kernel"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("objective", "scalar"),
    [
        ("sum", lambda out: tf.reduce_sum(out["price"]) + tf.reduce_sum(out["kind"])),
        ("mean", lambda out: tf.reduce_sum(tf.reduce_mean(out["price"], 1) + tf.reduce_mean(out["kind"], 1))),
        ("max", lambda out: tf.reduce_sum(tf.reduce_max(out["price"], 1) + tf.reduce_max(out["kind"], 1))),
        ("kind[2]", lambda out: tf.reduce_sum(out["kind"][:, 2])),
        ("kind[-1]", lambda out: tf.reduce_sum(out["kind"][:, 2])),
        ("price", lambda out: tf.reduce_sum(out["price"])),
    ],
)
def test_objectives_need_no_targets(gradients: Gradients, tmp_path: Path, objective: str, scalar: Any) -> None:
    model = two_outputs(tmp_path, loss="mse")
    (x,) = loads(tmp_path, "x")
    expected = by_tape(model, lambda _, outputs: scalar(outputs), x)
    arrays = gradients(model, "x.npy", "--objective", objective, "--batch-size", "3")
    assert_is(arrays, expected)
    with h5py.File(tmp_path / "d.h5") as file:
        assert (file.attrs["loss"], file.attrs["reduction"]) == (objective, "sum")
    if objective == "sum":
        mean = gradients(model, "x.npy", "--objective", objective, "--reduction", "mean")
        assert mean["loss"] == pytest.approx(expected[0] / 7, rel=1e-5)
        assert h5py.File(tmp_path / "d.h5").attrs["reduction"] == "mean"


def test_an_objective_on_the_only_output_and_a_saliency_map(gradients: Gradients) -> None:
    arrays = gradients(*WINE[:2], "--wrt", "inputs", "--objective", "predictions[1]")
    model = keras.models.load_model(WINE[0], compile=False)
    x = tf.constant(np.load(WINE[1]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(model(x)[:, 1])
    expected = np.asarray(tape.gradient(value, x))
    assert list(arrays) == ["gradients/inputs/analysis", "loss"]
    np.testing.assert_allclose(arrays["gradients/inputs/analysis"], expected, rtol=1e-3, atol=1e-7)
    few = gradients(*WINE[:2], "--wrt", "inputs", "--objective", "predictions[1]", "--examples", ":4")
    np.testing.assert_allclose(few["gradients/inputs/analysis"], expected[:4], rtol=1e-3, atol=1e-7)


def test_a_list_of_compiled_losses(gradients: Gradients, tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, [keras.layers.Dense(2, name="a")(x), keras.layers.Dense(2, name="b")(x)])
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.5])
    model.save(tmp_path / "m.keras")
    random = np.random.default_rng(0)
    data, first, second = (random.normal(size=(5, n)).astype("float32") for n in (4, 2, 2))
    np.save(tmp_path / "x.npy", data)
    np.savez(tmp_path / "y.npz", first, second)

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_mean((outputs[0] - first) ** 2) + 0.5 * tf.reduce_mean(tf.abs(outputs[1] - second))

    assert_is(gradients("m.keras", "x.npy", "y.npz", "--batch-size", "2"), by_tape(tmp_path / "m.keras", loss_of, data))


def test_a_compiled_loss_for_some_outputs(gradients: Gradients, tmp_path: Path) -> None:
    """An output without a loss needs no targets."""
    model = two_outputs(tmp_path, loss={"price": "mse", "kind": None})
    x, price = loads(tmp_path, "x", "price")

    def loss_of(model: Any, outputs: Any) -> Any:
        own = 0.1 * tf.reduce_sum(model.get_layer("h").kernel ** 2)
        return tf.reduce_mean((outputs["price"] - price) ** 2) + own

    assert_is(gradients(model, "x.npy", "price.npy"), by_tape(model, loss_of, x))


def test_a_regularized_table_is_kept_whole_with_sparse(gradients: Gradients, tmp_path: Path) -> None:
    """The regularization reaches rows that no example touched: they may not be lost."""
    keras.utils.set_random_seed(4)
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    h = keras.layers.Embedding(8, 2, name="table", embeddings_regularizer="l2")(tokens)
    model = keras.Model(tokens, keras.layers.Dense(1, name="out")(keras.layers.Flatten()(h)))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.array([[1, 2, 2], [5, 1, 1]], "int32"))
    np.save(tmp_path / "y.npy", np.ones((2, 1), "float32"))
    whole = gradients("m.keras", "x.npy", "y.npy")["gradients/weights/table.embeddings"]
    assert np.count_nonzero(whole[[0, 3, 4, 6, 7]]) == 10
    arrays = gradients("m.keras", "x.npy", "y.npy", "--sparse")
    back = arrays.get("gradients/weights/table.embeddings")
    if back is None:
        back = np.zeros((8, 2))
        back[arrays["gradients/weights/table.embeddings/indices"][:, 0]] = arrays[
            "gradients/weights/table.embeddings/values"
        ]
    np.testing.assert_allclose(back, whole, rtol=1e-6)


def test_sample_weights(gradients: Gradients, tmp_path: Path) -> None:
    model = two_outputs(tmp_path)
    x, price, kind, w, v = loads(tmp_path, "x", "price", "kind", "w", "v")
    np.savez(tmp_path / "y.npz", price=price, kind=np.eye(3)[kind])
    np.savez(tmp_path / "weights.npz", price=w, kind=v)
    np.save(tmp_path / "column.npy", w[:, None])
    np.save(tmp_path / "whole.npy", np.arange(7))
    np.save(tmp_path / "negative.npy", -w)

    def loss_of(a: np.ndarray, b: np.ndarray) -> Callable[[Any, Any], Any]:
        def scalar(_: Any, outputs: Any) -> Any:
            one = tf.reduce_mean((outputs["price"] - price) ** 2, axis=1)
            other = tf.reduce_mean((outputs["kind"] - np.eye(3)[kind]) ** 2, axis=1)
            return tf.reduce_mean(a.astype("float32") * one) + tf.reduce_mean(b.astype("float32") * other)

        return scalar

    base = [model, "x.npy", "y.npz", "--loss", "mse", "--batch-size", "3"]
    both = by_tape(model, loss_of(w, w), x)
    assert_is(gradients(*base, "--sample-weight", "w.npy"), both)
    assert_is(gradients(*base, "--sample-weight", "column.npy"), both)
    each = by_tape(model, loss_of(w, v), x)
    assert_is(gradients(*base, "--sample-weight", "weights.npz"), each)
    assert_is(gradients(*base, "--sample-weight", "price=w.npy", "--sample-weight", "kind=v.npy"), each)
    one = by_tape(model, loss_of(w, np.ones(7)), x)
    assert_is(gradients(*base, "--sample-weight", "price=w.npy"), one)
    assert_is(gradients(*base, "--sample-weight", "whole.npy"), by_tape(model, loss_of(np.arange(7), np.arange(7)), x))
    assert_is(gradients(*base, "--sample-weight", "negative.npy"), by_tape(model, loss_of(-w, -w), x))


def test_a_loss_divided_by_the_weights(gradients: Gradients, tmp_path: Path) -> None:
    """The divisor is the sum of all examples' weights, whatever the batches."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    model.save(tmp_path / "m.keras")
    random = np.random.default_rng(0)
    data, y = random.normal(size=(8, 3)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    w = random.uniform(0, 3, 8).astype("float32")
    for name, array in {"x": data, "y": y, "w": w}.items():
        np.save(tmp_path / f"{name}.npy", array)

    def loss_of(_: Any, outputs: Any) -> Any:
        return tf.reduce_sum(w * (outputs - y)[:, 0] ** 2) / w.sum()

    expected = by_tape(tmp_path / "m.keras", loss_of, data)
    for size in ("3", "8"):
        arrays = gradients("m.keras", "x.npy", "y.npy", "--sample-weight", "w.npy", "--batch-size", size)
        assert_is(arrays, expected)


# --- with respect to what


def test_kinds_are_selected_and_each_is_what_it_is_among_all(gradients: Gradients) -> None:
    everything = gradients(*WINE, *EVERYTHING)
    for kind in ("weights", "activations", "inputs"):
        alone = gradients(*WINE, "--wrt", kind)
        assert list(alone) == [name for name in everything if name.startswith(f"gradients/{kind}/") or name == "loss"]
        for name, values in alone.items():
            np.testing.assert_allclose(values, everything[name], rtol=1e-5, atol=1e-8)
    twice = gradients(*WINE, "--wrt", "inputs", "--wrt", "weights", "--wrt", "inputs")
    assert [name.split("/")[1] for name in twice if "/" in name] == ["weights"] * 4 + ["inputs"]


@pytest.mark.parametrize(
    ("options", "weights", "activations"),
    [
        (["-l", "hidden"], ["hidden.kernel", "hidden.bias"], ["hidden"]),
        (["-l", "hidden.kernel"], ["hidden.kernel"], []),
        (["-l", "hidden/kernel"], ["hidden.kernel"], []),
        (["-l", "*.bias"], ["hidden.bias", "predictions.bias"], []),
        (["-l", "type:Dense", "-x", "*.bias"], ["hidden.kernel", "predictions.kernel"], ["hidden", "predictions"]),
        (["-l", "type:Normalization", "-l", "re:.*kernel"], ["hidden.kernel", "predictions.kernel"], ["normalize"]),
        (["-x", "hidden"], ["predictions.kernel", "predictions.bias"], ["normalize", "predictions"]),
        (["-x", "hidden.bias"], ["hidden.kernel", "predictions.kernel", "predictions.bias"],
         ["normalize", "hidden", "predictions"]),
    ],
)  # fmt: skip
def test_selections(gradients: Gradients, options: list[str], weights: list[str], activations: list[str]) -> None:
    arrays = gradients(*WINE, "--wrt", "weights", "--wrt", "activations", *options)
    assert [name.removeprefix("gradients/weights/") for name in arrays if "/weights/" in name] == weights
    assert [name.removeprefix("gradients/activations/") for name in arrays if "/activations/" in name] == activations
    everything = gradients(*WINE, "--wrt", "weights", "--wrt", "activations")
    for name, values in arrays.items():
        np.testing.assert_allclose(values, everything[name], rtol=1e-5, atol=1e-8)


def test_selections_inside_sub_models(gradients: Gradients, tmp_path: Path) -> None:
    options = ["--examples", ":3", "--wrt", "weights", "--wrt", "activations"]
    arrays = gradients(*SIAMESE, *options, "-l", "encoder.*")
    assert [name for name in arrays if "/weights/" in name] == [
        f"gradients/weights/encoder.{name}" for name in ("conv.kernel", "conv.bias", "features.kernel", "features.bias")
    ]
    activations = [name.removeprefix("gradients/activations/") for name in arrays if "/activations/" in name]
    assert {"encoder.conv", "encoder@1.conv"} <= set(activations)
    assert "same" not in activations
    by_depth = gradients(*SIAMESE, *options, "--depth", "1")
    assert [name for name in by_depth if "/weights/" in name] == [
        "gradients/weights/same.kernel",
        "gradients/weights/same.bias",
    ]
    outer = gradients(*SIAMESE, "--examples", ":3", "-l", "encoder")
    assert [name.removeprefix("gradients/weights/encoder.") for name in outer if "/weights/" in name] == [
        "conv.kernel",
        "conv.bias",
        "features.kernel",
        "features.bias",
    ]


def test_examples_are_a_part_of_all(gradients: Gradients, tmp_path: Path) -> None:
    arrays = gradients(*WINE, *EVERYTHING, "--examples", "-10:-3", "--batch-size", "4")
    x, y = np.load(WINE[1])[-10:-3], np.load(WINE[2])[-10:-3]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    assert_close(arrays, gradients(WINE[0], "x.npy", "y.npy", *EVERYTHING))
    gradients(*WINE, "--examples", "-10:-3")
    with h5py.File(tmp_path / "d.h5") as file:
        assert (file.attrs["first_example"], file.attrs["examples"]) == (49, 7)


# --- what is stored


def test_norms_instead_of_tensors(gradients: Gradients, tmp_path: Path) -> None:
    whole = gradients(*WINE, *EVERYTHING)
    with h5py.File(tmp_path / "d.h5") as file:
        total = file.attrs["gradient_norm"]
    norms = gradients(*WINE, *EVERYTHING, "--norms-only", "--batch-size", "8")
    assert list(norms) == list(whole)
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["gradient_norm"] == pytest.approx(total, rel=1e-5)
        for name, values in whole.items():
            if not values.size or name == "loss":
                continue
            wide = values.astype("float64")
            by_row = "/weights/" not in name
            expected = np.linalg.norm(wide.reshape(len(wide), -1), axis=1) if by_row else np.linalg.norm(wide)
            assert norms[name].shape == expected.shape, name
            np.testing.assert_allclose(norms[name], expected, rtol=1e-4, atol=1e-9, err_msg=name)
            assert file[name].attrs["reduce"] == "norm"
            assert file[name].attrs["norm"] == pytest.approx(np.linalg.norm(wide), rel=1e-4)
            assert file[name].attrs["axis0"] == ("example" if by_row else "none")
    assert (tmp_path / "d.h5").stat().st_size < 40_000


def test_sparse_gradients_of_tables_read_back_dense(gradients: Gradients, tmp_path: Path) -> None:
    keras.utils.set_random_seed(4)
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    h = keras.layers.Flatten()(keras.layers.Embedding(50, 4, name="table")(tokens))
    keras.Model(tokens, keras.layers.Dense(1, name="out")(h)).save(tmp_path / "m.keras")
    ids = np.array([[7, 2, 2], [31, 7, 7], [2, 2, 2], [49, 0, 7]], "int32")
    np.save(tmp_path / "x.npy", ids)
    options = ["m.keras", "x.npy", "--objective", "sum"]
    dense = gradients(*options)
    gradients(*options, "--sparse", "--batch-size", "3", "--stats")
    whole = dense["gradients/weights/table.embeddings"]
    with h5py.File(tmp_path / "d.h5") as file:
        table = file["gradients/weights/table.embeddings"]
        assert isinstance(table, h5py.Group)
        assert (table.attrs["encoding"], table.attrs["axis0"]) == ("sparse", "none")
        assert list(table.attrs["dense_shape"]) == list(table.attrs["shape"]) == [50, 4]
        assert list(table) == ["values", "indices"]
        assert table["indices"][:, 0].tolist() == sorted(set(ids.ravel()))
        back = np.zeros((50, 4))
        back[table["indices"][:, 0]] = table["values"]
        np.testing.assert_allclose(back, whole, rtol=1e-5, atol=1e-8)
        assert table.attrs["norm"] == pytest.approx(np.linalg.norm(whole.astype("f8")), rel=1e-5)
        assert table.attrs["stat_l2"] == pytest.approx(np.linalg.norm(whole.astype("f8")), rel=1e-5)
        for name in ("out.kernel", "out.bias"):
            np.testing.assert_allclose(file["gradients/weights"][name], dense[f"gradients/weights/{name}"], rtol=1e-5)


@pytest.mark.parametrize("size", ["8", "59"])
def test_statistics(gradients: Gradients, tmp_path: Path, size: str) -> None:
    arrays = gradients(*WINE, *EVERYTHING, "--stats", "--batch-size", size)
    with h5py.File(tmp_path / "d.h5") as file:
        for name, values in arrays.items():
            if not values.size or name == "loss":
                continue
            wide, attributes = values.astype("float64"), file[name].attrs
            expected = {
                "count": wide.size, "min": wide.min(), "max": wide.max(), "mean": wide.mean(), "std": wide.std(),
                "l2": np.linalg.norm(wide), "nan": 0, "inf": 0, "zero": np.count_nonzero(wide == 0),
            }  # fmt: skip
            for key, value in expected.items():
                assert attributes[f"stat_{key}"] == pytest.approx(value, rel=1e-6, abs=1e-15), (name, key)
    alone = gradients(*WINE, *EVERYTHING, "--stats-only", "--batch-size", size)
    assert list(alone) == list(arrays)
    with h5py.File(tmp_path / "d.h5") as file:
        assert bool(file.attrs["stats_only"]) is True
        for name, values in arrays.items():
            if values.size and name != "loss":
                assert alone[name].size == 0
                assert list(file[name].attrs["computed_shape"]) == list(values.shape)
                assert file[name].attrs["stat_l2"] == pytest.approx(np.linalg.norm(values.astype("f8")), rel=1e-6)
    assert alone["loss"] == arrays["loss"]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_stored_dtype(gradients: Gradients, tmp_path: Path, dtype: str) -> None:
    whole = gradients(*WINE, *EVERYTHING)
    arrays = gradients(*WINE, *EVERYTHING, "--dtype", dtype)
    assert list(arrays) == list(whole)
    with h5py.File(tmp_path / "d.h5") as file:
        for name, values in whole.items():
            if values.size and name != "loss":
                assert arrays[name].dtype == np.dtype(dtype)
                assert (file[name].attrs["dtype"], file[name].attrs["stored_as"]) == ("float32", dtype)
                np.testing.assert_array_equal(arrays[name], values.astype(dtype))
        assert file["loss"].dtype == np.float64


def test_storing_as_float16_says_what_it_lost(tfdump: Run, tmp_path: Path) -> None:
    """Gradients of weights overflow as those of examples do; neither may become infinite in silence."""
    x = keras.Input((3,), name="x")
    keras.Model(x, keras.layers.Dense(2, name="out", kernel_initializer="ones")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.full((4, 3), 1e3, "float32"))
    np.save(tmp_path / "y.npy", np.zeros((4, 2), "float32"))
    done = tfdump(
        "gradients", "m.keras", "x.npy", "y.npy", "--loss", "mse", "--wrt", "weights", "-o", "d.h5",
        "--dtype", "float16", "--reduction", "sum",
    )  # fmt: skip
    assert done.returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        kernel = file["gradients/weights/out.kernel"]
        lost = int(np.isinf(kernel[()]).sum())
        assert lost == 6
        assert f"{lost} finite values are too large for --dtype float16" in done.stderr
        assert kernel.attrs["overflowed"] == lost


def test_notes_on_a_terminal_stand_on_lines_of_their_own(tmp_path: Path) -> None:
    """The bar is taken away before a line is printed, and drawn again below it."""
    y = np.load(WINE[2]).astype("float32")[:, None] * np.full((1, 3), np.nan, "float32")
    np.save(tmp_path / "nan.npy", y)
    arguments = (*WINE[:2], "nan.npy", "--loss", "mse", "--batch-size", "1", "--training")
    screen = on_terminal("gradients", *arguments, cwd=tmp_path, columns=200, stdout=False)
    assert screen.returncode == 0
    text = screen.written
    assert "0/100" not in text  # no total before it is known
    assert "59/59" in text
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.split("\x1b[2K")[-1]) for line in text.split("\n")]
    notes = [line.strip("\r") for line in lines if "Note:" in line]
    assert len(notes) == 2, notes
    assert all(line.startswith("Note: ") for line in notes)
    assert notes[-1].startswith("Note: the loss is not finite (nan)")
    assert notes[-1].endswith("gradients")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_dumps_hold_the_same_values(gradients: Gradients, tmp_path: Path, compression: str) -> None:
    import hdf5plugin  # noqa: F401 - lets h5py read zstd

    plain = gradients(*WINE, *EVERYTHING)
    assert_close(gradients(*WINE, *EVERYTHING, "--compression", compression), plain, 0, 0)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/inputs/analysis"]
        filters = item.id.get_create_plist()
        codes = {filters.get_filter(n)[0] for n in range(filters.get_nfilters())}
        assert {"gzip": 1, "zstd": 32015}[compression] in codes


def two_inputs(folder: Path) -> None:
    """Two inputs of which the output is the product, with their data; for selections."""
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    product = keras.layers.Multiply(name="product")([a, keras.layers.Dense(3, name="dense")(b)])
    keras.Model([a, b], product).save(folder / "m.keras")
    random = np.random.default_rng(0)
    np.savez(folder / "x.npz", **{name: random.normal(size=(4, 3)).astype("float32") for name in ("left", "right")})


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (["--wrt", "inputs"], ["inputs/left", "inputs/right"]),
        (["--wrt", "inputs", "-l", "left"], ["inputs/left"]),
        (["--wrt", "inputs", "-l", "l*t"], ["inputs/left"]),
        (["--wrt", "inputs", "-x", "left"], ["inputs/right"]),
        (["--wrt", "inputs", "-l", "type:InputLayer", "--depth", "1"], ["inputs/left", "inputs/right"]),
        (["--wrt", "inputs", "--wrt", "weights", "-l", "dense.bias"],
         ["weights/dense.bias", "inputs/left", "inputs/right"]),
        (["--wrt", "inputs", "--wrt", "weights", "-l", "dense.bias", "-x", "left"],
         ["weights/dense.bias", "inputs/right"]),
        (["--wrt", "inputs", "--wrt", "activations", "-l", "right", "-l", "product"],
         ["activations/product", "inputs/right"]),
    ],
)  # fmt: skip
def test_a_selection_chooses_among_the_inputs_too(
    gradients: Gradients, tmp_path: Path, options: list[str], stored: list[str]
) -> None:
    two_inputs(tmp_path)
    arrays = gradients("m.keras", "x.npz", "--objective", "sum", *options)
    assert [name for name in arrays if name != "loss"] == [f"gradients/{name}" for name in stored]


# --- descent


def descend(path: Path, x: Any, y: Any, optimizer: Any, count: int) -> tuple[list[float], list[list[np.ndarray]], Any]:
    """The losses, the gradients and the weights of each step of a plain training loop."""
    model = keras.models.load_model(path)
    variables = model.trainable_weights
    losses, gradients, weights = [], [], []
    for _ in range(count):
        weights.append([variable.numpy() for variable in variables])
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x))
        arrays = [tf.convert_to_tensor(g) for g in tape.gradient(loss, [variable.value for variable in variables])]
        losses.append(float(loss))
        gradients.append([np.asarray(gradient) for gradient in arrays])
        optimizer.apply(arrays, variables)
    return losses, gradients, weights


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ([], lambda: keras.optimizers.SGD(0.05)),
        (["--optimizer", "Adam", "--batch-size", "16"], lambda: keras.optimizers.Adam(0.05)),
        (["--optimizer", "rmsprop"], lambda: keras.optimizers.RMSprop(0.05)),
    ],
)
def test_steps_of_gradient_descent(
    gradients: Gradients, tmp_path: Path, options: list[str], optimizer: Callable[[], Any]
) -> None:
    x, y = np.load(WINE[1]), np.load(WINE[2])
    losses, expected, weights = descend(WINE[0], x, y, optimizer(), 4)
    arrays = gradients(*WINE, "--steps", "4", "--learning-rate", "0.05", "--save-weights", *options)
    np.testing.assert_allclose(arrays["loss"], losses, rtol=1e-3)
    names = ["hidden.kernel", "hidden.bias", "predictions.kernel", "predictions.bias"]
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file["gradients/weights"]) == list(file["weights"]) == names
        assert (file.attrs["steps"], file.attrs["learning_rate"]) == (4, 0.05)
        assert file.attrs["optimizer"] == type(optimizer()).__name__
        assert "gradient_norm" not in file.attrs
        assert file["loss"].attrs["axis0"] == "step"
        for number, name in enumerate(names):
            gradient, weight = file[f"gradients/weights/{name}"], file[f"weights/{name}"]
            assert (gradient.attrs["axis0"], weight.attrs["axis0"]) == ("step", "step")
            assert list(weight.attrs["shape"]) == list(weights[0][number].shape)
            scale = max(np.abs(step[number]).max() for step in expected)
            np.testing.assert_allclose(gradient, [s[number] for s in expected], rtol=5e-3, atol=2e-3 * scale)
            np.testing.assert_allclose(weight, [s[number] for s in weights], rtol=5e-3, atol=2e-3)
            np.testing.assert_array_equal(weight[0], weights[0][number])
            np.testing.assert_allclose(
                gradient.attrs["norm"],
                np.linalg.norm(gradient[()].reshape(4, -1).astype("float64"), axis=1),
                rtol=1e-5,
            )


def test_statistics_of_the_weights_of_each_step(gradients: Gradients, tmp_path: Path) -> None:
    options = ["--steps", "3", "--learning-rate", "0.2", "--save-weights"]
    whole = gradients(*WINE, *options)
    for kind in ("--stats", "--stats-only"):
        arrays = gradients(*WINE, *options, kind)
        with h5py.File(tmp_path / "d.h5") as file:
            for name, item in file["weights"].items():
                values = whole[f"weights/{name}"].astype("float64")
                assert item.attrs["stat_count"] == values.size
                assert item.attrs["stat_l2"] == pytest.approx(np.linalg.norm(values), rel=1e-6)
                assert item.attrs["stat_max"] == pytest.approx(values.max())
                assert arrays[f"weights/{name}"].size == (values.size if kind == "--stats" else 0)


def test_weights_that_overflow_when_stored_are_told(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    kernel = keras.initializers.Constant(1e6)
    keras.Model(x, keras.layers.Dense(2, name="out", kernel_initializer=kernel)(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.ones((4, 3), "float32"))
    done = tfdump(
        "gradients", "m.keras", "x.npy", "--objective", "sum", "--steps", "2", "--learning-rate", "0.1",
        "--save-weights", "--dtype", "float16", "-o", "d.h5",
    )  # fmt: skip
    assert "12 finite values are too large for --dtype float16" in done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["weights/out.kernel"].attrs["overflowed"] == 12


def test_steps_move_every_weight_though_few_are_stored(gradients: Gradients, tmp_path: Path) -> None:
    options = ["--steps", "3", "--learning-rate", "0.2", "--save-weights"]
    whole = gradients(*WINE, *options)
    some = gradients(*WINE, *options, "-l", "predictions.bias")
    assert [name for name in some if "/" in name] == [
        "gradients/weights/predictions.bias",
        "weights/predictions.bias",
    ]
    for name, values in some.items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-5)
    assert "weights/predictions.bias" not in gradients(*WINE, "--steps", "1", "--learning-rate", "1")


def test_steps_of_activations_and_inputs_and_norms(gradients: Gradients, tmp_path: Path) -> None:
    first = gradients(*WINE, *EVERYTHING)
    arrays = gradients(*WINE, *EVERYTHING, "--steps", "3", "--learning-rate", "0.1", "--batch-size", "16", "--stats")
    for name, values in first.items():
        if values.size:
            assert arrays[name].shape == (3, *values.shape)
            np.testing.assert_allclose(arrays[name][0], values, rtol=1e-3, atol=1e-7, err_msg=name)
    assert np.all(np.diff(arrays["loss"]) < 0)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/inputs/analysis"]
        assert item.attrs["stat_count"] == item.size
        assert item.attrs["norm"].shape == (3,)
    norms = gradients(*WINE, *EVERYTHING, "--steps", "3", "--learning-rate", "0.1", "--norms-only")
    assert norms["gradients/weights/hidden.kernel"].shape == (3,)
    assert norms["gradients/inputs/analysis"].shape == (3, 59)
    expected = np.linalg.norm(arrays["gradients/weights/hidden.kernel"].reshape(3, -1).astype("f8"), axis=1)
    np.testing.assert_allclose(norms["gradients/weights/hidden.kernel"], expected, rtol=1e-3)
    one = gradients(*WINE, "--steps", "1", "--learning-rate", "0.1")
    assert (one["loss"].shape, one["gradients/weights/hidden.bias"].shape) == ((1,), (1, 16))


# --- running


def test_training_mode_follows_the_seed(gradients: Gradients, tmp_path: Path) -> None:
    options = [*DIGITS, "--examples", ":8", "--training", "-l", "logits"]
    one = gradients(*options, "--seed", "5")
    with h5py.File(tmp_path / "d.h5") as file:
        assert (bool(file.attrs["training"]), file.attrs["seed"], file.attrs["batch_size"]) == (True, 5, 8)
    again = gradients(*options, "--seed", "5")
    other = gradients(*options, "--seed", "6")
    for name, values in one.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
    plain = gradients(*DIGITS, "--examples", ":8", "-l", "logits")
    assert plain["loss"] != one["loss"]


def test_training_takes_batches_of_32(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *DIGITS, "--examples", ":40", "--training", "-l", "logits.bias")
    assert done.returncode == 0
    assert "--training: the gradients may depend on the batch size" in done.stderr
    with h5py.File(tmp_path / "digits_cnn.gradients.h5") as file:
        assert file.attrs["batch_size"] == 32


def test_eager_gives_what_the_graph_gives(gradients: Gradients) -> None:
    options = [*EVERYTHING, "--examples", ":7", "--batch-size", "3"]
    assert_close(gradients(*WINE, *options, "--eager"), gradients(*WINE, *options))
    assert_close(gradients(*SIAMESE, *options, "--eager"), gradients(*SIAMESE, *options))


def test_one_example_without_its_axis_and_a_cast_are_noted(tfdump: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.load(WINE[1])[3].astype("float64"))
    np.save(tmp_path / "label.npy", np.load(WINE[2])[3:4])
    done = tfdump("gradients", WINE[0], "one.npy", "label.npy", "-o", "a.h5")
    assert done.returncode == 0
    assert "Note: one.npy has shape (13,): read as one example of 'analysis'" in done.stderr
    assert "Note: one.npy is cast from float64 to float32" in done.stderr
    assert done.stderr.count("\n") == len([line for line in done.stderr.splitlines() if line.startswith("Note: ")])
    assert tfdump("gradients", WINE[0], "one.npy", "label.npy", "-o", "b.h5", "-q").stderr == ""
    assert tfdump("gradients", *WINE, "--examples", "3:4", "-o", "c.h5").returncode == 0
    assert_close(datasets(tmp_path / "a.h5"), datasets(tmp_path / "c.h5"), 1e-6)
    strict = tfdump("gradients", WINE[0], "one.npy", "label.npy", "-o", "e.h5", "--strict-dtype")
    assert strict.returncode == 2
    assert "--strict-dtype" in strict.stderr


def test_strict_dtype_is_about_inputs(tfdump: Run, tmp_path: Path) -> None:
    """The loss casts the targets, as Keras does: labels are integers wherever they come from."""
    assert tfdump("gradients", *WINE, "--strict-dtype", "-o", "d.h5").returncode == 0


def test_verbose_shows_more_than_quiet(tfdump: Run, tmp_path: Path) -> None:
    quiet = tfdump("gradients", *WINE, "-q", "-o", "q.h5")
    assert (quiet.stdout, quiet.stderr) == ("q.h5\n", "")
    broken = tfdump("gradients", *WINE, "--loss", "nothing_of_the_kind", "-v", "-o", "v.h5")
    assert broken.returncode == 2
    assert "Traceback" in broken.stderr
    assert "Traceback" not in tfdump("gradients", *WINE, "--loss", "nothing_of_the_kind").stderr


def test_options_come_from_the_environment_too(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump(
        "gradients",
        *WINE,
        env={
            "TFDUMP_GRADIENTS_OUTPUT": "env.h5",
            "TFDUMP_GRADIENTS_WRT": "inputs weights",
            "TFDUMP_GRADIENTS_LAYER": "hidden",
            "TFDUMP_GRADIENTS_STEPS": "2",
            "TFDUMP_GRADIENTS_LEARNING_RATE": "0.1",
            "TFDUMP_GRADIENTS_REDUCTION": "sum",
        },
    )
    assert done.stdout == "env.h5\n", done.stderr
    with h5py.File(tmp_path / "env.h5") as file:
        assert list(file["gradients/weights"]) == ["hidden.kernel", "hidden.bias"]
        assert file["gradients/inputs/analysis"].shape == (2, 59, 13)
        assert file.attrs["reduction"] == "sum"
        words = shlex.split(file.attrs["command"])
        assert "--steps" in words
        assert words.count("--wrt") == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--loss", "price=mse", "--targets", "price=price.npy", "--sample-weight", "price=w.npy", "--wrt", "inputs",
         "--wrt", "weights", "-x", "k*", "--reduction", "sum", "--examples", "1:6", "--batch-size", "2", "--stats"],
        ["--objective", "kind[-1]", "--steps", "2", "--learning-rate", "0.01", "--optimizer", "Adam", "--save-weights",
         "--dtype", "float64", "--compression", "gzip", "--training", "--seed", "3"],
        ["--loss", "kind=sparse_categorical_crossentropy", "--from-logits", "--targets", "y.npz::k 1",
         "--norms-only", "--loss-scale", "8", "--eager", "--depth", "1"],
        ["--objective", "sum", "--sparse", "-l", "re:h.*", "-l", "type:Dense", "--memory", "64MiB"],
    ],
)  # fmt: skip
def test_the_recorded_command_reproduces_the_dump(tfdump: Run, tmp_path: Path, options: list[str]) -> None:
    two_outputs(tmp_path)
    np.savez(tmp_path / "y.npz", **{"k 1": np.load(tmp_path / "kind.npy")})
    absolute = [str(tmp_path / word) if word.endswith("keras") else word for word in ("two.keras", "x.npy")]
    done = tfdump("gradients", *absolute, *options, "-o", "first.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "first.h5") as file:
        recorded = file.attrs["command"]
        assert json.loads(file.attrs["wrt"])
    assert str(tmp_path) not in recorded
    program, *words = shlex.split(recorded)
    assert program == "tfdump"
    assert tfdump(*words, "-o", "second.h5").returncode == 0
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


# --- before and beside the run


def rows_of(done: Ended) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "options",
    [
        [],
        [*EVERYTHING, "--dtype", "float64"],
        [*EVERYTHING, "--steps", "20", "--learning-rate", "0.01"],
        ["--steps", "50", "--learning-rate", "0.01", "--save-weights"],
        [*EVERYTHING, "--norms-only"],
        [*EVERYTHING, "--stats-only"],
        ["-l", "hidden", *EVERYTHING, "--steps", "40", "--learning-rate", "0.01", "--save-weights"],
    ],
)
def test_a_dry_run_foretells_the_file(tfdump: Run, tmp_path: Path, options: list[str]) -> None:
    done = tfdump("gradients", *WINE, *options, "--dry-run")
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
    head, *rows = rows_of(done)
    assert head == ["tensor", "shape", "dtype", "axis0", "bytes"]
    *listed, overhead, total = rows
    assert overhead[0] == "attributes and indices"
    assert total[0] == "total"
    assert int(total[-1]) == sum(int(row[-1]) for row in [*listed, overhead])
    assert tfdump("gradients", *WINE, *options, "-o", "d.h5").returncode == 0
    size = (tmp_path / "d.h5").stat().st_size
    assert int(total[-1]) == pytest.approx(size, abs=0.25 * size + 3000 * len(listed))
    by_name = {row[0]: row for row in listed}
    with h5py.File(tmp_path / "d.h5") as file:
        stored = {item.name[1:]: item for item in walk(file)}
        connected = [n for n, i in stored.items() if n not in ("loss", "config") and i.attrs.get("connected", True)]
        assert sorted(by_name) == sorted(connected)
        for name in connected:
            item, (_, shape, dtype, axis0, size) = stored[name], by_name[name]
            assert dtype == item.attrs["dtype"] == "float32"
            assert axis0 == item.attrs["axis0"]
            if "--stats-only" in options:
                assert size == "0"
                continue
            assert int(size) == item.size * item.dtype.itemsize, name
            rows_open = "/weights/" not in name and not name.startswith("weights/")
            sizes = [str(n) for n in item.shape]
            if rows_open:
                sizes[1 if "--steps" in options else 0] = "?"
            assert shape == f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})", name


@pytest.mark.parametrize("size", ["3", "100"])
def test_a_dry_run_of_sparse_gradients_is_at_most_the_table(tfdump: Run, tmp_path: Path, size: str) -> None:
    """Many lookups in a small table: each row is stored once."""
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    h = keras.layers.Flatten()(keras.layers.Embedding(5, 2, name="table")(tokens))
    keras.Model(tokens, keras.layers.Dense(1, name="out")(h)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 5, (100, 3), dtype="int32"))
    options = ["m.keras", "x.npy", "--objective", "sum", "--sparse", "--batch-size", size]
    foretold = {row[0]: row[-1] for row in rows_of(tfdump("gradients", *options, "--dry-run"))}
    assert tfdump("gradients", *options, "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        table = file["gradients/weights/table.embeddings"]
        stored = sum(item.size * item.dtype.itemsize for item in table.values())
    assert int(foretold["gradients/weights/table.embeddings"]) == stored == 5 * (2 * 4 + 8)


@pytest.mark.parametrize(("sample", "kinds"), [(DIGITS, EVERYTHING), (SIAMESE, EVERYTHING), (DIGITS, ())])
def test_a_dry_run_is_close_to_the_file_of_a_sample(
    tfdump: Run, tmp_path: Path, sample: tuple[Path, ...], kinds: tuple[str, ...]
) -> None:
    options = [*kinds, "--examples", ":40"]
    foretold = int(rows_of(tfdump("gradients", *sample, *options, "--dry-run"))[-1][-1])
    assert tfdump("gradients", *sample, *options, "-o", "d.h5").returncode == 0
    assert foretold == pytest.approx((tmp_path / "d.h5").stat().st_size, rel=0.25)


def test_a_dry_run_overwrites_nothing_and_minds_no_output(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "there.h5").write_text("precious")
    done = tfdump("gradients", *WINE, "--dry-run", "-o", "there.h5")
    assert done.returncode == 0
    assert (tmp_path / "there.h5").read_text() == "precious"


def test_force_overwrites(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "there.h5").write_text("precious")
    refused = tfdump("gradients", *WINE, "-o", "there.h5")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "there.h5 exists" in refused.stderr
    assert (tmp_path / "there.h5").read_text() == "precious"
    assert tfdump("gradients", *WINE, "-o", "there.h5", "-f").returncode == 0
    assert (tmp_path / "there.h5").read_bytes()[:4] == b"\x89HDF"


def test_only_the_path_goes_through_a_pipe(tfdump_forked: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    done = tfdump_forked("gradients", WINE[0], "-", WINE[2], "-o", folder / "d.h5", stdin=WINE[1].read_bytes())
    assert (done.returncode, done.stdout) == (0, f"{folder / 'd.h5'}\n")
    assert done.stderr == ""
    assert os.listdir(folder) == ["d.h5"]
