"""Every mistake with `tfdump gradients` ends in one line that says how to mend it, in status 2, and in no file."""

import json
import os
import resource
import runpy
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from support.command import SAMPLES, Ended, Run
from support.forked import forked_python
from support.signalled import start_command
from support.small_disks import small_disk_or_skip

pytestmark = pytest.mark.tensorflow

WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy", SAMPLES / "wine_labels.npy")
SIAMESE = (SAMPLES / "siamese.keras", SAMPLES / "pairs.npz", SAMPLES / "pairs_labels.npy")
TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz", SAMPLES / "text_labels.npy")
DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", SAMPLES / "digits_labels.npy")


def assert_refused(done: Ended, folder: Path, *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("Error: ")
    assert "a bug in tfdump" not in errors[0]
    for word in words:
        assert word in errors[0], errors[0]
    assert not list(folder.glob("*.partial"))
    assert not list(folder.glob("*.gradients.h5"))


def saved(folder: Path, array: Any, name: str = "y.npy") -> str:
    np.save(folder / name, array)
    return name


def plain_model(folder: Path, name: str = "m.keras", compiled: Any = None, trainable: bool = True) -> str:
    """Three numbers to two, with its input x.npy and targets y.npy of 5 examples."""
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="out", trainable=trainable)(x))
    if compiled is not None:
        model.compile("sgd", compiled)
    model.save(folder / name)
    np.save(folder / "x.npy", np.ones((5, 3), "float32"))
    np.save(folder / "y.npy", np.zeros((5, 2), "float32"))
    return name


def two_outputs(folder: Path) -> str:
    x = keras.Input((3,), name="x")
    outputs = {"price": keras.layers.Dense(2, name="p")(x), "kind": keras.layers.Dense(4, name="k")(x)}
    keras.Model(x, outputs).save(folder / "two.keras")
    np.save(folder / "x.npy", np.ones((5, 3), "float32"))
    np.save(folder / "price.npy", np.zeros((5, 2), "float32"))
    np.save(folder / "kind.npy", np.zeros(5, "int64"))
    return "two.keras"


# --- what to differentiate


