"""Targets that are names of classes."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pandas
import pytest

from support.command import Run

pytestmark = pytest.mark.tensorflow

NAMES = ["dog", "cat", "emu", "cat", "Ant", "dog", "emu"]
INDICES = [2, 1, 3, 1, 0, 2, 3]


def save_model(folder: Path, units: int) -> None:
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((1,), name="age"), keras.Input((1,), name="fare")]
    output = keras.layers.Dense(units, activation="softmax" if units > 1 else "sigmoid", name="kind")(
        keras.layers.Concatenate()(inputs)
    )
    model = keras.Model(inputs, output)
    model.layers[-1].set_weights([np.random.default_rng(1).standard_normal(w.shape) for w in model.get_weights()])
    model.compile(loss="sparse_categorical_crossentropy")
    model.save(folder / "model.keras")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two inputs by name, and a table of its inputs and targets."""
    save_model(tmp_path, 4)
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({"age": rng.random(7), "kind": NAMES, "fare": rng.random(7), "number": INDICES})
    table.to_csv(tmp_path / "data.csv", index=False)
    table.to_parquet(tmp_path / "data.parquet", index=False)
    np.save(tmp_path / "kinds.npy", np.array(NAMES))
    (tmp_path / "kinds.txt").write_text("\n".join(NAMES))
    return tmp_path


def gradients(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file["gradients"].visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


@pytest.mark.parametrize("targets", ["data.csv::kind", "data.parquet::kind", "kinds.npy", "kinds.txt", "data.csv"])
def test_names_are_class_indices_in_sorted_order(folder: Path, tfdump: Run, targets: str) -> None:
    ended = tfdump("gradients", folder / "model.keras", folder / "data.csv", "--targets", folder / targets)
    assert ended.returncode == 0, ended.stderr
    assert "'Ant' is 0, 'cat' is 1, 'dog' is 2, 'emu' is 3" in ended.stderr
    dump = folder / ended.stdout.strip()
    with h5py.File(dump) as file:
        assert file["examples/label"][()].tolist() == INDICES
        assert file["examples/classes"].asstr()[()].tolist() == ["Ant", "cat", "dog", "emu"]
        assert file["examples/id"].asstr()[()].tolist() == [f"data.csv:{line}" for line in range(2, 9)]
    numbers = folder / "numbers.h5"
    ended = tfdump("gradients", folder / "model.keras", folder / "data.csv", folder / "data.csv::number", "-o", numbers)
    assert ended.returncode == 0, ended.stderr
    expected, found = gradients(numbers), gradients(dump)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_array_equal(found[name], gradient, err_msg=name)


def test_labels_follow_the_examples_that_are_read(folder: Path, tfdump: Run) -> None:
    arguments = [folder / "model.keras", folder / "data.csv", folder / "data.csv::kind", "--examples", "2:4"]
    ended = tfdump("gradients", *arguments)
    assert ended.returncode == 0, ended.stderr
    with h5py.File(folder / ended.stdout.strip()) as file:
        assert file["examples/label"][()].tolist() == [3, 1]
        assert file["examples/classes"].asstr()[()].tolist() == ["Ant", "cat", "dog", "emu"]
        assert file["examples/id"].asstr()[()].tolist() == ["data.csv:4", "data.csv:5"]


@pytest.mark.parametrize(
    ("units", "loss", "message"),
    [
        (1, "mse", "holds names of 4 classes, and the loss 'mse' takes no class indices"),
        (
            1,
            "binary_crossentropy",
            "holds names of 4 classes, and the loss 'binary_crossentropy' takes no class indices",
        ),
        (4, "categorical_crossentropy", "class indices? use --loss sparse_categorical_crossentropy"),
    ],
)
def test_other_losses_take_no_names(folder: Path, tfdump: Run, units: int, loss: str, message: str) -> None:
    save_model(folder, units)
    (folder / "kinds.csv").write_text("kind\n" + "\n".join(NAMES) + "\n")
    ended = tfdump("gradients", folder / "model.keras", folder / "data.csv", folder / "kinds.csv", "--loss", loss)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert ended.stderr.count("\nError:") + ended.stderr.startswith("Error:") == 1


def test_one_name_per_example(folder: Path, tfdump: Run) -> None:
    np.save(folder / "pairs.npy", np.array([["a", "b"]] * 7))
    ended = tfdump("gradients", folder / "model.keras", folder / "data.csv", folder / "pairs.npy")
    assert ended.returncode == 2
    assert "pairs.npy has shape (7, 2), and names of classes are one per example" in ended.stderr


def test_two_classes_are_0_and_1(folder: Path, tfdump: Run) -> None:
    save_model(folder, 1)
    names = ["no", "yes", "yes", "no", "no", "yes", "no"]
    (folder / "kinds.tsv").write_text("kind\n" + "\n".join(names) + "\n")
    np.save(folder / "numbers.npy", [[int(name == "yes")] for name in names])
    found = []
    for targets in ("kinds.tsv::kind", "numbers.npy"):
        arguments = ["--targets", folder / targets, "--loss", "binary_crossentropy", "-o", folder / f"{targets}.h5"]
        ended = tfdump("gradients", folder / "model.keras", folder / "data.csv", *arguments)
        assert ended.returncode == 0, ended.stderr
        found.append(gradients(folder / ended.stdout.strip()))
    for name, gradient in found[1].items():
        np.testing.assert_array_equal(found[0][name], gradient, err_msg=name)
