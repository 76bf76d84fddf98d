"""`tfdump gradients`: the file that it writes, read by h5py alone, and its numbers against other routes to them."""

import json
import math
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", SAMPLES / "digits_labels.npy")
WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy", SAMPLES / "wine_labels.npy")
TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz", SAMPLES / "text_labels.npy")
SIAMESE = (SAMPLES / "siamese.keras", SAMPLES / "pairs.npz", SAMPLES / "pairs_labels.npy")
TWICE = (
    SAMPLES / "twice.keras",
    SAMPLES / "digits.npy",
    SAMPLES / "digits_labels.npy",
    "--import",
    SAMPLES / "twice.py",
)
ALL = {"digits": DIGITS, "wine": WINE, "text": TEXT, "siamese": SIAMESE, "twice": TWICE}
EVERYTHING = ("--wrt", "weights", "--wrt", "activations", "--wrt", "inputs")

WINE_WEIGHTS = ["hidden.kernel", "hidden.bias", "predictions.kernel", "predictions.bias"]


def tensors(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Every tensor of a dump with its path below /gradients."""
    for group in file["gradients"]:
        for name, item in file["gradients"][group].items():
            yield f"{group}/{name}", item


def assert_same_gradients(a: h5py.File, b: h5py.File, rtol: float = 1e-4, atol: float = 1e-7) -> None:
    names = [name for name, _ in tensors(b)]
    assert [name for name, _ in tensors(a)] == names
    for name in names:
        expected = b["gradients"][name][()]
        slack = atol + 1e-5 * (np.abs(expected).max() if expected.size else 0)
        np.testing.assert_allclose(a["gradients"][name], expected, rtol=rtol, atol=slack, err_msg=name)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


def wine_by_hand(rows: slice = slice(None)) -> dict[str, Any]:
    """The loss of the wine classifier and its gradients in float64 NumPy, backpropagated by hand."""
    model = keras.models.load_model(WINE[0], compile=False)
    mean, variance = (np.asarray(v, "float64") for v in (model.layers[0].mean, model.layers[0].variance))
    w1, b1, w2, b2 = (w.astype("float64") for layer in model.layers[1:] for w in layer.get_weights())
    x, labels = np.load(WINE[1]).astype("float64")[rows], np.load(WINE[2])[rows]
    normalize = (x - mean) / np.sqrt(variance)
    hidden = np.tanh(normalize @ w1 + b1)
    exponentials = np.exp(hidden @ w2 + b2)
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    own = 0.01 * np.square(w1).sum()
    to_logits = (probabilities - np.eye(3)[labels]) / len(x)
    to_hidden = to_logits @ w2.T
    to_sum = to_hidden * (1 - hidden**2)
    to_normalize = to_sum @ w1.T
    return {
        "loss": own - np.log(probabilities[np.arange(len(x)), labels]).mean(),
        "regularization": own,
        "weights/hidden.kernel": normalize.T @ to_sum + 0.02 * w1,
        "weights/hidden.bias": to_sum.sum(0),
        "weights/predictions.kernel": hidden.T @ to_logits,
        "weights/predictions.bias": to_logits.sum(0),
        "activations/normalize": to_normalize,
        "activations/hidden": to_hidden,
        "inputs/analysis": to_normalize / np.sqrt(variance),
    }


def by_tape(path: Path, x: Any, y: Any) -> tuple[float, dict[int, np.ndarray]]:
    """The compiled loss of a model as Keras computes it, and its gradients in the order of the trainable weights."""
    model = keras.models.load_model(path)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=False), training=False)
    variables = [variable.value for variable in model.trainable_weights]
    return float(loss), [np.asarray(tf.convert_to_tensor(g)) for g in tape.gradient(loss, variables)]


# --- values


def test_the_path_alone_is_on_stdout_and_the_values_are_right(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *WINE, *EVERYTHING)
    assert (done.returncode, done.stdout) == (0, "wine_mlp.gradients.h5\n")
    (note,) = done.stderr.splitlines()
    assert note.startswith("Note: not connected with the loss")
    assert "predictions" in note
    with h5py.File(tmp_path / "wine_mlp.gradients.h5") as file:
        expected = wine_by_hand()
        assert list(file["gradients"]) == ["weights", "activations", "inputs"]
        assert list(file["gradients/weights"]) == WINE_WEIGHTS
        assert list(file["gradients/activations"]) == ["normalize", "hidden", "predictions"]
        assert list(file["gradients/inputs"]) == ["analysis"]
        assert file["loss"][()] == pytest.approx(expected.pop("loss"), rel=1e-5)
        assert file["loss"].attrs["regularization"] == pytest.approx(expected.pop("regularization"), rel=1e-5)
        for name, values in expected.items():
            arrays = file["gradients"][name]
            assert arrays.shape == values.shape
            np.testing.assert_allclose(arrays, values, rtol=1e-3, atol=1e-5 * np.abs(values).max(), err_msg=name)


@pytest.mark.parametrize("name", ["digits", "siamese"])
def test_weights_and_loss_equal_a_plain_gradient_tape(tfdump: Run, tmp_path: Path, name: str) -> None:
    path, x, y = ALL[name]
    data = np.load(x)
    fed = {key: data[key][:23] for key in data} if x.suffix == ".npz" else data[:23]
    loss, expected = by_tape(path, fed, np.load(y)[:23])
    assert tfdump("gradients", *ALL[name], "--examples", ":23", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["loss"][()] == pytest.approx(loss, rel=1e-5)
        arrays = list(file["gradients/weights"].values())
        assert len(arrays) == len(expected)
        for item, values in zip(arrays, expected, strict=True):
            assert item.shape == values.shape
            np.testing.assert_allclose(item, values, rtol=1e-4, atol=1e-5 * np.abs(values).max(), err_msg=item.name)


@pytest.mark.parametrize(
    ("name", "sizes"), {"wine": "127", "digits": "7", "siamese": "2", "text": "7", "twice": "2"}.items()
)
def test_values_do_not_depend_on_the_batch_size(tfdump: Run, tmp_path: Path, name: str, sizes: str) -> None:
    """Also where the last batch is short: 13 examples in batches of 1, 2, 7 and 13."""
    arguments = [*ALL[name], *EVERYTHING, "--examples", "3:16", "-q"]
    assert tfdump("gradients", *arguments, "-o", "all.h5", "--batch-size", "13").returncode == 0
    for size in sizes:
        done = tfdump("gradients", *arguments, "-o", "some.h5", "-f", "--batch-size", size)
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / "some.h5") as some, h5py.File(tmp_path / "all.h5") as whole:
            assert (some.attrs["batch_size"], whole.attrs["batch_size"]) == (int(size), 13)
            assert_same_gradients(some, whole)
            assert [item.attrs["axis0"] for _, item in tensors(some)] == [
                item.attrs["axis0"] for _, item in tensors(whole)
            ]


def test_finite_differences_agree_with_the_gradient_of_an_input(tfdump: Run, tmp_path: Path) -> None:
    model = keras.models.load_model(WINE[0], compile=False)
    assert tfdump("gradients", *WINE, "--wrt", "inputs", "--reduction", "sum").returncode == 0
    x, labels = np.load(WINE[1]), np.load(WINE[2])

    def loss(row: np.ndarray, label: int) -> float:
        return -math.log(float(np.asarray(model(row[None].astype("float32")))[0, label]))

    with h5py.File(tmp_path / "wine_mlp.gradients.h5") as file:
        arrays = file["gradients/inputs/analysis"][()]
        for row, column, step in ((0, 0, 0.01), (5, 6, 0.01), (40, 12, 2.0)):
            above, below = x[row].copy(), x[row].copy()
            above[column] += step
            below[column] -= step
            expected = (loss(above, labels[row]) - loss(below, labels[row])) / (2 * step)
            assert arrays[row, column] == pytest.approx(expected, rel=2e-2, abs=1e-4)


def test_the_help_says_what_belongs_where(tfdump: Run) -> None:
    help_text = " ".join(tfdump("gradients", "--help").stdout.split())
    for words in (
        "[default: MODEL.gradients.h5]",
        "--batch-size N|auto",
        "--loss-scale F",
        "--seed N",
        "--learning-rate F Use this learning rate; --steps needs it",
        "Select only these layers, weights or inputs",
    ):
        assert words in help_text
    assert "[default: MODEL.activations.h5]" in " ".join(tfdump("activations", "--help").stdout.split())


# --- the file


def test_every_attribute_of_the_format_is_there(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *WINE, *EVERYTHING, "--examples", "4:40", "--batch-size", "16")
    assert done.returncode == 0
    with h5py.File(tmp_path / "wine_mlp.gradients.h5") as file:
        root = dict(file.attrs)
        assert (root["format"], root["format_version"], root["kind"]) == ("tfdump", 1, "gradients")
        assert (root["model"], root["model_class"]) == ("wine_mlp.keras", "Sequential")
        assert (root["examples"], root["first_example"], root["batch_size"]) == (36, 4, 16)
        assert (bool(root["training"]), root["seed"], bool(root["per_example"])) == (False, 0, False)
        assert root["loss"] == "compiled: sparse_categorical_crossentropy"
        assert root["reduction"] == "mean"
        assert json.loads(root["wrt"]) == ["weights", "activations", "inputs"]
        digest = subprocess.run(["sha256sum", WINE[0]], capture_output=True, text=True, check=True).stdout.split()[0]
        assert root["model_sha256"] == digest
        assert root["keras_version"] == keras.__version__
        assert root["tensorflow_version"] == tf.__version__
        assert root["numpy_version"] == np.__version__
        assert root["tfdump_version"]
        assert root["command"] == (
            "tfdump gradients wine_mlp.keras wine.npy wine_labels.npy --wrt weights --wrt activations --wrt inputs "
            "--batch-size 16 --examples 4:40"
        )
        assert json.loads(root["not_captured"]) == [
            {"address": f"normalize.{name}", "reason": "not trainable"} for name in ("mean", "variance", "count")
        ]
        assert json.loads(file["config"][()])["class_name"] == "Sequential"
        assert sorted(file) == ["config", "gradients", "loss"]

        loss = file["loss"]
        assert (loss.shape, loss.dtype) == ((), np.float64)
        assert (loss.attrs["axis0"], loss.attrs["dtype"]) == ("none", "float32")

        for name, item in tensors(file):
            attributes = dict(item.attrs)
            group, _, address = name.partition("/")
            assert attributes["address"] == address
            assert attributes["layer"] == (address.rpartition(".")[0] if group == "weights" else address)
            assert isinstance(attributes["structure"], str)
            assert attributes["structure"]
            assert attributes["dtype"] == "float32"
            assert "stored_as" not in attributes
            assert "reduce" not in attributes
            if name == "activations/predictions":
                continue
            assert attributes["axis0"] == ("none" if group == "weights" else "example")
            declared = list(item.shape) if group == "weights" else [-1, *item.shape[1:]]
            assert list(attributes["shape"]) == declared
            assert attributes["norm"].dtype == np.float64
            assert attributes["norm"] == pytest.approx(np.linalg.norm(item[()].astype("float64")), rel=1e-6)
        weights, activations = file["gradients/weights"], file["gradients/activations"]
        assert [item.attrs["class"] for item in weights.values()] == ["Dense"] * 4
        assert [item.attrs["class"] for item in activations.values()] == ["Normalization", "Dense", "Dense"]
        assert file["gradients/inputs/analysis"].attrs["class"] == "InputLayer"
        for group in (weights, activations, file["gradients/inputs"]):
            orders = [item.attrs["order"] for item in group.values()]
            assert orders == sorted(set(orders))
        squares = [item.attrs["norm"] ** 2 for item in weights.values()]
        assert root["gradient_norm"] == pytest.approx(math.sqrt(sum(squares)), rel=1e-12)


def test_structure_is_the_path_of_attributes(tfdump: Run, tmp_path: Path) -> None:
    assert (
        tfdump("gradients", *TWICE, "--examples", ":3", "-o", "d.h5", "--wrt", "inputs", "--wrt", "weights").returncode
        == 0
    )
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file["gradients"]) == ["weights", "inputs"]
        structures = [item.attrs["structure"] for item in file["gradients/weights"].values()]
        assert "reader.expand.kernel" in structures
        assert "head.0.kernel" in structures
        assert all(item.attrs["layer"].startswith("line_reader") or "." not in item.attrs["layer"]
                   for item in file["gradients/weights"].values())  # fmt: skip
        assert {item.attrs["class"] for item in file["gradients/weights"].values()} >= {"Dense"}


def test_links_keep_the_order_of_creation(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("gradients", *WINE, *EVERYTHING, "-o", "d.h5").returncode == 0
    tracked = h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED
    with h5py.File(tmp_path / "d.h5") as file:
        for group in (file["/"], file["gradients"], *file["gradients"].values()):
            assert group.id.get_create_plist().get_link_creation_order() == tracked, group.name


def test_nothing_in_the_file_tells_of_this_machine(tfdump: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "weights_of_examples.npy", np.ones(300))
    done = tfdump(
        "gradients", TWICE[0], TWICE[1], "--targets", TWICE[2], *TWICE[3:], "-o", tmp_path / "here.h5",
        "--sample-weight", tmp_path / "weights_of_examples.npy", "--wrt", "inputs", "--wrt", "weights",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "here.h5").read_bytes()
    for secret in (str(tmp_path), str(SAMPLES), "here.h5", str(Path.home()) + "/"):
        assert secret.encode() not in written


def test_the_same_command_writes_the_same_bytes(tfdump: Run, tfdump_forked: Run, tmp_path: Path) -> None:
    """In two processes, whose seeds of hashes differ."""
    options = ["--wrt", "weights", "--wrt", "inputs", "--stats", "--compression", "gzip", "--training"]
    for name, run in (("one.h5", tfdump), ("two.h5", tfdump_forked)):
        done = run("gradients", *DIGITS, "-o", name, *options, "--examples", ":40")
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
        time.sleep(2 if name == "one.h5" else 0)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_show_reads_the_dump(tfdump: Run, tmp_path: Path) -> None:
    tfdump("gradients", *WINE, "-o", "d.h5")
    document = json.loads(tfdump("show", "d.h5", "--json").stdout)
    assert [item["address"] for item in document["items"]] == WINE_WEIGHTS
    assert document["provenance"]["loss"].startswith("compiled")
    with h5py.File(tmp_path / "d.h5") as file:
        assert document["provenance"]["loss_values"] == file["loss"][()]


# --- what has no gradient


def test_states_of_layers_are_named_with_v_and_in_the_file_alone(tfdump: Run, tmp_path: Path) -> None:
    """A moving mean has no gradient, as everybody expects; a kernel that was frozen is worth a note."""
    x = keras.Input((4,), name="x")
    hidden = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(5, name="frozen", trainable=False)(x))
    keras.Model(x, keras.layers.Dense(2, name="out")(hidden)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 4)).astype("float32"))
    np.save(tmp_path / "y.npy", np.random.default_rng(1).normal(size=(6, 2)).astype("float32"))
    arguments = ("gradients", "m.keras", "x.npy", "y.npy", "--loss", "mse", "-f")
    frozen = "Note: not captured: frozen.kernel, frozen.bias (not trainable)"
    states = "Note: not captured: bn.moving_mean, bn.moving_variance (not trainable)"
    assert tfdump(*arguments).stderr.splitlines() == [frozen]
    assert set(tfdump(*arguments, "-v").stderr.splitlines()) >= {frozen, states}
    assert tfdump(*arguments, "-q").stderr == ""
    with h5py.File(tmp_path / "m.gradients.h5") as file:
        missing = {item["address"] for item in json.loads(file.attrs["not_captured"])}
    assert missing == {"frozen.kernel", "frozen.bias", "bn.moving_mean", "bn.moving_variance"}


def two_branches(folder: Path) -> Path:
    """Two outputs from one trunk, with a frozen layer; saved uncompiled."""
    keras.utils.set_random_seed(3)
    x = keras.Input((4,), name="x")
    trunk = keras.layers.Dense(5, activation="tanh", name="trunk")(x)
    untrained = keras.layers.Dense(5, name="kept", trainable=False)(trunk)
    model = keras.Model(
        x, {"left": keras.layers.Dense(2, name="l")(untrained), "right": keras.layers.Dense(3, name="r")(trunk)}
    )
    model.save(folder / "branches.keras")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(6, 4)).astype("float32"))
    np.save(folder / "left.npy", np.random.default_rng(1).normal(size=(6, 2)).astype("float32"))
    np.save(folder / "right.npy", np.random.default_rng(2).normal(size=(6, 3)).astype("float32"))
    return folder / "branches.keras"


def test_what_the_loss_does_not_reach_is_unconnected_and_never_zero(tfdump: Run, tmp_path: Path) -> None:
    model = two_branches(tmp_path)
    done = tfdump("gradients", model, "x.npy", "left.npy", "--loss", "left=mse", *EVERYTHING, "-o", "d.h5", "--stats")
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "not connected" in line]
    assert "r.kernel, r.bias, r" in note
    (frozen,) = [line for line in done.stderr.splitlines() if "not trainable" in line]
    assert "kept.kernel, kept.bias" in frozen
    with h5py.File(tmp_path / "d.h5") as file:
        for name, shape in {"weights/r.kernel": [5, 3], "weights/r.bias": [3], "activations/r": [-1, 3]}.items():
            item = file["gradients"][name]
            assert item.size == 0
            assert item.shape is not None
            assert bool(item.attrs["connected"]) is False
            assert list(item.attrs["shape"]) == shape
            assert (item.attrs["address"], item.attrs["dtype"]) == (name.partition("/")[2], "float32")
            assert item.attrs["class"] == "Dense"
            assert "norm" not in item.attrs
        assert all(item.attrs.get("connected", True) for name, item in tensors(file) if "/r" not in name)
        assert "kept.kernel" not in file["gradients/weights"]
        assert np.count_nonzero(file["gradients/activations/kept"]) == 30
        missing = {item["address"]: item["reason"] for item in json.loads(file.attrs["not_captured"])}
        assert missing == {"kept.kernel": "not trainable", "kept.bias": "not trainable"}
        assert list(file["gradients/weights"])[:4] == ["trunk.kernel", "trunk.bias", "l.kernel", "l.bias"]


def test_an_integer_input_has_no_gradient_and_that_is_said(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *TEXT, *EVERYTHING, "-o", "d.h5", "--examples", ":5")
    assert done.returncode == 0
    assert "not captured: tokens (the input is int32, which has no gradient)" in done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert "inputs" not in file["gradients"]
        missing = {item["address"]: item["reason"] for item in json.loads(file.attrs["not_captured"])}
        assert "int32" in missing["tokens"]
        assert "bool" in missing["not_equal"]
        assert "loop" in missing["bidirectional.forward_gru.gru_cell"]


def test_a_layer_in_two_sub_models_has_one_gradient_and_an_alias(tfdump: Run, tmp_path: Path) -> None:
    """The gradient is the sum over both uses, under the address of the first, and the second is in `aliases`."""
    (tmp_path / "tied.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('gradients_tied')\n"
        "class Part(keras.layers.Layer):\n"
        "    def __init__(self, inner=None, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.inner = inner\n"
        "    def call(self, x):\n"
        "        return self.inner(x)\n"
        "@keras.saving.register_keras_serializable('gradients_tied')\n"
        "class Tied(keras.Model):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        inner = keras.layers.Dense(3, use_bias=False, name='inner')\n"
        "        self.one, self.two = Part(inner, name='one'), Part(inner, name='two')\n"
        "    def call(self, x):\n"
        "        return self.two(self.one(x))\n"
    )
    tied = runpy.run_path(str(tmp_path / "tied.py"))
    made = tied["Tied"](name="tied")
    made(keras.Input((3,)))
    made.save(tmp_path / "tied.keras")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    options = ["--import", "tied.py", "--objective", "sum", "-o", "d.h5", "-f"]
    done = tfdump("gradients", "tied.keras", "x.npy", *options)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file["gradients/weights"]) == ["one.inner.kernel"]
        item = file["gradients/weights/one.inner.kernel"]
        assert json.loads(item.attrs["aliases"]) == ["two.inner.kernel"]
        w = made.get_weights()[0].astype("float64")
        ones = np.ones((4, 3))
        np.testing.assert_allclose(item, x.T @ (ones @ w.T) + (x @ w).T @ ones, rtol=1e-4, atol=1e-5)
    selected = tfdump("gradients", "tied.keras", "x.npy", *options, "-l", "two.inner.kernel")
    assert selected.returncode == 0, selected.stderr


def test_a_nan_loss_is_dumped_with_a_warning(tfdump: Run, tmp_path: Path) -> None:
    x = np.load(WINE[1])
    x[5] = np.nan
    np.save(tmp_path / "x.npy", x)
    done = tfdump("gradients", WINE[0], "x.npy", WINE[2], "-o", "d.h5")
    assert (done.returncode, done.stdout) == (0, "d.h5\n")
    warnings = [line for line in done.stderr.splitlines() if "not finite" in line]
    assert len(warnings) == 1
    assert "nan" in warnings[0]
    with h5py.File(tmp_path / "d.h5") as file:
        assert np.isnan(file["loss"][()])
        assert np.isnan(file["gradients/weights/hidden.bias"][()]).all()
        assert np.isnan(file["gradients/weights/hidden.bias"].attrs["norm"])


# --- mixed precision


def half_model(folder: Path) -> Path:
    """A layer that computes in float16 behind a very small weight, so that its gradients vanish."""
    keras.utils.set_random_seed(1)
    x = keras.Input((3,), name="x")
    h = keras.layers.Dense(4, name="half", dtype="mixed_float16")(x)
    y = keras.layers.Dense(1, name="out", dtype="float32", kernel_initializer=keras.initializers.Constant(1e-8))(h)
    keras.Model(x, y).save(folder / "half.keras")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(8, 3)).astype("float32"))
    np.save(folder / "y.npy", np.full((8, 1), 3.0, "float32"))
    return folder / "half.keras"


def test_the_zeros_of_float16_are_counted_and_a_loss_scale_brings_them_back(tfdump: Run, tmp_path: Path) -> None:
    arguments = [half_model(tmp_path), "x.npy", "y.npy", "--loss", "mse"]
    done = tfdump("gradients", *arguments, *EVERYTHING, "-o", "a.h5")
    assert done.returncode == 0
    (note,) = [line for line in done.stderr.splitlines() if "float16" in line]
    assert "half.kernel" in note
    assert "--loss-scale" in note
    with h5py.File(tmp_path / "a.h5") as file:
        kernel = file["gradients/weights/half.kernel"]
        assert (kernel.dtype, kernel.attrs["dtype"]) == (np.float32, "float32")
        assert kernel.attrs["float16_zeros"] == kernel.size == np.count_nonzero(kernel[()] == 0)
        assert "float16_zeros" not in file["gradients/weights/out.kernel"].attrs
        half = file["gradients/activations/half"]
        assert (half.dtype, half.attrs["dtype"], half.attrs["float16_zeros"]) == (np.float16, "float16", half.size)
    scaled = tfdump("gradients", *arguments, "-o", "b.h5", "--loss-scale", "32768")
    assert scaled.returncode == 0
    assert "are zero" not in scaled.stderr
    x, y = np.load(tmp_path / "x.npy").astype("float64"), 3.0
    with h5py.File(tmp_path / "b.h5") as file:
        assert file.attrs["loss_scale"] == 32768
        arrays = file["gradients/weights/half.kernel"]
        assert arrays.attrs["float16_zeros"] == 0
        expected = np.repeat((x.T @ np.full((8, 1), -2 * y / 8 * 1e-8)), 4, axis=1)
        np.testing.assert_allclose(arrays, expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())
        assert file["loss"][()] == pytest.approx(9.0, rel=1e-3)


# --- losses over several batches


def masked_model(folder: Path) -> Path:
    """One number for each token that is not padding."""
    keras.utils.set_random_seed(5)
    x = keras.Input((6,), dtype="int32", name="tokens")
    h = keras.layers.Embedding(9, 3, mask_zero=True, name="embedding")(x)
    y = keras.layers.Dense(1, name="score")(h)
    model = keras.Model(x, y)
    model.compile("sgd", "mse")
    model.save(folder / "masked.keras")
    tokens = np.random.default_rng(0).integers(1, 9, (7, 6)).astype("int32")
    for row, length in enumerate((6, 1, 2, 5, 1, 3, 4)):
        tokens[row, length:] = 0
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "y.npy", np.random.default_rng(1).normal(size=(7, 6, 1)).astype("float32"))
    return folder / "masked.keras"


@pytest.mark.parametrize("size", ["1", "3", "7"])
def test_a_masked_loss_is_divided_as_one_batch_would_be(tfdump: Run, tmp_path: Path, size: str) -> None:
    path = masked_model(tmp_path)
    loss, expected = by_tape(path, np.load(tmp_path / "tokens.npy"), np.load(tmp_path / "y.npy"))
    done = tfdump("gradients", path, "tokens.npy", "y.npy", "-o", "d.h5", "--batch-size", size)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["loss"][()] == pytest.approx(loss, rel=1e-5)
        for item, values in zip(file["gradients/weights"].values(), expected, strict=True):
            np.testing.assert_allclose(item, values, rtol=1e-4, atol=1e-6)


def test_a_fixed_batch_size_pads_the_last_batch_with_what_does_not_count(tfdump: Run, tmp_path: Path) -> None:
    def build(**shape: Any) -> keras.Model:
        x = keras.Input(name="x", **shape)
        return keras.Model(x, keras.layers.Dense(2, name="out")(keras.layers.Dense(3, name="h", activation="tanh")(x)))

    free, fixed = build(shape=(3,)), build(batch_shape=(4, 3))
    fixed.set_weights(free.get_weights())
    free.save(tmp_path / "free.keras")
    fixed.save(tmp_path / "fixed.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(10, 3)).astype("float32"))
    np.save(tmp_path / "y.npy", np.random.default_rng(1).normal(size=(10, 2)).astype("float32"))
    np.save(tmp_path / "w.npy", np.arange(10.0))
    for extra in ([], ["--sample-weight", "w.npy"]):
        for name in ("free", "fixed"):
            arguments = [f"{name}.keras", "x.npy", "y.npy", "--loss", "mse", *EVERYTHING, *extra]
            done = tfdump("gradients", *arguments, "-o", f"{name}.h5", "-f")
            assert done.returncode == 0, done.stderr
            assert ("padded to 4" in done.stderr) == (name == "fixed")
        with h5py.File(tmp_path / "fixed.h5") as a, h5py.File(tmp_path / "free.h5") as b:
            assert a.attrs["batch_size"] == 4
            assert_same_gradients(a, b)


def test_a_loss_that_couples_examples_takes_one_batch_or_is_refused(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    h = keras.layers.Dense(4, name="h", activity_regularizer="l2")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="out")(h))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    inputs = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", np.zeros((6, 1), "float32"))
    loss, expected = by_tape(tmp_path / "m.keras", inputs, np.zeros((6, 1)))
    assert tfdump("gradients", "m.keras", "x.npy", "y.npy", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["batch_size"] == 6
        assert file["loss"][()] == pytest.approx(loss, rel=1e-5)
        for item, values in zip(file["gradients/weights"].values(), expected, strict=True):
            np.testing.assert_allclose(item, values, rtol=1e-4, atol=1e-6)
    done = tfdump("gradients", "m.keras", "x.npy", "y.npy", "-o", "e.h5", "--batch-size", "2")
    assert done.returncode == 2
    assert "couples the examples" in done.stderr
    assert "--batch-size 6" in done.stderr
    assert not (tmp_path / "e.h5").exists()


# --- where models come from


def test_a_legacy_file_compiled_with_mse_and_a_folder(tfdump: Run, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="out", kernel_regularizer="l2")])
    model.compile("sgd", loss="mse")
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "m.keras", "folder"], cwd=tmp_path, check=True)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    np.save(tmp_path / "y.npy", np.random.default_rng(1).normal(size=(5, 2)).astype("float32"))
    arrays = []
    for name, target in (("m.keras", "m.gradients.h5"), ("m.h5", "m.gradients.h5"), ("folder", "folder.gradients.h5")):
        done = tfdump("gradients", name, "x.npy", "y.npy")
        assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
        with h5py.File(tmp_path / target) as file:
            assert file.attrs["loss"] in ("compiled: mse", "compiled: mean_squared_error")
            assert file["loss"].attrs["regularization"] > 0
            arrays.append({name: item[()] for name, item in tensors(file)})
        (tmp_path / target).unlink()
    for other in arrays[1:]:
        np.testing.assert_equal(other, arrays[0])


def test_the_model_file_is_not_touched(tfdump: Run, tmp_path: Path) -> None:
    before = WINE[0].read_bytes()
    assert tfdump("gradients", *WINE, "--steps", "2", "--learning-rate", "0.5", "-o", "d.h5").returncode == 0
    assert WINE[0].read_bytes() == before