def test_neither_a_loss_nor_an_objective(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path)
    for arguments in (["x.npy"], ["x.npy", "y.npy"]):
        done = tfdump("gradients", "m.keras", *arguments)
        assert_refused(done, tmp_path, "saved without a loss", "--loss NAME", "--loss mse", "--objective")
    done = tfdump("gradients", "m.keras", "x.npy", "y.npy", "--loss", "compiled")
    assert_refused(done, tmp_path, "--loss compiled", "without a loss")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--loss", "mean_square_error"], ("--loss mean_square_error", "no such loss", "near: ", "mean_squared_error")),
        (["--loss", ""], ("'' names no loss", "--loss mse")),
        (["--loss", "=mse"], ("'=mse'", "no output before '='", "--loss mse")),
        (["--loss", "predictions="], ("names no loss", "--loss predictions=mse")),
        (["--loss", "predictions=compiled"], ("predictions=compiled", "use --loss compiled alone")),
        (["--loss", "crossentropy"], ("use --loss binary_crossentropy", "sparse_categorical_crossentropy")),
        (["--loss", "scce"], ("no such loss", "near: 'sparse_categorical_crossentropy' (")),
        (["--loss", "Loss"], ("no such loss",)),
        (["--loss", "serialize"], ("no such loss",)),
        (["--loss", "mse", "--loss", "mae"], ("--loss mae", "already has a loss")),
        (["--loss", "mse", "--loss", "predictions=mae"], ("all outputs",)),
        (["--loss", "mse", "--loss", "compiled"], ("--loss compiled cannot be combined with other losses",)),
        (["--loss", "predicions=mse"], ("'predicions'", "near: 'predictions'")),
        (["--loss", "mse", "--from-logits"], ("--from-logits", "'mse'", "no such option")),
        (["--from-logits"], ("--from-logits", "--loss NAME")),
        (["--loss", "mse", "--objective", "sum"], ("--loss and --objective", "exclude")),
        (["--objective", "median"], ("median", "'predictions'")),
        (["--objective", "predictions[7]"], ("predictions[7]", "(3,)")),
        (["--objective", "predictions[0,0]"], ("predictions[0,0]", "(3,)")),
        (["--objective", "predictions[x]"], ("predictions[x]", "OUTPUT[INDEX]")),
        (["--objective", "predictons[1]"], ("near: 'predictions'",)),
        (["--objective", ""], ("--objective",)),
        (["--loss-scale", "0"], ("--loss-scale",)),
        (["--loss-scale", "nan"], ("--loss-scale",)),
        (["--loss-scale", "-1"], ("--loss-scale",)),
        (["--reduction", "max"], ("--reduction", "'max'")),
        (["--wrt", "biases"], ("--wrt", "'biases'", "weights", "activations", "inputs")),
        (["--norms-only", "--sparse"], ("--norms-only", "--sparse")),
        (["--norms-only", "--stats-only"], ("--norms-only", "--stats-only stores none")),
        (["--sparse", "--stats-only"], ("--sparse", "--stats-only stores none")),
        (["--sparse", "--wrt", "inputs"], ("--sparse", "--wrt weights")),
        (["--dtype", "float16", "--stats-only"], ("--dtype float16", "--stats-only stores none")),
        (["--compression", "gzip", "--stats-only"], ("--compression gzip", "--stats-only stores none")),
        (["--batch-size", "0"], ("--batch-size '0'",)),
        (["--no-such-option"], ("--no-such-option",)),
        (["--examples", "900:"], ("none of the 59 examples",)),
    ],
)
def test_options_that_make_no_sense(tfdump: Run, tmp_path: Path, options: list[str], words: tuple[str, ...]) -> None:
    inputs = WINE[1:2] if "--objective" in options and "--loss" not in options else WINE[1:]
    assert_refused(tfdump("gradients", WINE[0], *inputs, *options), tmp_path, *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "3"], ("--steps", "--learning-rate")),
        (["--steps", "0", "--learning-rate", "1"], ("--steps",)),
        (["--steps", "3", "--learning-rate", "nan"], ("--learning-rate", "nan")),
        (["--steps", "3", "--learning-rate", "inf"], ("--learning-rate", "inf")),
        (["--steps", "3", "--learning-rate", "-0.1"], ("--learning-rate", "-0.1")),
        (["--steps", "3", "--learning-rate", "0"], ("--learning-rate",)),
        (["--learning-rate", "0.1"], ("--learning-rate", "--steps")),
        (["--optimizer", "Adam"], ("--optimizer", "--steps")),
        (["--save-weights"], ("--save-weights", "--steps")),
        (["--steps", "3", "--learning-rate", "1", "--optimizer", "Adams"], ("--optimizer Adams", "near: ", "'Adam'")),
        (["--steps", "3", "--learning-rate", "1", "--optimizer", "Optimizer"], ("--optimizer Optimizer",)),
        (["--steps", "3", "--learning-rate", "1", "--optimizer", "LossScaleOptimizer"], ("--optimizer",)),
        (["--steps", "3", "--learning-rate", "1", "--wrt", "inputs"], ("--steps", "--wrt weights")),
        (["--steps", "3", "--learning-rate", "1", "--sparse"], ("--sparse", "--steps")),
        (["--steps", "3", "--learning-rate", "1", "--per-example"], ("--per-example", "--steps")),
        (["--per-example", "--sparse"], ("--per-example", "--sparse")),
        (["--steps", "3", "--learning-rate", "1", "--optimizer", ""], ("--optimizer ''", "no such optimizer")),
    ],
)
def test_descents_that_make_no_sense(tfdump: Run, tmp_path: Path, options: list[str], words: tuple[str, ...]) -> None:
    assert_refused(tfdump("gradients", *WINE, *options), tmp_path, *words)


def test_a_dry_run_refuses_what_the_run_refuses(tfdump: Run, tmp_path: Path) -> None:
    options = ["--steps", "3", "--learning-rate", "1", "--optimizer", "Adams", "--dry-run"]
    assert_refused(tfdump("gradients", *WINE, *options), tmp_path, "--optimizer Adams")


def test_examples_mixed_by_batch_statistics_have_no_gradient_of_their_own(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *DIGITS, "--per-example", "--training")
    assert_refused(done, tmp_path, "--per-example with --training", "'bn1'")


def test_weights_that_cannot_be_trained(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path, trainable=False)
    done = tfdump("gradients", "m.keras", "x.npy", "--objective", "sum")
    assert_refused(done, tmp_path, "no trainable weights", "--wrt inputs")
    done = tfdump("gradients", "m.keras", "x.npy", "--objective", "sum", "--steps", "2", "--learning-rate", "1")
    assert_refused(done, tmp_path, "no trainable weights")
    done = tfdump("gradients", "m.keras", "x.npy", "--objective", "sum", "--wrt", "inputs", "-o", "d.h5")
    assert done.returncode == 0, done.stderr


