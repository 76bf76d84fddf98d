"""`tfdump gradients --per-example`: each example's own gradient, against a loop of tapes over batches of one."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from support.command import SAMPLES, Run
from support.gradient_dumps import Datasets, Gradients, gradients_by

pytestmark = pytest.mark.tensorflow

WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy", SAMPLES / "wine_labels.npy")
DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", SAMPLES / "digits_labels.npy")
TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz", SAMPLES / "text_labels.npy")
SIAMESE = (SAMPLES / "siamese.keras", SAMPLES / "pairs.npz", SAMPLES / "pairs_labels.npy")
EVERYTHING = ("--wrt", "weights", "--wrt", "activations", "--wrt", "inputs")


@pytest.fixture
def gradients(tfdump: Run, tmp_path: Path) -> Gradients:
    """Run the command with --per-example, and return the loss and the gradients by their path below /gradients."""
    run = gradients_by(tfdump, tmp_path)
    return lambda *arguments: {
        name.removeprefix("gradients/"): values for name, values in run(*arguments, "--per-example").items()
    }


def one_by_one(path: Path, inputs: list[Any], targets: np.ndarray, loss_of: Any) -> tuple[list[float], list[Datasets]]:
    """The losses and the weights' gradients of each example alone, by `layer.variable`."""
    model = keras.models.load_model(path, compile=False)
    named = {weight.path: weight.value for weight in model.trainable_weights}
    losses, arrays = [], []
    for x, y in zip(inputs, targets, strict=True):
        with tf.GradientTape() as tape:
            loss = loss_of(y[None], model(x))
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, list(named.values()))]
        losses.append(float(loss))
        arrays.append({name: np.asarray(gradient) for name, gradient in zip(named, gradients, strict=True)})
    return losses, arrays


CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy()


def assert_same(arrays_of_run: Datasets, losses: list[float], expected: list[Datasets], rtol: float = 1e-3) -> None:
    """The weights of the dump, in the order of the model's own, are the stacked gradients of the examples."""
    np.testing.assert_allclose(arrays_of_run["loss"], losses, rtol=1e-4, atol=1e-6)
    weights = {name: values for name, values in arrays_of_run.items() if name.startswith("weights/")}
    assert len(weights) == len(expected[0])
    for (name, values), path in zip(weights.items(), expected[0], strict=True):
        stacked = np.stack([each[path] for each in expected])
        assert values.shape == stacked.shape, name
        np.testing.assert_allclose(values, stacked, rtol=rtol, atol=1e-5 * np.abs(stacked).max() + 1e-9, err_msg=name)


@pytest.mark.parametrize("more", [[], ["--eager"]])
def test_the_shape_of_a_row_an_example_is_open(gradients: Gradients, tmp_path: Path, more: list[str]) -> None:
    """As without --per-example, though the model runs on batches of one."""
    gradients(*WINE, *EVERYTHING, "--examples", ":5", *more)
    with h5py.File(tmp_path / "d.h5") as file:
        shapes = {name: list(item.attrs["shape"]) for g in file["gradients"].values() for name, item in g.items()}
    assert shapes["analysis"] == shapes["normalize"] == [-1, 13]
    assert (shapes["hidden"], shapes["predictions"]) == ([-1, 16], [-1, 3])
    assert (shapes["hidden.kernel"], shapes["hidden.bias"]) == ([13, 16], [16])


@pytest.mark.parametrize("size", ["1", "4", "auto"])
def test_dense_layers(gradients: Gradients, tmp_path: Path, size: str) -> None:
    x, y = np.load(WINE[1])[:7], np.load(WINE[2])[:7]
    losses, expected = one_by_one(WINE[0], [row[None] for row in x], y, CROSSENTROPY)
    arrays = gradients(*WINE, "--examples", ":7", "--batch-size", size)
    assert_same(arrays, losses, expected)
    with h5py.File(tmp_path / "d.h5") as file:
        root = dict(file.attrs)
        assert (bool(root["per_example"]), root["examples"], root["reduction"]) == (True, 7, "mean")
        assert root["batch_size"] == (7 if size == "auto" else int(size))
        assert "gradient_norm" not in root
        assert file["loss"].attrs["axis0"] == "example"
        assert "regularization" not in file["loss"].attrs
        for name, item in file["gradients/weights"].items():
            assert (item.attrs["axis0"], item.attrs["address"]) == ("example", name)
            assert list(item.attrs["shape"]) == list(item.shape[1:])
            assert item.attrs["norm"] == pytest.approx(np.linalg.norm(item[()].astype("f8")), rel=1e-6)


