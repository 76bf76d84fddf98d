"""`--data FILE.py:FUNCTION`: what code of the user gives, against the same numbers from files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

DIGITS = SAMPLES / "digits_cnn.keras"
X, Y = np.load(SAMPLES / "digits.npy")[:70], np.load(SAMPLES / "digits_labels.npy")[:70]
CODE = """
import numpy as np

X, Y = np.load("x.npy"), np.load("y.npy")

def batches():
    for start in range(0, len(X), 16):
        yield X[start : start + 16], Y[start : start + 16]

def rows(start, stop):
    return X[start:stop]

def dataset():
    import tensorflow as tf
    return tf.data.Dataset.from_tensor_slices({"image": X})

def endless():
    while True:
        yield X

def uneven():
    yield X
    yield X[:, :4]

def weighted():
    yield X, Y, np.arange(len(X)) / 10
"""

FRAGILE = """
import pathlib

def fragile(start, stop):
    if start >= 48 and stop - start > 1 and not pathlib.Path("mended").exists():
        raise OSError("the disk is gone")
    return X[start:stop]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the arrays and the code."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "w.npy", np.arange(len(X)) / 10)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(CODE)
    return tmp_path


def same_values(first: Path, second: Path) -> bool:
    """Whether two dumps have the same values, bit for bit."""
    names: list[str] = []
    with h5py.File(first) as one, h5py.File(second) as other:
        one.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert names
        return all(np.asarray(one[name]).tolist() == np.asarray(other[name]).tolist() for name in names)


@pytest.mark.parametrize("name", ["batches", "rows", "dataset"])
def test_activations_are_those_of_the_file(tfdump: Run, folder: Path, name: str) -> None:
    for part in ((), ("--examples", "30:50")):
        options = ("--batch-size", "8", "-f", *part)
        assert tfdump("activations", DIGITS, "x.npy", "-o", "file.h5", *options).returncode == 0
        done = tfdump("activations", DIGITS, "--data", f"code/mine.py:{name}", "-o", "code.h5", *options)
        assert (done.returncode, done.stdout) == (0, "code.h5\n"), done.stderr
        assert same_values(folder / "file.h5", folder / "code.h5")
    with h5py.File(folder / "code.h5") as file:
        assert json.loads(file.attrs["input_settings"]) == {"image": {"function": f"mine.py:{name}"}}
        assert f"--data mine.py:{name}" in file.attrs["command"]


def test_gradients_take_targets_and_sample_weights(tfdump: Run, folder: Path) -> None:
    for name, files in (("batches", ()), ("weighted", ("--sample-weight", "w.npy"))):
        assert tfdump("gradients", DIGITS, "x.npy", "y.npy", *files, "-o", "file.h5", "-f").returncode == 0
        done = tfdump("gradients", DIGITS, "--data", f"code/mine.py:{name}", "-o", "code.h5", "-f")
        assert done.returncode == 0, done.stderr
        assert same_values(folder / "file.h5", folder / "code.h5")
    plain = tfdump("gradients", DIGITS, "x.npy", "--targets", "y.npy", "-o", "file.h5", "-f")
    other = tfdump("gradients", DIGITS, "--data", "code/mine.py:rows", "--targets", "y.npy", "-o", "code.h5", "-f")
    assert (plain.returncode, other.returncode) == (0, 0)
    assert same_values(folder / "file.h5", folder / "code.h5")
    missing = tfdump("gradients", DIGITS, "--data", "code/mine.py:rows", "-o", "no.h5")
    assert missing.returncode == 2
    assert "the targets are missing" in missing.stderr
    objective = tfdump("gradients", DIGITS, "--data", "code/mine.py:batches", "--objective", "sum", "-o", "o.h5")
    assert objective.returncode == 0, objective.stderr


def test_an_interrupted_run_is_resumed(tfdump: Run, folder: Path) -> None:
    """The journal of a run that ended early is used for the batches that the function gives again."""
    command = ("activations", DIGITS, "--data", "code/mine.py:fragile", "--batch-size", "16", "--resume", "-o", "d.h5")
    code = folder / "code" / "mine.py"
    code.write_text(code.read_text() + FRAGILE)
    done = tfdump(*command)
    assert done.returncode == 2
    assert "fragile failed in line" in done.stderr
    assert "OSError: the disk is gone" in done.stderr
    (folder / "mended").touch()
    done = tfdump(*command)
    assert done.returncode == 0, done.stderr
    assert "16 examples" in done.stderr or "32 examples" in done.stderr or "48 examples" in done.stderr, done.stderr
    tfdump("activations", DIGITS, "x.npy", "--batch-size", "16", "-o", "file.h5")
    assert same_values(folder / "file.h5", folder / "d.h5")


def test_a_comparison(tfdump: Run, folder: Path) -> None:
    done = tfdump("compare", DIGITS, DIGITS, "--data", "code/mine.py:batches")
    assert done.returncode == 0, done.stderr
    tfdump("activations", DIGITS, "x.npy", "-o", "golden.h5")
    assert tfdump("compare", "golden.h5", DIGITS, "--data", "code/mine.py:rows").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "code/mine.py:endless"), None),
        (("--data", "code/mine.py:uneven"), "input 0 has examples of shape (4, 8, 1) in batch 1, and of (8, 8, 1)"),
        (("--data", "code/mine.py:nothing"), "code/mine.py has no function 'nothing'"),
        (("--data", "code/mine.txt"), "--data 'code/mine.txt' is not FILE.py:FUNCTION"),
        (("--data", "code/no.py:f"), "no such file of --data: code/no.py"),
        (("x.npy", "--data", "code/mine.py:rows"), "INPUT x.npy and --data code/mine.py:rows exclude each other"),
    ],
)
def test_bad_data_is_one_line(tfdump: Run, folder: Path, arguments: tuple[str, ...], words: str | None) -> None:
    if words is None:
        bounded = tfdump("activations", DIGITS, *arguments, "--examples", "0:200", "-o", "d.h5")
        assert bounded.returncode == 0, bounded.stderr
        with h5py.File(folder / "d.h5") as file:
            assert file["outputs/predictions"].shape == (200, 10)
        return
    done = tfdump("activations", DIGITS, *arguments, "-o", "d.h5")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_environment_variable_runs_code(tfdump: Run, folder: Path) -> None:
    assert tfdump("activations", DIGITS, "-o", "r.h5", env={"TFDUMP_ACTIVATIONS_RANDOM": "2"}).returncode == 0
    for name in ("TFDUMP_ACTIVATIONS_DATA", "TFDUMP_ACTIVATIONS_FUNCTION"):
        done = tfdump("activations", DIGITS, env={name: "code/mine.py:rows"})
        assert done.returncode == 2
        assert "Missing argument 'INPUT...'" in done.stderr