def test_selections_without_weights(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("gradients", *DIGITS, "-l", "pool"), tmp_path, "no trainable weights", "--wrt activations")
    assert_refused(tfdump("gradients", *WINE, "-l", "hiden"), tmp_path, "'hiden'", "near: ", "'hidden'")
    assert_refused(tfdump("gradients", *WINE, "-l", "hidden.kernle"), tmp_path, "near: 'hidden.kernel'")
    assert_refused(tfdump("gradients", *WINE, "-x", "nothing"), tmp_path, "'nothing'")
    assert_refused(tfdump("gradients", *WINE, "-l", "hidden", "-x", "hidden*"), tmp_path)
    assert_refused(tfdump("gradients", *WINE, "-l", "normalize.mean"), tmp_path, "normalize.mean", "not trainable")
    assert_refused(tfdump("gradients", *WINE, "-l", "re:("), tmp_path, "not a regular expression")
    assert_refused(tfdump("gradients", *WINE, "-l", "type:Conv2D"), tmp_path, "'Conv2D'")


def test_a_selection_of_inputs_alone_holds_one(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *WINE, "--wrt", "inputs", "-l", "hidden")
    assert_refused(done, tmp_path, "the selection holds no input", "-l analysis")
    assert_refused(tfdump("gradients", *WINE, "--wrt", "inputs", "-l", "analysys"), tmp_path, "near: 'analysis'")
    assert_refused(tfdump("gradients", *WINE, "--wrt", "inputs", "-x", "analysis"), tmp_path, "holds no input")


def test_integer_inputs_alone_have_no_gradient(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("gradients", *TEXT, "--wrt", "inputs"), tmp_path, "tokens", "int32", "no gradient")


# --- which files are what


def test_targets_are_missing(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *WINE[:2])
    read = f"{WINE[1]} is read as the input 'analysis'"
    assert_refused(done, tmp_path, "the targets are missing", read, "--targets FILE", "--objective")
    read = f"{SIAMESE[1]} is read as the inputs 'left', 'right'"
    assert_refused(tfdump("gradients", *SIAMESE[:2]), tmp_path, "the targets are missing", read)
    twice = [SAMPLES / "twice.keras", DIGITS[1], "--import", SAMPLES / "twice.py"]
    assert_refused(tfdump("gradients", *twice), tmp_path, "the targets are missing")


def test_any_other_number_of_files_shows_both_readings(tfdump: Run, tmp_path: Path) -> None:
    d, y = DIGITS[1], SIAMESE[2]
    assert_refused(tfdump("gradients", SIAMESE[0], d), tmp_path, "neither reading fits", "'left', 'right'", "--targets")
    done = tfdump("gradients", SIAMESE[0], d, d, y, y)
    assert_refused(
        done, tmp_path, "takes 2 inputs", f"all files as inputs ({d} {d} {y} {y})", f"{d} {d} {y} as inputs with"
    )
    assert_refused(tfdump("gradients", *WINE, WINE[2]), tmp_path, "takes 1 input ('analysis')", "neither reading fits")