def test_the_mean_of_the_rows_and_the_regularization_is_the_gradient(
    gradients: Gradients, tfdump: Run, tmp_path: Path
) -> None:
    arrays = gradients(*WINE)
    assert tfdump("gradients", *WINE, "-o", "whole.h5").returncode == 0
    kernel = keras.models.load_model(WINE[0], compile=False).get_layer("hidden").kernel.numpy()
    with h5py.File(tmp_path / "whole.h5") as file:
        for name, item in file["gradients/weights"].items():
            own = 0.02 * kernel if name == "hidden.kernel" else 0
            mean = arrays[f"weights/{name}"].mean(0, dtype="float64") + own
            np.testing.assert_allclose(mean, item, rtol=1e-3, atol=1e-6, err_msg=name)
        loss = file["loss"]
        assert arrays["loss"].mean() + loss.attrs["regularization"] == pytest.approx(loss[()], rel=1e-5)


def test_convolutions_and_batch_statistics_at_rest(gradients: Gradients) -> None:
    x, y = np.load(DIGITS[1])[:5], np.load(DIGITS[2])[:5]
    losses, expected = one_by_one(DIGITS[0], [row[None] for row in x], y, CROSSENTROPY)
    assert_same(gradients(*DIGITS, "--examples", ":5", "--batch-size", "3"), losses, expected)


def test_two_inputs_and_a_layer_that_is_called_twice(gradients: Gradients) -> None:
    pairs, y = np.load(SIAMESE[1]), np.load(SIAMESE[2])[:4]
    inputs = [{key: pairs[key][n : n + 1] for key in ("left", "right")} for n in range(4)]
    binary = keras.losses.BinaryCrossentropy()
    losses, expected = one_by_one(SIAMESE[0], inputs, y[:, None], binary)
    assert_same(gradients(*SIAMESE, "--examples", ":4"), losses, expected)


def test_tables_masks_loops_and_attention(gradients: Gradients) -> None:
    data, y = np.load(TEXT[1]), np.load(TEXT[2])[:5]
    splits = data["tokens.row_splits"]
    inputs = [data["tokens.values"][splits[n] : splits[n + 1]][None] for n in range(5)]
    losses, expected = one_by_one(TEXT[0], inputs, y, CROSSENTROPY)
    arrays = gradients(*TEXT, "--examples", ":5", "--batch-size", "2")
    assert arrays["weights/embedding.embeddings"].shape == (5, 879, 16)
    assert_same(arrays, losses, expected)


def test_rows_of_activations_and_inputs_are_of_the_examples_own_loss(
    gradients: Gradients, tfdump: Run, tmp_path: Path
) -> None:
    """Which is what --reduction sum gives, because one example's loss does not depend on the others."""
    arrays = gradients(*WINE, *EVERYTHING)
    assert tfdump("gradients", *WINE, *EVERYTHING, "--reduction", "sum", "-o", "sum.h5").returncode == 0
    with h5py.File(tmp_path / "sum.h5") as file:
        for name in ("activations/normalize", "activations/hidden", "inputs/analysis"):
            np.testing.assert_allclose(arrays[name], file["gradients"][name], rtol=1e-4, atol=1e-6, err_msg=name)
        assert arrays["activations/predictions"].size == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert bool(file["gradients/activations/predictions"].attrs["connected"]) is False


def test_objectives_and_sums(gradients: Gradients) -> None:
    model = keras.models.load_model(WINE[0], compile=False)
    x = np.load(WINE[1])
    arrays = gradients(*WINE[:2], "--objective", "predictions[2]", "-l", "hidden.kernel")
    assert list(arrays) == ["weights/hidden.kernel", "loss"]
    np.testing.assert_allclose(arrays["loss"], np.asarray(model(x))[:, 2], rtol=1e-4, atol=1e-7)
    whole = gradients(*WINE, "--reduction", "sum", "-l", "*.bias", "--examples", ":3")
    mean = gradients(*WINE, "-l", "*.bias", "--examples", ":3")
    for name, values in mean.items():  # one number an example: its sum is its mean
        np.testing.assert_allclose(whole[name], values, rtol=1e-5)


def test_sample_weights_multiply(gradients: Gradients, tmp_path: Path) -> None:
    weights = np.linspace(0, 3, 59)
    np.save(tmp_path / "w.npy", weights)
    plain, weighted = gradients(*WINE), gradients(*WINE, "--sample-weight", "w.npy")
    for name, values in plain.items():
        by = weights.reshape(-1, *[1] * (values.ndim - 1))
        np.testing.assert_allclose(weighted[name], values * by, rtol=1e-4, atol=1e-6, err_msg=name)


