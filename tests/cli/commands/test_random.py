"""`--random`: a model runs without data."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.onnx_files import exported_onnx
from support.saved_formats import exported, lite, sample

pytestmark = pytest.mark.tensorflow

TEXT = SAMPLES / "text_gru.keras"


def read(path: Path) -> dict[str, np.ndarray]:
    """The inputs and the final outputs of a dump."""
    with h5py.File(path) as file:
        names = [f"{group}/{name}" for group in ("inputs", "outputs") for name in file.get(group, ())]
        return {name: file[name][()] for name in names}


def test_ids_of_a_text_model_are_below_its_vocabulary(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump(
        "activations", TEXT, "--random", "40", "--seed", "3", "--open-size", "9", "-o", "d.h5", "--save-inputs"
    )
    assert (done.returncode, done.stdout) == (0, "d.h5\n")
    assert "has open axes, and --random 40 makes them 9 long: (9,) (choose: --open-size)" in done.stderr
    model = keras.models.load_model(TEXT, compile=False)
    rows = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)).input_dim
    dump = read(tmp_path / "d.h5")
    ids = dump["inputs/tokens"]
    assert ids.shape == (40, 9)
    assert rows * 0.9 < ids.max() < rows
    np.testing.assert_allclose(dump["outputs/" + model.layers[-1].name], model.predict(ids, verbose=0), atol=1e-5)
    with h5py.File(tmp_path / "d.h5") as file:
        assert json.loads(file.attrs["input_settings"]) == {
            "tokens": {"random": 40, "seed": 3, "values": f"ids from 0 to {rows - 1}", "open_size": 9}
        }
        assert "examples" not in file


def test_a_part_of_the_examples_has_the_same_rows(tfdump: Run, tmp_path: Path) -> None:
    model = SAMPLES / "digits_cnn.keras"
    for name, options in (("all.h5", ()), ("part.h5", ("--examples", "290:310")), ("again.h5", ())):
        command = ("activations", model, "--random", "400", "-o", name, "--save-inputs", "--batch-size", "16")
        assert tfdump(*command, *options).returncode == 0
    whole, part = read(tmp_path / "all.h5"), read(tmp_path / "part.h5")
    np.testing.assert_array_equal(part["inputs/image"], whole["inputs/image"][290:310])
    assert (tmp_path / "all.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_both_sides_of_a_comparison_get_the_same_numbers(tfdump: Run, tmp_path: Path) -> None:
    model = sample("digits_cnn")
    file = lite(model, tmp_path / "digits.tflite", "int8", np.load(SAMPLES / "digits.npy")[:100].astype("float32"))
    for sides in ((SAMPLES / "digits_cnn.keras", file), (file, SAMPLES / "digits_cnn.keras")):
        dequantized = "--new-dequantize" if sides[1] == file else "--golden-dequantize"
        done = tfdump("compare", *sides, "--random", "12", dequantized, "--atol", "0.5", "--all")
        assert done.returncode in (0, 1), done.stderr
        assert "agree" in done.stderr or "differ" in done.stderr
        row = next(line for line in done.stdout.splitlines() if "predictions" in line)
        assert "same" in row, row


def test_a_saved_model_and_two_inputs(tfdump: Run, tmp_path: Path) -> None:
    folder = exported(sample("siamese"), tmp_path / "saved")
    for model, options in ((folder, ("--trust-model",)), (SAMPLES / "siamese.keras", ())):
        assert (
            tfdump("activations", model, "--random", "3", "-o", "d.h5", "-f", "--save-inputs", *options).returncode == 0
        )
        left, right = (rows for name, rows in read(tmp_path / "d.h5").items() if name.startswith("inputs"))
        assert left.shape[0] == right.shape[0] == 3
        assert not np.array_equal(left, right)


def test_an_onnx_file_gets_what_its_model_gets(tfdump: Run, tmp_path: Path) -> None:
    model = sample("digits_cnn")
    exported_onnx(model, tmp_path / "digits.onnx", np.zeros((1, 8, 8, 1), "float32"))
    done = tfdump("compare", SAMPLES / "digits_cnn.keras", "digits.onnx", "--random", "20", "--atol", "1e-4")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, path in (("a.h5", SAMPLES / "digits_cnn.keras"), ("b.h5", "digits.onnx")):
        options = ("--preprocess", "scale=255;mobilenet", "--save-inputs", "-o", name)
        assert tfdump("activations", path, "--random", "4", *options).returncode == 0
    first, second = (next(iter(read(tmp_path / name).values())) for name in ("a.h5", "b.h5"))
    np.testing.assert_array_equal(first, second)
    assert -1 <= first.min() < first.max() <= 1


def test_gradients_of_an_objective(tfdump: Run, tmp_path: Path) -> None:
    digits = SAMPLES / "digits_cnn.keras"
    assert tfdump("gradients", digits, "--random", "3", "--objective", "sum", "-o", "g.h5").returncode == 0
    done = tfdump("gradients", digits, "--random", "3", "-o", "n.h5")
    assert done.returncode == 2
    assert "the targets are missing" in done.stderr
    assert "--objective" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((SAMPLES / "digits.npy", "--random", "3"), "INPUT {0} and --random 3 exclude each other"),
        (("--open-size", "3", SAMPLES / "digits.npy"), "--open-size is the size of random examples (add --random N)"),
        (("--random", "0"), "0 is not in the range x>=1"),
    ],
)
def test_what_makes_no_sense(tfdump: Run, arguments: tuple[object, ...], words: str) -> None:
    done = tfdump("activations", SAMPLES / "digits_cnn.keras", *arguments)
    assert done.returncode == 2
    assert words.format(arguments[0]) in done.stderr