def test_targets_that_nobody_takes(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("gradients", *WINE, "--objective", "sum")
    assert_refused(done, tmp_path, "takes 1 input", "2 arrays", "an objective needs no targets")
    done = tfdump("gradients", *WINE[:2], "--targets", WINE[2], "--objective", "sum")
    assert_refused(done, tmp_path, "needs no targets", "--targets")
    done = tfdump("gradients", *WINE, "--targets", WINE[2])
    assert_refused(done, tmp_path, "takes 1 input", "2 arrays", "--targets is given, so all files are inputs")
    np.savez(tmp_path / "many.npz", a=np.zeros(59), b=np.zeros(59))
    done = tfdump("gradients", *WINE[:2], "--targets", "many.npz")
    assert_refused(done, tmp_path, "'a', 'b' is a target of the model")
    done = tfdump("gradients", *WINE[:2], "--sample-weight", WINE[2], "--objective", "sum")
    assert_refused(done, tmp_path, "--sample-weight")


def test_an_input_that_is_named_is_no_target(tfdump: Run, tmp_path: Path) -> None:
    x = WINE[1]
    done = tfdump("gradients", *WINE[:2], f"analysis={x}")
    assert_refused(done, tmp_path, "the targets are missing", f"analysis={x} are read as the input 'analysis'")
    (tmp_path / "own_adder.py").write_text(
        "import keras\n@keras.saving.register_keras_serializable('adder')\nclass Adder(keras.Model):\n"
        "    def call(self, a, b):\n        return a + b\n"
    )
    adder = runpy.run_path(str(tmp_path / "own_adder.py"))["Adder"]()
    adder.save(tmp_path / "adder.keras")
    base = ["gradients", "adder.keras", "--import", "own_adder.py", "--loss", "mse", "--wrt", "inputs"]
    done = tfdump(*base, x, f"b={x}")
    assert_refused(done, tmp_path, "the targets are missing", f"{x} b={x} are read as the inputs")
    assert tfdump(*base, x, f"b={x}", x, "-o", "d.h5").returncode == 0


def test_outputs_that_do_not_exist(tfdump: Run, tmp_path: Path) -> None:
    model = two_outputs(tmp_path)
    base = ["gradients", model, "x.npy"]
    done = tfdump(*base, "--loss", "prize=mse", "--targets", "price.npy")
    assert_refused(done, tmp_path, "no output 'prize'", "near: 'price'", "its outputs: ")
    done = tfdump(*base, "--loss", "price=mse", "--targets", "prize=price.npy")
    assert_refused(done, tmp_path, "'prize'", "near: 'price'")
    weight = saved(tmp_path, np.ones(5), "w.npy")
    done = tfdump(*base, "price.npy", "--loss", "price=mse", "--sample-weight", f"prize={weight}")
    assert_refused(done, tmp_path, "'prize'", "near: 'price'")
    done = tfdump(*base, "--loss", "price=mse", "--targets", "price=price.npy", "--targets", "kind=kind.npy")
    assert_refused(done, tmp_path, "'kind'")
    done = tfdump(*base, "--loss", "price=mse", "--targets", "price=price.npy", "--targets", "price=price.npy")
    assert_refused(done, tmp_path, "'price' is given twice")
    assert_refused(tfdump(*base, "price.npy", "--loss", "mse"), tmp_path, "2 targets", "'price'", "'kind'", "1 array")
    done = tfdump(*base, "--objective", "kinds[0]")
    assert_refused(done, tmp_path, "no output 'kinds'", "near: 'kind'")


def test_standard_input_feeds_one_array(tfdump: Run, tmp_path: Path) -> None:
    x = WINE[1].read_bytes()
    assert_refused(
        tfdump("gradients", WINE[0], "-", "-", stdin=x), tmp_path, "standard input can be only one of the inputs"
    )
    done = tfdump("gradients", WINE[0], "-", "--targets", "-", stdin=x)
    assert_refused(done, tmp_path, "standard input can be only one of the inputs")
    done = tfdump("gradients", *WINE, "--sample-weight", "-", stdin=b"hello")
    assert_refused(done, tmp_path, "standard input")


# --- targets that do not fit


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (np.zeros(58, "int64"), ("different numbers of examples", "59", "58")),
        (np.zeros(60, "int64"), ("different numbers of examples",)),
        (np.zeros(0, "int64"), ("different numbers of examples",)),
        (np.eye(3)[np.zeros(59, int)], ("3)", "class indices", "--loss categorical_crossentropy", "one-hot")),
        (np.zeros((59, 2), "int64"), ("2", "class indices")),
        (np.zeros((59, 1, 1), "int64"), ("class indices",)),
        (np.append(np.zeros(58), 3).astype("int64"), ("class 3 in row 58", "3 classes, numbered 0 to 2")),
        (np.append(np.zeros(58), -1).astype("int64"), ("class -1 in row 58", "out of range")),
        (np.append(np.zeros(58), 1.5), ("class 1.5 in row 58",)),
        (np.append(np.zeros(58), np.nan), ("class nan in row 58",)),
        (np.append(np.zeros(58), 2**40).astype("int64"), ("class 1099511627776",)),
        (np.append(np.zeros(58), 255).astype("uint8"), ("class 255",)),
        (np.array([f"c{n % 4}" for n in range(59)]), ("class 3 in row 3", "3 classes, numbered 0 to 2")),
        (np.full(59, 1j), ("complex", "a target is a number")),
        (np.array(1), ("single number",)),
        (np.array([{}] * 59, dtype=object), ("pickle",)),
    ],
)
def test_class_indices_that_do_not_fit(
    tfdump: Run, tmp_path: Path, targets: np.ndarray, words: tuple[str, ...]
) -> None:
    y = saved(tmp_path, targets)
    assert_refused(tfdump("gradients", *WINE[:2], y), tmp_path, "y.npy", *words)


