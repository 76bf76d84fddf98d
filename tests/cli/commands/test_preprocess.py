"""`--preprocess`: dumps of raw values are those of values that were prepared by hand."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.saved_formats import lite, sample

pytestmark = pytest.mark.tensorflow

DIGITS = SAMPLES / "digits_cnn.keras"
X, Y = np.load(SAMPLES / "digits.npy")[:40], np.load(SAMPLES / "digits_labels.npy")[:40]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with digits of 0 to 255, and code that undoes it."""
    np.save(tmp_path / "pixels.npy", np.round(X / X.max() * 255).astype("uint8"))
    right = np.load(tmp_path / "pixels.npy").astype("float32") * np.float32(1 / 255)
    np.save(tmp_path / "right.npy", right)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(
        "import numpy as np\n\ndef fractions(rows):\n    return rows.astype('float32') * np.float32(1 / 255)\n"
    )
    return tmp_path


def values(path: Path) -> dict[str, np.ndarray]:
    """The activations and the final outputs of a dump."""
    with h5py.File(path) as file:
        return {
            f"{group}/{name}": item[()] for group in ("activations", "outputs") for name, item in file[group].items()
        }


STEPS = [("--preprocess", "scale=1/255"), ("--preprocess", "image=scale=1/510", "--preprocess", "scale=2"),
         ("--preprocess", "code/mine.py:fractions")]  # fmt: skip


@pytest.mark.parametrize("steps", STEPS)
def test_activations_and_gradients(tfdump: Run, folder: Path, steps: tuple[str, ...]) -> None:
    assert tfdump("activations", DIGITS, "right.npy", "-o", "right.h5").returncode == 0
    done = tfdump("activations", DIGITS, "pixels.npy", *steps, "-o", "made.h5", "--strict-dtype")
    assert (done.returncode, done.stderr) == (0, "")
    right, made = values(folder / "right.h5"), values(folder / "made.h5")
    assert right.keys() == made.keys()
    for name in right:
        np.testing.assert_allclose(made[name], right[name], rtol=1e-4, atol=1e-5)
    with h5py.File(folder / "made.h5") as file:
        names = [step.removeprefix("image=").removeprefix("code/") for step in steps[1::2]]
        assert json.loads(file.attrs["input_settings"]) == {"image": {"preprocess": names}}
        assert "code/" not in file.attrs["command"]
        assert "--preprocess" in file.attrs["command"]
    losses = []
    for inputs in (("right.npy",), ("pixels.npy", *steps)):
        done = tfdump("gradients", DIGITS, inputs[0], "y.npy", *inputs[1:], "-o", "g.h5", "-f")
        assert done.returncode == 0, done.stderr
        with h5py.File(folder / "g.h5") as file:
            losses.append(float(file["loss"][()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_both_sides_of_a_comparison(tfdump: Run, folder: Path) -> None:
    file = lite(sample("digits_cnn"), folder / "digits.tflite")
    options = ("pixels.npy", "--preprocess", "scale=1/255", "--rtol", "1e-3", "--atol", "1e-4")
    done = tfdump("compare", DIGITS, file, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    tfdump("activations", DIGITS, "right.npy", "-o", "golden.h5")
    done = tfdump("compare", "golden.h5", file, *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_model_of_keras_applications(tfdump: Run, tmp_path: Path) -> None:
    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35, classes=5)
    model.save(tmp_path / "net.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    np.save(tmp_path / "photos.npy", pixels)
    done = tfdump("activations", "net.keras", "photos.npy", "-l", "predictions")
    (line,) = [line for line in done.stderr.splitlines() if "keras.applications" in line]
    assert "was trained on values from -1 to 1 (add --preprocess 'mobilenet_v2', unless" in line
    done = tfdump("activations", "net.keras", "photos.npy", "-l", "predictions", "--preprocess", "mobilenet_v2", "-f")
    assert (done.returncode, done.stderr) == (0, "")
    right = keras.applications.mobilenet_v2.preprocess_input(pixels.astype("float32"))
    with h5py.File(tmp_path / "net.activations.h5") as file:
        np.testing.assert_allclose(file["activations/predictions"], model.predict(right, verbose=0), atol=1e-5)
    options = ("--preprocess", "mobilenet_v2", "-o", "r.h5", "--save-inputs")
    done = tfdump("activations", "net.keras", "--random", "2", *options)
    assert (done.returncode, done.stderr) == (0, "")
    with h5py.File(tmp_path / "r.h5") as file:
        inputs = next(iter(file["inputs"].values()))[()]
    assert -1 <= inputs.min() < -0.99
    assert 0.99 < inputs.max() <= 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("resnet5", "--preprocess 'resnet5' is nothing that is known; near: 'resnet50'"),
        ("picture=scale=2", "the model gets no input 'picture'"),
        ("mean=1,2,3", "has 3 numbers, and examples have the shape (8, 8, 1)"),
        ("resnet50", "--preprocess resnet50 failed: "),
    ],
)
def test_bad_steps_are_one_line(tfdump: Run, folder: Path, step: str, words: str) -> None:
    done = tfdump("activations", DIGITS, "pixels.npy", "--preprocess", step)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_environment_variable_names_code(tfdump: Run, folder: Path) -> None:
    name = "TFDUMP_ACTIVATIONS_PREPROCESS"
    done = tfdump("activations", DIGITS, "right.npy", env={name: "code/mine.py:fractions"})
    assert done.returncode == 0
    with h5py.File(folder / "digits_cnn.activations.h5") as file:
        assert "input_settings" not in file.attrs