def test_norms_statistics_and_stored_dtypes(gradients: Gradients, tmp_path: Path) -> None:
    whole = gradients(*WINE, "--examples", ":9")
    norms = gradients(*WINE, "--examples", ":9", "--norms-only", "--batch-size", "4")
    for name, values in whole.items():
        if name != "loss":
            expected = np.linalg.norm(values.reshape(9, -1).astype("f8"), axis=1)
            np.testing.assert_allclose(norms[name], expected, rtol=1e-3, atol=1e-7)
    half = gradients(*WINE, "--examples", ":9", "--dtype", "float16", "--stats", "--compression", "gzip")
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/weights/hidden.kernel"]
        assert (item.dtype, item.attrs["stored_as"], item.attrs["dtype"]) == (np.float16, "float16", "float32")
        assert item.attrs["stat_count"] == item.size
    np.testing.assert_allclose(half["weights/hidden.kernel"], whole["weights/hidden.kernel"], rtol=1e-2, atol=1e-3)


def test_a_dry_run_foretells_the_file(tfdump: Run, tmp_path: Path) -> None:
    options = [*WINE, "--per-example", *EVERYTHING]
    rows = [line.split("\t") for line in tfdump("gradients", *options, "--dry-run").stdout.splitlines()]
    assert list(tmp_path.iterdir()) == []
    assert tfdump("gradients", *options, "-o", "d.h5").returncode == 0
    assert int(rows[-1][-1]) == pytest.approx((tmp_path / "d.h5").stat().st_size, rel=0.25)
    assert rows[1] == ["gradients/weights/hidden.kernel", "(?, 13, 16)", "float32", "example", str(59 * 13 * 16 * 4)]
    with h5py.File(tmp_path / "d.h5") as file:
        for name, shape, *_, size in rows[1:-2]:
            assert int(size) == file[name].size * 4
            sizes = ["?", *map(str, file[name].shape[1:])]
            assert shape == f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def test_eager_gives_what_the_graph_gives(gradients: Gradients) -> None:
    options = [*WINE, *EVERYTHING, "--examples", ":5"]
    graph, eager = gradients(*options), gradients(*options, "--eager", "--batch-size", "2")
    assert list(graph) == list(eager)
    for name, values in graph.items():
        np.testing.assert_allclose(eager[name], values, rtol=1e-4, atol=1e-7, err_msg=name)


def test_the_same_bytes_twice_and_from_the_recorded_command(tfdump: Run, tmp_path: Path) -> None:
    options = [*WINE, "--per-example", "--training", "--seed", "4", "--examples", ":11"]
    for name in ("one.h5", "two.h5"):
        assert tfdump("gradients", *options, "-o", name).returncode == 0
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        assert "--per-example" in file.attrs["command"]


def test_a_nan_example_spoils_no_other(gradients: Gradients, tfdump: Run, tmp_path: Path) -> None:
    x = np.load(WINE[1])
    x[3] = np.nan
    np.save(tmp_path / "x.npy", x)
    arrays = gradients(WINE[0], "x.npy", WINE[2])
    assert list(np.flatnonzero(np.isnan(arrays["loss"]))) == [3]
    assert list(np.flatnonzero(np.isnan(arrays["weights/hidden.bias"]).any(1))) == [3]
    done = tfdump("gradients", WINE[0], "x.npy", WINE[2], "--per-example", "-o", "e.h5")
    assert "not finite (nan, first at example 3)" in done.stderr


def test_bad_targets_and_fixed_batches_are_refused(tfdump: Run, tmp_path: Path) -> None:
    labels = np.load(WINE[2])
    labels[50] = 3
    np.save(tmp_path / "y.npy", labels)
    done = tfdump("gradients", *WINE[:2], "y.npy", "--per-example")
    assert done.returncode == 2
    assert "class 3 in row 50" in done.stderr
    x = keras.Input(batch_shape=(4, 3), name="x")
    keras.Model(x, keras.layers.Dense(2, name="out")(x)).save(tmp_path / "fixed.keras")
    np.save(tmp_path / "x.npy", np.ones((8, 3), "float32"))
    done = tfdump("gradients", "fixed.keras", "x.npy", "--objective", "sum", "--per-example")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --per-example: the model has a fixed batch size of 4")
    assert not list(tmp_path.glob("*.h5"))