def test_the_row_of_a_bad_class_is_that_of_the_file(tfdump: Run, tmp_path: Path) -> None:
    y = np.load(WINE[2])
    y[41] = 9
    done = tfdump("gradients", *WINE[:2], saved(tmp_path, y), "--examples", "30:50", "--batch-size", "4")
    assert_refused(done, tmp_path, "class 9 in row 41")
    assert tfdump("gradients", *WINE[:2], "y.npy", "--examples", ":41", "-o", "d.h5").returncode == 0


def test_shapes_that_do_not_fit_the_output(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path)
    base = ["gradients", "m.keras", "x.npy"]
    wide = saved(tmp_path, np.zeros((5, 3), "float32"), "wide.npy")
    done = tfdump(*base, wide, "--loss", "mse")
    assert_refused(done, tmp_path, "wide.npy", "(?, 3)", "'out' (?, 2)", "shape of the output")
    flat = saved(tmp_path, np.zeros(5, "float32"), "flat.npy")
    assert_refused(tfdump(*base, flat, "--loss", "mse"), tmp_path, "flat.npy", "(?, 2)")
    index = saved(tmp_path, np.zeros(5, "int64"), "index.npy")
    done = tfdump(*base, index, "--loss", "categorical_crossentropy")
    assert_refused(done, tmp_path, "sparse_categorical_crossentropy", "one-hot")
    done = tfdump(*base, index, "--loss", "sparse_categorical_crossentropy", "--sample-weight", wide)
    assert_refused(done, tmp_path, "--sample-weight", "(?, 3)")
    short = saved(tmp_path, np.ones(4), "short.npy")
    done = tfdump(*base, "y.npy", "--loss", "mse", "--sample-weight", short)
    assert_refused(done, tmp_path, "different numbers of examples", "short.npy", "4")
    text = saved(tmp_path, np.full(5, "heavy"), "text.npy")
    done = tfdump(*base, "y.npy", "--loss", "mse", "--sample-weight", text)
    assert_refused(done, tmp_path, "text.npy", "holds text", "number")


def test_one_number_a_row_fits_an_output_of_one(tfdump: Run, tmp_path: Path) -> None:
    """(examples,) against (examples, 1) is not broadcast to (examples, examples)."""
    x = keras.Input((3,), name="x")
    keras.Model(x, keras.layers.Dense(1, name="out", kernel_initializer="ones")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.arange(12, dtype="float32").reshape(4, 3))
    y = saved(tmp_path, np.arange(4.0))
    assert tfdump("gradients", "m.keras", "x.npy", y, "--loss", "mse", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        expected = np.mean((np.arange(12).reshape(4, 3).sum(1) - np.arange(4)) ** 2)
        assert file["loss"][()] == pytest.approx(expected)


def test_nan_in_targets_is_dumped_with_a_warning(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path)
    y = np.zeros((5, 2), "float32")
    y[3, 1] = np.nan
    done = tfdump("gradients", "m.keras", "x.npy", saved(tmp_path, y), "--loss", "mse", "-o", "d.h5")
    assert (done.returncode, done.stdout) == (0, "d.h5\n")
    assert "not finite" in done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("Note: "), line


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_infinite_gradients_leave_notes_alone_on_stderr(tfdump: Run, tmp_path: Path) -> None:
    """Infinities of both signs in several batches: no warning of NumPy may come through."""
    plain_model(tmp_path)
    y = np.zeros((5, 2), "float32")
    y[0], y[4] = np.inf, -np.inf
    arguments = ["gradients", "m.keras", "x.npy", saved(tmp_path, y), "--loss", "mse", "-o", "d.h5"]
    done = tfdump(*arguments, "--batch-size", "1", "--stats", "--dtype", "float16")
    assert (done.returncode, done.stdout) == (0, "d.h5\n"), done.stderr
    assert "not finite" in done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("Note: "), done.stderr


def test_files_that_are_no_targets(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.npy").touch()
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04N.")
    (tmp_path / "labels.bin").write_text("1,2,3\n")
    (tmp_path / "cut.npy").write_bytes(WINE[2].read_bytes()[:200])
    np.savez(tmp_path / "y.npz", a=np.load(WINE[2]), b=np.load(WINE[2]))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["g/labels"] = np.load(WINE[2])
    for way in ([], ["--targets"]):
        base = ["gradients", *WINE[:2], *way]
        what = "targets file" if way else "input file"
        assert_refused(tfdump(*base, "missing.npy"), tmp_path, f"no such {what}: missing.npy")
        assert_refused(tfdump(*base, "."), tmp_path, "has no images among")
        assert_refused(tfdump(*base, ""), tmp_path, "'' does not name a file", what)
        assert_refused(tfdump(*base, "predictions="), tmp_path, "'predictions=' does not name a file", what)
        assert_refused(tfdump(*base, "empty.npy"), tmp_path, "empty.npy is empty")
        assert_refused(tfdump(*base, "pickle.npy"), tmp_path, "pickle")
        assert_refused(tfdump(*base, "labels.bin"), tmp_path, "labels.bin", "numpy.save")
        assert_refused(tfdump(*base, "cut.npy"), tmp_path, "cut.npy is truncated")
        assert_refused(tfdump(*base, "y.npz::c"), tmp_path, "'c'", "'a', 'b'")
        assert_refused(tfdump(*base, "y.h5::/g/none"), tmp_path, "none")
        assert_refused(tfdump(*base, "y.npz"), tmp_path, "'a', 'b'")
        assert_refused(tfdump(*base, "https://example.org/y.npy"), tmp_path, "is a URL")
        assert_refused(tfdump(*base, WINE[0]), tmp_path, "is a model")


# --- models


def test_a_custom_loss_that_was_not_imported(tfdump: Run, tmp_path: Path) -> None:
    def nowhere_else(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean((y_pred - y_true) ** 2, axis=-1)

    plain_model(tmp_path, compiled=nowhere_else)
    done = tfdump("gradients", "m.keras", "x.npy", "y.npy")
    assert_refused(done, tmp_path, "'nowhere_else'", "--import", "--loss mse")
    assert tfdump("gradients", "m.keras", "x.npy", "y.npy", "--loss", "mse", "-o", "d.h5").returncode == 0


@pytest.mark.parametrize("imported", [False, True])
def test_a_custom_loss_of_a_legacy_file(tfdump: Run, tmp_path: Path, imported: bool) -> None:
    """An .h5 file keeps the bare name of the loss."""
    body = "(y_true, y_pred):\n    return keras.ops.mean(abs(y_pred - y_true) ** 3, axis=-1)\n"
    name = f"legacy_{imported}"
    (tmp_path / f"{name}.py").write_text(f"import keras\ndef {name}{body}")
    scope: dict[str, Any] = {}
    exec(f"import keras\ndef {name}{body}", scope)
    plain_model(tmp_path, "m.h5", compiled=scope[name])
    if imported:
        done = tfdump("gradients", "m.h5", "x.npy", "y.npy", "--import", f"{name}.py", "-o", "d.h5")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "d.h5\n"
    else:
        assert_refused(tfdump("gradients", "m.h5", "x.npy", "y.npy"), tmp_path, f"'{name}'", "--import", "--loss mse")


def test_a_name_of_the_module_of_losses_is_not_a_loss(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path, "m.h5", compiled="mse")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        text = file.attrs["training_config"]
        for name in ("serialize", "get", "losses"):
            file.attrs["training_config"] = json.dumps({**json.loads(text), "loss": name})
            file.flush()
            done = tfdump("gradients", "m.h5", "x.npy", "y.npy")
            assert_refused(done, tmp_path, f"'{name}', which is not part of Keras")


def test_a_damaged_compile_configuration(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path, "m.h5", compiled="mse")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["training_config"] = file.attrs["training_config"][:20]
    done = tfdump("gradients", "m.h5", "x.npy", "y.npy")
    assert_refused(done, tmp_path, "m.h5 is damaged", "training_config")


def test_a_model_compiled_without_a_loss(tfdump: Run, tmp_path: Path) -> None:
    for name in ("m.keras", "m.h5"):
        plain_model(tmp_path)
        model = keras.models.load_model(tmp_path / "m.keras", compile=False)
        model.compile("sgd", None)
        model.save(tmp_path / name)
        assert_refused(tfdump("gradients", name, "x.npy"), tmp_path, "saved without a loss", "--loss NAME")
        done = tfdump("gradients", name, "x.npy", "y.npy")
        assert_refused(done, tmp_path, "2 arrays", "saved without a loss", "--loss NAME")
        done = tfdump("gradients", name, "x.npy", "--targets", "y.npy")
        assert_refused(done, tmp_path, "saved without a loss", "--loss NAME")
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="out", kernel_regularizer="l2")(x))
    model.compile("sgd", None)
    model.save(tmp_path / "own.keras")
    done = tfdump("gradients", "own.keras", "x.npy", "--per-example")
    assert_refused(done, tmp_path, "--per-example", "no other loss", "--loss NAME")


def test_a_dict_of_losses_for_a_sequential_model(tfdump: Run, tmp_path: Path) -> None:
    """Keras itself fails to train such a model."""
    plain_model(tmp_path)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    model.compile("sgd", {"out": "mse"})
    model.save(tmp_path / "s.keras")
    done = tfdump("gradients", "s.keras", "x.npy", "y.npy")
    assert_refused(done, tmp_path, "a dict", "Sequential", "compile it with one loss", "--loss NAME")
    assert tfdump("gradients", "s.keras", "x.npy", "y.npy", "--loss", "mse", "-o", "d.h5").returncode == 0


CODE = """
import keras
x = keras.Input((3,), name="x")
m = keras.Model(x, keras.layers.Dense(2, name="out")(x))
m.compile("sgd", lambda t, p: (open("canary", "w").close(), (t - p) ** 2)[1])
m.save("m.keras")
m.save("m.h5")
"""


def test_a_compiled_loss_that_is_code_is_not_run_unless_trusted(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(CODE)
    subprocess.run([*forked_python(), "make.py"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "canary").unlink(missing_ok=True)
    np.save(tmp_path / "x.npy", np.ones((5, 3), "float32"))
    base = ["gradients", "m.keras", "x.npy", saved(tmp_path, np.zeros((5, 2), "float32"))]
    assert_refused(tfdump(*base), tmp_path, "code in the model file", "--trust-model", "--loss NAME")
    assert_refused(tfdump(*base, env={"TFDUMP_GRADIENTS_TRUST_MODEL": "1"}), tmp_path, "--trust-model")
    assert tfdump(*base, "--loss", "mse", "-o", "a.h5").returncode == 0
    assert not (tmp_path / "canary").exists()
    done = tfdump(*base, "--trust-model", "-o", "b.h5")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "canary").exists()
    with h5py.File(tmp_path / "b.h5") as file:
        assert "0x" not in file.attrs["loss"]


def test_a_lambda_in_a_legacy_file_is_explained(tfdump: Run, tmp_path: Path) -> None:
    """The file keeps only the name `<lambda>`, so that not even trust helps: another loss must be chosen."""
    plain_model(tmp_path, "m.h5", compiled=lambda t, p: (t - p) ** 2)
    for extra in ([], ["--trust-model"]):
        assert_refused(tfdump("gradients", "m.h5", "x.npy", "y.npy", *extra), tmp_path, "<lambda>", "--loss NAME")


OWN = """
import keras
@keras.saving.register_keras_serializable("gradients_own")
class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.sum(y_pred)

@keras.saving.register_keras_serializable("gradients_own")
class OwnStep(keras.Model):
    def train_step(self, data):
        return {}
"""


@pytest.mark.parametrize(("name", "method"), [("OwnLoss", "compute_loss"), ("OwnStep", "train_step")])
def test_a_model_that_computes_its_own_loss(tfdump: Run, tmp_path: Path, name: str, method: str) -> None:
    (tmp_path / "own_models.py").write_text(OWN)
    x = keras.Input((3,), name="x")
    model = runpy.run_path(str(tmp_path / "own_models.py"))[name](x, keras.layers.Dense(2, name="out")(x))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.ones((5, 3), "float32"))
    base = ["gradients", "m.keras", "x.npy", saved(tmp_path, np.zeros((5, 2))), "--import", "own_models.py"]
    assert_refused(tfdump(*base), tmp_path, f"the model overrides {method}", "--loss NAME", "--objective")
    assert tfdump(*base, "--loss", "mse", "-o", "d.h5").returncode == 0


def test_files_that_are_no_models(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("gradients", "nope.keras", *WINE[1:]), tmp_path, "no such model: nope.keras")
    assert_refused(tfdump("gradients", *WINE[1:]), tmp_path, "is an array, not a model")
    assert_refused(tfdump("gradients", WINE[0], WINE[0], WINE[2]), tmp_path, "is a model, not an input")
    assert_refused(tfdump("gradients", WINE[0]), tmp_path, "INPUT")
    done = tfdump("gradients", SAMPLES / "README.md", *WINE[1:])
    assert_refused(done, tmp_path, "is not a saved model")


def test_inputs_that_do_not_fit(tfdump: Run, tmp_path: Path) -> None:
    x = saved(tmp_path, np.zeros((59, 12), "float32"), "x.npy")
    assert_refused(tfdump("gradients", WINE[0], x, WINE[2]), tmp_path, "x.npy", "(59, 12)", "'analysis' takes (?, 13)")
    assert_refused(tfdump("gradients", WINE[0], WINE[2], WINE[1]), tmp_path, "wine_labels.npy", "'analysis'")


# --- the output


def test_an_output_that_is_one_of_the_inputs(tfdump: Run, tmp_path: Path) -> None:
    plain_model(tmp_path, compiled="mse")
    np.save(tmp_path / "w.npy", np.ones(5))
    np.savez(tmp_path / "y.npz", y=np.zeros((5, 2)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    base = ["gradients", "m.keras", "x.npy", "--targets", "y.npz::y", "--sample-weight", "out=w.npy", "-f", "-o"]
    for name in ("m.keras", "x.npy", "y.npz", "w.npy", "./y.npz"):
        assert_refused(tfdump(*base, name), tmp_path, "is the file that the dump is made from")
    done = tfdump("gradients", "m.keras", "x.npy", "y.npy", "-f", "-o", "y.npy")
    assert_refused(done, tmp_path, "y.npy is the file that the dump is made from")
    os.symlink("y.npz", tmp_path / "link.h5")
    assert_refused(tfdump(*base, "link.h5"), tmp_path, "is the file that the dump is made from")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "link.h5"} == before


def test_an_output_that_cannot_be(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("gradients", *WINE, "-o", "no/x.h5"), tmp_path, "folder no does not exist")
    assert_refused(tfdump("gradients", *WINE, "-o", "/dev/null", "-f"), tmp_path, "not a regular file")
    assert_refused(tfdump("gradients", *WINE, "-o", ".", "-f"), tmp_path, "not a regular file")


def test_an_error_after_the_file_was_begun_leaves_the_old_one(tfdump: Run, tmp_path: Path) -> None:
    """The last of several batches fails: an input that does not fit is met only when it is read."""
    x = np.load(WINE[1]).astype("float64")
    x[58] = 1e300
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "old.h5").write_text("precious")
    done = tfdump("gradients", WINE[0], "x.npy", WINE[2], "-o", "old.h5", "-f", "--batch-size", "8", "--wrt", "inputs")
    assert_refused(done, tmp_path, "x.npy", "1e+300")
    assert (tmp_path / "old.h5").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["old.h5", "x.npy"]


def test_a_full_disk_leaves_the_old_file(tfdump: Run, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk_or_skip(disk, kilobytes=100):
        (disk / "old.h5").write_text("precious")
        options = ["-o", disk / "old.h5", "-f", "--wrt", "inputs", "--wrt", "activations", "--dtype", "float64"]
        for compression, word in (("none", "left"), ("gzip", "No space left on device")):
            done = tfdump("gradients", *DIGITS, *options, "--compression", compression, "--examples", ":20")
            assert_refused(done, disk, word)
            assert (disk / "old.h5").read_text() == "precious"
            assert os.listdir(disk) == ["old.h5"]


def test_a_file_size_limit_leaves_nothing(tfdump_process: Run, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))

    done = tfdump_process("gradients", *DIGITS, "--wrt", "activations", "--examples", ":40", preexec_fn=limit)
    assert_refused(done, tmp_path, "cannot write", "File too large")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((300_000, 13), "float32"))
    np.save(tmp_path / "labels.npy", np.zeros(300_000, "int64"))
    arguments = ["gradients", WINE[0], "many.npy", "labels.npy", "--batch-size", "16", "--steps", "9"]
    process = start_command(*arguments, "--learning-rate", "0.001", cwd=tmp_path, python=forked_python())
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.glob("*.partial")), "the dump never began"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert out == b""
    assert b"Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == ["labels.npy", "many.npy"]
